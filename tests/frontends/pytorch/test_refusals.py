"""What cannot be taken ends in a sentence that names the file, the layer and the remedy, and runs no foreign code."""

import importlib.util
import io
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch_nets import Bessel, Branch, made_by, write_factory

import tilewright
from tilewright.compiler.frontends import LiveModel, ModelSource, import_model
from tilewright.errors import UserError


class _Trap:
    """Unpickling it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    rows = torch.export.Dim("rows", max=9)
    program = torch.export.export(torch.nn.Linear(3, 2), (torch.ones(2, 3),), dynamic_shapes=({0: rows},))
    path = tmp_path / "model.pt2"
    torch.export.save(program, path)
    return path


def _replace(path: Path, part: str, change: object) -> None:
    """Write an archive anew with one part changed by a function of its bytes."""
    assert callable(change)
    with zipfile.ZipFile(path) as old:
        entries = {each.filename: old.read(each) for each in old.infolist()}
    found = [name for name in entries if name.endswith(part)]
    assert len(found) == 1
    entries[found[0]] = change(entries[found[0]])
    with zipfile.ZipFile(path, "w") as new:
        for name, data in entries.items():
            new.writestr(name, data)


def _refused(path: Path, words: str, **options: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        tilewright.compile(path, **options)  # type: ignore[arg-type]
    assert str(caught.value).startswith((str(path), f"'{path}'"))


def _import(module: torch.nn.Module) -> None:
    import_model(ModelSource(Path("net"), live=LiveModel(module, (torch.ones(2, 4),))))


def test_the_layer_without_an_onnx_operator_is_named() -> None:
    with pytest.raises(UserError, match=r"net: .*refuses the model at layer '1' \(torch_nets.Bessel\).*bessel_j0"):
        _import(torch.nn.Sequential(torch.nn.Linear(4, 4), Bessel()))


def test_the_line_that_cannot_be_traced_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"net: torch.export cannot trace the module at .*torch_nets.py:\d+ \(return x"):
        _import(Branch())
    assert capfd.readouterr() == ("", "")


def test_parts_of_an_archive_are_not_unpickled(archive: Path, tmp_path: Path) -> None:
    trace = tmp_path / "was here"
    made = io.BytesIO()
    torch.save(_Trap(trace), made)
    _replace(archive, "sample_inputs/model.pt", lambda data: made.getvalue())
    _refused(archive, "cannot read this exported program")
    assert not trace.exists()


@pytest.mark.parametrize("call", ["open('{0}', 'w')", "Symbol('{0}').__class__", "exec(chr(49))", "Integer(1)(2)"])
def test_expressions_of_an_archive_are_not_evaluated(archive: Path, tmp_path: Path, call: str) -> None:
    trace = tmp_path / "was here"

    def change(data: bytes) -> bytes:
        text = data.decode()
        start = text.index('"expr_str": "') + len('"expr_str": "')
        return (text[:start] + json.dumps(call.format(trace))[1:-1] + text[text.index('"', start) :]).encode()

    _replace(archive, "models/model.json", change)
    _refused(archive, "an expression over dimensions in it is not one")
    assert not trace.exists()


def test_archives_that_are_damaged_or_none(archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:2000])
    _refused(archive, "not a .pt2 archive")
    bomb = tmp_path / "bomb.pt2"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("model/data/weights/weight_0", bytes(10**7))
    _refused(bomb, "unpacks to far more than its size")
    _refused(tmp_path / "nothing.pt2", "no such file")


def test_pickles_and_state_dicts(tmp_path: Path) -> None:
    factory, trace = write_factory(tmp_path), tmp_path / "was here"
    module, _ = made_by(factory)
    path = tmp_path / "model.pth"
    torch.save(module.state_dict(), path)
    _refused(path, "is a pickle file.*torch.export.save.*--module path.py:factory")
    path.write_bytes(pickle.dumps(_Trap(trace)))
    _refused(path, "holds more than tensors", module=f"{factory}:make")
    assert not trace.exists()
    torch.save([torch.ones(2)], path)
    _refused(path, "is not a state dict", module=f"{factory}:make")
    torch.save({**module.state_dict(), "head.bias": torch.ones(4)}, path)
    _refused(path, "do not fit the factory's module: .*head.bias", module=f"{factory}:make")


@pytest.mark.parametrize(("name", "words"), [("nothing", "a factory returns"), ("absent", "has no function 'absent'")])
def test_factories_that_make_no_model(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        tilewright.compile(f"{write_factory(tmp_path)}:{name}")


def test_a_file_of_another_kind_takes_no_module(tmp_path: Path) -> None:
    _refused(tmp_path / "model.onnx", "is not a file of weights", module="net.py:make")


def test_missing_packages_are_named(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    _refused(archive, r"needs the package 'onnxscript'.*pip install 'tilewright\[pytorch\]'")


def test_torch_is_not_loaded_for_other_files() -> None:
    code = "import sys, tilewright.compiler.frontends, tilewright.compiler.api; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
