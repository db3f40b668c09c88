"""That the linters are set up to find what they are there for; `make lint` runs them."""

import subprocess
import sys
from pathlib import Path

import pytest
from house.repository import ROOT

TOP_LEVEL = "import compiler.api\nfrom targets.target import Facts\n\nprint(compiler.api, Facts)\n"
RELATIVE = "from ..errors import UserError\nfrom .target import Facts\n\nprint(Facts, UserError)\n"


def ruff(name: str, source: str) -> str:
    """Return what ruff says of a source file if it had this name."""
    program = Path(sys.executable).with_name("ruff")
    command = [program, "check", "--select", "TID251", "--output-format", "concise", "--stdin-filename", name, "-"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, input=source).stdout


@pytest.mark.parametrize("name", ["targets/new.py", "tests/targets/test_new.py", "benchmarks/new.py"])
def test_ruff_bars_the_folders_as_top_level_names(name: str) -> None:
    assert ruff(name, TOP_LEVEL).count("TID251") == 2


def test_ruff_takes_relative_imports_inside_the_folders() -> None:
    assert "TID251" not in ruff("targets/new.py", RELATIVE)


def test_import_linter_knows_every_package() -> None:
    contract = (ROOT / ".importlinter").read_text()
    for path in sorted((ROOT / "compiler").iterdir()):
        if (path / "__init__.py").is_file():
            assert f"tilewright.compiler.{path.name}" in contract, f"compiler/{path.name} stands in no layer"
