"""The command line as a whole: help, exit codes, what goes where."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli.conftest import Call

from tilewright import UserError, __version__
from tilewright.compiler.cli import main as main_module
from tilewright.compiler.cli.main import COMMANDS, cli

ENTRY = "from tilewright.compiler.cli.main import main; main()"


def _raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def examine() -> None:
        raise error

    monkeypatch.setattr("tilewright.compiler.cli.doctor.examine", examine)


def test_help_lists_every_command(call: Call) -> None:
    result = call("--help")
    assert result.code == 0
    for name, line in COMMANDS.items():
        assert f"  {name} " in result.out
        assert line in result.out
    assert "Examples:" in result.out
    assert "Exit codes:" in result.out


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_explains_itself(call: Call, name: str) -> None:
    result = call(name, "--help")
    assert result.code == 0
    assert f"Usage: tilewright {name}" in result.out
    assert "--verbose" in result.out
    assert "--quiet" in result.out
    if name != "doctor":
        assert "Examples:" in result.out


def test_every_command_is_a_module_of_its_name() -> None:
    for name in COMMANDS:
        assert (Path(main_module.__file__).parent / f"{name}.py").is_file()


def test_every_option_has_a_line_of_help() -> None:
    for name in COMMANDS:
        command = cli.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert getattr(parameter, "help", None), f"{name} {parameter.opts}"


def test_version(call: Call) -> None:
    assert call("--version").out == f"tilewright {__version__}\n"


def test_no_command_shows_the_help(call: Call) -> None:
    result = call()
    assert "Usage: tilewright" in result.out + result.err


def test_unknown_command_offers_its_neighbour(call: Call) -> None:
    sentence = call("complie", "x.onnx").sentence
    assert sentence == "there is no command 'complie' (did you mean 'compile', 'compare'?); see 'tilewright --help'"


def test_unknown_option_is_one_sentence(call: Call) -> None:
    sentence = call("run", "model.so", "--thread", "2").sentence
    assert "--thread" in sentence
    assert "see 'tilewright run --help'" in sentence


def test_missing_argument_is_one_sentence(call: Call) -> None:
    assert "LIBRARY" in call("run").sentence


def test_a_user_error_is_one_sentence(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    _raising(UserError("the file is empty"), monkeypatch)
    result = call("doctor")
    assert result.sentence == "the file is empty"
    assert result.out == ""


@pytest.mark.parametrize("words", [("-v", "doctor"), ("doctor", "-v"), ("doctor", "--verbose")])
def test_verbose_shows_the_cause_of_a_user_error(
    call: Call, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    error = UserError("the file is empty")
    error.__cause__ = ValueError("zero bytes")
    _raising(error, monkeypatch)
    result = call(*words)
    assert result.code == 2
    assert "ValueError: zero bytes" in result.err
    assert result.err.splitlines()[-1] == "tilewright: error: the file is empty"


def test_a_bug_keeps_its_traceback(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    _raising(ZeroDivisionError("oops"), monkeypatch)
    result = call("doctor")
    assert result.code == 1
    assert "Traceback" in result.err
    assert "ZeroDivisionError: oops" in result.err
    assert "This is a bug in Tilewright" in result.err


def test_an_interrupt_is_130(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    _raising(KeyboardInterrupt(), monkeypatch)
    result = call("doctor")
    assert result.code == 130
    assert "Traceback" not in result.err


def test_names_from_files_cannot_steer_the_terminal(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    _raising(UserError("node '\x1b[2J\r\n'"), monkeypatch)
    assert call("doctor").sentence == r"node '\x1b[2J\r\n'"


def test_a_closed_pipe_is_quiet() -> None:
    # More than a pipe holds, so that the writer meets the closed end.
    program = f"import tilewright.compiler.cli.targets as t; t.known_targets = lambda: ['znver4'] * 5000; {ENTRY}"
    done = subprocess.Popen(
        [sys.executable, "-c", program, "targets"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert done.stdout is not None
    assert done.stderr is not None
    done.stdout.close()
    assert done.stderr.read() == ""
    assert done.wait() == 128 + signal.SIGPIPE


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_leaves_no_temporary_file(tmp_path: Path, number: signal.Signals, code: int) -> None:
    program = f"""
import time
import tilewright.compiler.cli.doctor as doctor
from pathlib import Path
from tilewright.compiler.files import write_file

def write(file):
    file.write(b"half")
    file.flush()
    Path("started").touch()
    time.sleep(60)

doctor.examine = lambda: write_file(Path("whole.txt"), write)
{ENTRY}
"""
    command = [sys.executable, "-c", program, "doctor"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not (tmp_path / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len(list(tmp_path.iterdir())) == 2
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in err
    assert [each.name for each in tmp_path.iterdir()] == ["started"]


def _modules_of(words: list[str], folder: Path) -> tuple[set[str], str]:
    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ENTRY, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}, done.stdout


def test_help_waits_for_nothing(tmp_path: Path) -> None:
    modules, out = _modules_of(["--help"], tmp_path)
    assert "Compile trained models" in out
    assert "click" in modules
    assert not modules & {"tvm", "tvm_ffi", "onnx", "torch", "numpy", "rich"}


@pytest.mark.parametrize("name", list(COMMANDS))
def test_help_on_a_command_loads_no_framework(tmp_path: Path, name: str) -> None:
    modules, out = _modules_of([name, "--help"], tmp_path)
    assert f"Usage: tilewright {name}" in out
    assert not modules & {"tvm", "tvm_ffi", "onnx", "torch", "rich", "onnxruntime"}


def test_running_a_library_needs_numpy_only(tmp_path: Path, tiny: Path) -> None:
    modules, out = _modules_of(["run", str(tiny)], tmp_path)
    assert "y: float32 [2, 3]" in out
    assert "numpy" in modules
    assert not modules & {"tvm", "tvm_ffi", "onnx", "torch", "rich", "onnxruntime"}
