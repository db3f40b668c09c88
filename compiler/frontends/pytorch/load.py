"""From a source to an ExportedProgram: out of a .pt2 archive, or traced from a module that Python code makes."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any

from ....errors import UserError
from ..source import LiveModel, ModelSource, Shapes
from .archive import load_archive
from .assertions import assertions_hold
from .export import write_program
from .sentences import first_line, quiet, traced_line

_RETURNS = "(module, example_inputs) or (module, example_inputs, dynamic_shapes)"


def write_onnx(source: ModelSource, path: Path) -> Shapes:
    """Write a PyTorch model as an ONNX file.

    Args:
        source: a ``.pt2`` archive, "path.py:factory", a state dict with its factory, or a module in memory.
        path: the file to write.

    Returns:
        The shapes of inputs whose dynamic dimensions all have bounds.

    Raises UserError where torch is missing, the model cannot be read, and for what torch's exporter does not take.
    """
    _require_packages(source)
    import torch

    # With gradients, torch decomposes attention in a way that fails for operands that are not contiguous.
    with quiet(), torch.no_grad():
        program, dynamic = _program(source)
        return write_program(str(source.path), program, dynamic, path)


def _require_packages(source: ModelSource) -> None:
    for package in ("torch", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"{source.path}: a PyTorch model needs the package '{package}', which is not installed: "
                "pip install 'tilewright[pytorch]'"
            )


def _program(source: ModelSource) -> tuple[Any, Any]:
    """Return an ExportedProgram, and the dynamic shapes of which it was made where they are known."""
    import torch

    live = source.live
    if live is None and source.suffix == ".pt2":
        return load_archive(source.path), None
    if live is None:
        live = _made(source.module or str(source.path))
    if isinstance(live.module, torch.export.ExportedProgram):
        return live.module, live.dynamic_shapes
    if not isinstance(live.module, torch.nn.Module):
        raise UserError(f"{source.path}: a {type(live.module).__name__} is not a torch.nn.Module or an ExportedProgram")
    if source.module is not None:
        _load_state(source.path, live.module)
    return trace(str(source.path), live), live.dynamic_shapes


def trace(shown: str, live: LiveModel) -> Any:
    """Return the ExportedProgram of a module in inference mode; the module is left in the mode that it was in.

    Raises UserError for a module that torch.export cannot trace, with the line of its code.
    """
    import torch

    if live.example_inputs is None:
        raise UserError(f"{shown}: a module is traced with the inputs of one call: give example_inputs")
    named = isinstance(live.example_inputs, Mapping)
    args = () if named else _as_tuple(live.example_inputs)
    kwargs = dict(live.example_inputs) if isinstance(live.example_inputs, Mapping) else {}

    def export(**options: Any) -> Any:
        with _inference_mode(live.module), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            return torch.export.export(live.module, args, kwargs, dynamic_shapes=live.dynamic_shapes, **options)

    try:
        return export()
    except Exception as error:
        if live.dynamic_shapes is not None:
            with suppress(Exception):
                # Here torch states what it could not prove of sizes instead of refusing it.
                program = export(prefer_deferred_runtime_asserts_over_guards=True)
                if assertions_hold(program):
                    return program
        raise UserError(
            f"{shown}: torch.export cannot trace the module{traced_line(error)}: {first_line(error)}; "
            "rewrite that code so that torch.export.export takes it, or export the model to ONNX another way"
        ) from error


def _as_tuple(inputs: Any) -> tuple[Any, ...]:
    return tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)


@contextmanager
def _inference_mode(module: Any) -> Iterator[None]:
    before = {each: each.training for each in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for each, training in before.items():
            each.training = training


def _made(factory: str) -> LiveModel:
    """Call "path.py:factory"; this runs the file's code, which is what the user asked for."""
    file, _, name = factory.rpartition(":")
    path = Path(file)
    if not name.isidentifier() or path.suffix != ".py":
        raise UserError(f"'{factory}' does not name a function: write path.py:factory")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        raise UserError(f"{path}: it has no function '{name}': a factory returns {_RETURNS}")
    made = function()
    if not isinstance(made, tuple) or len(made) not in (2, 3):
        raise UserError(f"{factory}: a factory returns {_RETURNS}, not a {type(made).__name__}")
    return LiveModel(*made)


def _load_state(path: Path, module: Any) -> None:
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except Exception as error:
        raise UserError(
            f"{path}: holds more than tensors, or is damaged; a whole pickled model can run code when it is read: "
            "save its weights with torch.save(module.state_dict(), ...) and give that file"
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(each, torch.Tensor) for each in state.values()):
        raise UserError(f"{path}: is not a state dict: save module.state_dict()")
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        detail = "; ".join(line.strip() for line in str(error).splitlines()[1:4])
        raise UserError(f"{path}: its weights do not fit the factory's module: {detail}") from error
