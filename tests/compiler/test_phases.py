"""Small networks through the phases: what each promises holds, and the numbers stay those of onnxruntime."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from relax_runner import run_module
from small_nets import NETS, Array, export

import tilewright
from tilewright.compiler.api import PHASE_NAMES, CompileRequest, compile_model
from tilewright.compiler.frontends import import_model
from tilewright.compiler.frontends.source import ModelSource
from tilewright.compiler.phases import PHASES
from tilewright.compiler.pipeline import PhaseContext
from tilewright.runtime import load
from tilewright.targets.database import load_target

DIGITS = Path(__file__).parents[2] / "examples" / "digits"
NAMES = (*NETS, "digits")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[Array], list[Array]]]:
    """Each network's file, inputs, and the outputs of onnxruntime."""
    folder = tmp_path_factory.mktemp("models")
    found = {name: export(name, folder / f"{name}.onnx") for name in NETS}
    with np.load(DIGITS / "test.npz", allow_pickle=False) as arrays:
        images = next(array for array in arrays.values() if array.ndim > 1)
    session = onnxruntime.InferenceSession(DIGITS / "digits.onnx")
    shape = session.get_inputs()[0].shape
    count = shape[0] if isinstance(shape[0], int) else 4
    path = shutil.copy(DIGITS / "digits.onnx", folder)
    found["digits"] = Path(path), [images[:count].reshape(count, *shape[1:]).astype("float32")]
    return {name: (*each, reference(*each)) for name, each in found.items()}


def reference(path: Path, inputs: list[Array]) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options)
    names = [each.name for each in session.get_inputs()]
    outputs: list[Array] = session.run(None, dict(zip(names, inputs, strict=True)))
    return outputs


def assert_near(results: list[Array], expected: list[Array], tolerance: float) -> None:
    """Compare with a tolerance relative to the largest element: sums are taken in another order."""
    assert len(results) == len(expected)
    for result, wanted in zip(results, expected, strict=True):
        assert (result.shape, result.dtype) == (wanted.shape, wanted.dtype)
        np.testing.assert_allclose(result, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


def input_shapes(path: Path, inputs: list[Array]) -> dict[str, tuple[int, ...]]:
    names = [each.name for each in onnxruntime.InferenceSession(str(path)).get_inputs()]
    return {name: array.shape for name, array in zip(names, inputs, strict=True)}


@pytest.mark.parametrize("target", ["x86-64", "host"])
@pytest.mark.parametrize("name", NAMES)
def test_every_phase_keeps_its_promise_and_the_numbers(models, name, target):
    """Up to the layouts every module is plain Relax: TVM's own lowering runs it."""
    path, inputs, expected = models[name]
    imported = import_model(ModelSource(path, input_shapes(path, inputs)))
    context = PhaseContext(load_target(target), accuracy="exact", origins=imported.origins)
    module = imported.module
    assert_near(run_module(module, inputs), expected, 1e-5)
    for phase in PHASES:
        module = phase.run(module, context)
        phase.check(module, context)
        if phase.name != "schedule":
            assert_near(run_module(module, inputs), expected, 1e-5)


@pytest.mark.parametrize("optimization", range(4))
@pytest.mark.parametrize("name", NAMES)
def test_every_level_of_optimization_computes_the_same(models, name, optimization, tmp_path):
    path, inputs, expected = models[name]
    shapes = input_shapes(path, inputs)
    library = tilewright.compile(path, input_shapes=shapes, optimization=optimization, jobs=1).save(tmp_path / "m.so")
    # Winograd may be chosen at the highest level only.
    tolerance = 1e-4 if optimization == 3 else 1e-5
    results = []
    for threads in (1, 2):
        with load(library, threads=threads) as model:
            poisoned = [np.full_like(each, np.nan) for each in expected]
            model(*inputs, out=poisoned)
            model(*inputs, out=poisoned)
            assert_near(poisoned, expected, tolerance)
            results.append(poisoned)
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two, err_msg="threads change the result")


@pytest.mark.parametrize("name", NAMES)
def test_the_same_model_gives_the_same_library(models, name, tmp_path):
    """In another folder, and whatever was compiled before."""
    path, inputs, _ = models[name]
    shapes = input_shapes(path, inputs)
    hashes = set()
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        copy = Path(shutil.copy(path, tmp_path / folder))
        library = tilewright.compile(copy, input_shapes=shapes, jobs=1).save(tmp_path / folder / "model.so")
        hashes.add(hashlib.sha256(library.read_bytes()).hexdigest())
    assert len(hashes) == 1


def test_phases_are_told_in_order(models):
    path, *_ = models["odd"]
    told = []
    artifact = compile_model(CompileRequest(path, jobs=1), told.append)
    assert tuple(event.name for event in told) == PHASE_NAMES
    assert all(event.seconds >= 0 for event in told)
    assert [event.name for event in told if event.module is None] == ["plan", "package"]
    assert tuple(name for name, _ in artifact.report.phases) == PHASE_NAMES


@pytest.mark.parametrize("last", PHASE_NAMES)
def test_stopping_after_a_phase(models, last):
    path, *_ = models["odd"]
    told = []
    artifact = compile_model(CompileRequest(path, jobs=1, stop_after=last), lambda event: told.append(event.name))
    assert (artifact is None) == (last != "package")
    assert told[: PHASE_NAMES.index(last) + 1] == list(PHASE_NAMES[: PHASE_NAMES.index(last) + 1])
    if last != "plan":
        assert told[-1] == last
