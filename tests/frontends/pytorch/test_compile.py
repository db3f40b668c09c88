"""PyTorch models by every door: right against torch, with the names, element types and bounds of the module."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch_nets import TwoHeads, made_by, write_factory

import tilewright
from tilewright.compiler.frontends import LiveModel, ModelSource, import_model, onnx_file
from tilewright.errors import UserError


def _pixels(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(batch)
    return torch.randn(batch, 3, 8, 8, generator=generator), torch.full((1,), 1.5)


def _run(artifact: Any, folder: Path, *inputs: torch.Tensor) -> dict[str, Any]:
    with tilewright.runtime.load(artifact.save(folder / "model.so")) as model:
        return {name: array.copy() for name, array in model(*(each.numpy() for each in inputs)).items()}


def _near(got: Any, wanted: torch.Tensor) -> None:
    assert got.dtype == wanted.detach().numpy().dtype
    np.testing.assert_allclose(got, wanted.detach().numpy(), rtol=1e-5, atol=1e-6)


def _check_heads(artifact: Any, folder: Path, module: torch.nn.Module, batch: int) -> None:
    inputs = _pixels(batch)
    got = _run(artifact, folder, *inputs)
    wanted = module(*inputs)
    assert list(got) == ["logits", "aux.0", "aux.1"]
    for name, each in zip(got, (wanted["logits"], *wanted["aux"]), strict=True):
        _near(got[name], each)


def test_a_module_in_training_mode_is_compiled_for_inference(tmp_path: Path) -> None:
    module = TwoHeads().train()
    x, scale = _pixels(2)
    artifact = tilewright.compile(module, {"x": x, "scale": scale})
    assert all(each.training for each in module.modules())
    _check_heads(artifact, tmp_path, module.eval(), 2)


def test_bounds_of_dims_survive_the_file(tmp_path: Path) -> None:
    module = TwoHeads().eval()
    dims = {"x": {0: torch.export.Dim("batch", min=1, max=4)}, "scale": None}
    program = torch.export.export(module, _pixels(2), dynamic_shapes=dims)
    path = tmp_path / "net.pt2"
    torch.export.save(program, path)
    live = import_model(ModelSource(Path("net"), live=LiveModel(program, None, dims)))
    assert str(live.signature.inputs[0].shape[0]) == "batch[1:4]"
    artifact = tilewright.compile(path)
    assert str(import_model(ModelSource(path)).signature.inputs[0].shape[0]) == "x_dim0[1:4]"
    for batch in (1, 3, 4):
        _check_heads(artifact, tmp_path, module, batch)


def test_shapes_of_the_user_go_before_bounds_of_the_module() -> None:
    dims = {"x": {0: torch.export.Dim("batch", max=4)}, "scale": None}
    source = ModelSource(Path("net"), {"x": (3, 3, 8, 8)}, live=LiveModel(TwoHeads(), _pixels(2), dims))
    assert import_model(source).signature.inputs[0].shape == (3, 3, 8, 8)


def test_a_factory(tmp_path: Path) -> None:
    path = write_factory(tmp_path)
    module, (x,) = made_by(path)
    got = _run(tilewright.compile(f"{path}:make"), tmp_path, x)
    _near(got["output"], module.eval()(x))
    assert str(import_model(ModelSource(Path(f"{path}:dynamic"))).signature.inputs[0].shape[0]) == "rows[1:5]"


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_a_state_dict_with_its_factory(tmp_path: Path, suffix: str) -> None:
    factory = write_factory(tmp_path)
    module, (x,) = made_by(factory)
    with torch.no_grad():
        module.head.bias.add_(3)
    path = tmp_path / f"weights{suffix}"
    torch.save(module.state_dict(), path)
    got = _run(tilewright.compile(path, module=f"{factory}:make"), tmp_path, x)
    _near(got["output"], module.eval()(x))


def test_steps_are_called_after_layers() -> None:
    imported = import_model(ModelSource(Path("net"), live=LiveModel(TwoHeads(), _pixels(2))))
    assert imported.name == "net"
    assert "Relu 'body.2'" in imported.origins.values()
    assert any(each.endswith("'head'") for each in imported.origins.values())


def test_the_onnx_file_runs_in_onnxruntime() -> None:
    inputs = _pixels(2)
    module = torch.nn.Sequential(*(torch.nn.Sequential(torch.nn.Softplus(), torch.nn.Softsign()) for _ in range(3)))
    with onnx_file(ModelSource(Path("net"), live=LiveModel(module, inputs[:1]))) as path:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        got = session.run(None, {session.get_inputs()[0].name: inputs[0].numpy()})
    _near(got[0], module(inputs[0]))


def test_a_file_takes_no_example_inputs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a file: example_inputs"):
        tilewright.compile(tmp_path / "model.onnx", _pixels(1))
