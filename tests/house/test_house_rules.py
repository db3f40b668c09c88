"""House rules that no linter checks."""

import ast
import re
import subprocess
import sys

import pytest
from house.repository import PACKAGE_FOLDERS, ROOT, own_files

MOST_LINES_IN_A_FILE = 400
MOST_LINES_IN_A_FUNCTION = 40
SOURCES = (".py", ".c", ".h", ".hpp", ".cpp")
PACKAGE_FILES = [*own_files(*PACKAGE_FOLDERS, suffixes=(".py",)), *own_files("src", suffixes=(".py",))]


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many lines a function has below its signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_no_file_is_too_long_to_read() -> None:
    counts = {path: path.read_text().count("\n") for path in own_files(suffixes=SOURCES)}
    assert counts
    long = {str(path.relative_to(ROOT)): count for path, count in counts.items() if count > MOST_LINES_IN_A_FILE}
    assert not long


def test_no_function_is_too_long_to_read() -> None:
    long = {}
    for path in PACKAGE_FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and code_lines(node) > MOST_LINES_IN_A_FUNCTION:
                long[f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"] = code_lines(node)
    assert not long


def test_the_package_imports_itself_relatively() -> None:
    for path in PACKAGE_FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            absolute = [name for name in names if name.split(".")[0] == "tilewright"]
            assert not absolute, f"{path.relative_to(ROOT)}:{node.lineno} imports {absolute[0]}"


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    places = re.compile(rb"(?<![\w.])/(work|home|root|Users|tmp)/\w")
    for path in own_files():
        if "tests" not in path.relative_to(ROOT).parts:
            found = places.search(path.read_bytes())
            assert found is None, f"{path.relative_to(ROOT)} names {found.group()!r}"


def test_nothing_is_left_to_do_in_a_comment() -> None:
    marks = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")
    for path in own_files(suffixes=SOURCES):
        assert marks.search(path.read_text()) is None, path.relative_to(ROOT)


@pytest.mark.parametrize(
    ("module", "barred"),
    [
        ("tilewright", ("numpy", "tvm", "onnx", "torch", "rich", "click")),
        ("tilewright.runtime", ("tvm", "onnx", "torch", "rich", "click")),
        ("tilewright.compiler.cli.main", ("tvm", "onnx", "torch", "numpy")),
        ("tilewright.targets.database", ("tvm", "onnx", "torch", "numpy")),
        ("tilewright.targets.toolchain", ("tvm", "onnx", "torch", "numpy")),
        ("tilewright.compiler.package.artifact", ("tvm", "onnx", "torch")),
    ],
)
def test_what_people_wait_for_loads_no_framework(module: str, barred: tuple[str, ...]) -> None:
    program = f"import sys, {module}; print(*[name for name in {barred!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
