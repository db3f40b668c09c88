"""ONNX's own backend tests, each compiled to a library, run, and compared with what onnx carries."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx.backend.test.loader import load_model_tests

from tilewright.compiler.api import CompileRequest, compile_model
from tilewright.element_types import CONTAINED, container_of
from tilewright.errors import UserError
from tilewright.runtime import load

KINDS = ("node", "simple", "pytorch-operator", "pytorch-converted")

#: Operands that say how large a result is, or which axes it is about, by operator.
SHAPING = {
    "Reshape": (1,), "Expand": (1,), "Tile": (1,), "Squeeze": (1,), "Unsqueeze": (1,), "Split": (1,), "TopK": (1,),
    "Slice": (1, 2, 3, 4), "Pad": (1, 2, 3), "Resize": (1, 2, 3), "Upsample": (1,), "CumSum": (1,), "CumProd": (1,),
    "OneHot": (1,), "Trilu": (1,), "ConstantOfShape": (0,), "Range": (0, 1, 2), "Compress": (1,), "Dropout": (1, 2),
    "CenterCropPad": (1,), "AffineGrid": (1,), "Col2Im": (1, 2), "DFT": (1, 2), "STFT": (1, 3), "MaxUnpool": (2,),
    "HannWindow": (0,), "HammingWindow": (0,), "BlackmanWindow": (0,), "MelWeightMatrix": (0, 1, 2, 3, 4),
    "Loop": (0, 1), "SplitToSequence": (1,), "SequenceAt": (1,), "SequenceInsert": (2,), "SequenceErase": (1,),
    **{f"Reduce{kind}": (1,) for kind in
       ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")},
}  # fmt: skip

#: Operators whose numbers ONNX does not define, not even with a seed.
RANDOM = frozenset(
    ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
)

#: Onnx's own results are rounded, too, in other places than ours.
_ULPS, _ROUNDED = 4, "roundings differ"

#: Of inputs that are constants in the last attempt: the most elements.
_FEW = 64


@dataclass(frozen=True)
class Result:
    """What became of a test.

    Attributes:
        kind: the set that the test belongs to.
        test: its name.
        operators: its operators.
        verdict: "pass"; "refused", at compile time, with a sentence; "undefined", where ONNX defines no values: the
            result's type and shape are right; "rounding", outside onnx's tolerance, but by a few units in the last
            place of the largest element; "wrong"; "error", any other exception; "crash"; "timeout".
        reason: why it did not pass.
        constants: inputs that had to be constants of the model.
        seconds: how long it took.
    """

    kind: str
    test: str
    operators: str
    verdict: str
    reason: str = ""
    constants: str = ""
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class Case:
    """A test: its model and its sets of inputs and expected outputs."""

    kind: str
    name: str
    model: onnx.ModelProto
    data_sets: Sequence[tuple[Sequence[Any], Sequence[Any]]]
    rtol: float
    atol: float

    @property
    def operators(self) -> list[str]:
        """The operators of its graph, each once."""
        return sorted({node.op_type for node in self.model.graph.node})


def cases(kinds: Sequence[str] = KINDS) -> Iterator[Case]:
    """Yield onnx's tests, by kind and name."""
    for kind in kinds:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = load_model_tests(kind=kind)
        for case in sorted(found, key=lambda each: str(each.name)):
            folder = Path(case.model_dir or "")
            model = case.model if case.model is not None else onnx.load(folder / "model.onnx")
            made = _stored(folder, model) if case.data_sets is None else case.data_sets
            data = [([_parsed(each) for each in given], [_parsed(each) for each in wanted]) for given, wanted in made]
            yield Case(kind, case.name, model, data, case.rtol, case.atol)


def run_case(case: Case, folder: Path) -> Result:
    """Return what became of a test, with its files in a folder."""
    start = time.perf_counter()
    result = _judged(case, folder)
    return replace(result, seconds=round(time.perf_counter() - start, 2))


def _judged(case: Case, folder: Path) -> Result:
    plain = Result(case.kind, case.name, " ".join(case.operators), "pass")
    constants: set[str] = set()
    for inputs, outputs in case.data_sets:
        attempts = _attempts(case.model, inputs)
        for last, names in ((names is attempts[-1], names) for names in attempts):
            try:
                reason = _run(case, inputs, outputs, names, folder)
            except UserError as error:
                if last:
                    return replace(plain, verdict="refused", reason=_line(error, folder))
                continue
            except Exception as error:  # noqa: BLE001 - the sweep goes on
                return replace(plain, verdict="error", reason=f"{type(error).__name__}: {_line(error, folder)}")
            constants |= names
            if reason:
                verdict = "rounding" if reason.startswith(_ROUNDED) else "wrong"
                return replace(plain, verdict=verdict, reason=reason, constants=" ".join(sorted(constants)))
            break
    verdict = "undefined" if RANDOM.intersection(case.operators) else "pass"
    return replace(plain, verdict=verdict, constants=" ".join(sorted(constants)))


def _run(case: Case, inputs: Sequence[Any], outputs: Sequence[Any], constant: set[str], folder: Path) -> str:
    """Compile with some inputs as constants, run, and return how the outputs differ, "" when they do not."""
    model, free = _with_constants(case.model, inputs, constant)
    absent = [name for name, each in free.items() if each is None]
    if absent:
        raise UserError(f"the test leaves input '{absent[0]}' out; a library's inputs are there at every run")
    path, library = folder / "model.onnx", folder / "model.so"
    path.write_bytes(model.SerializeToString())
    shapes = {name: each.shape for name, each in free.items() if isinstance(each, np.ndarray | np.generic)}
    artifact = compile_model(CompileRequest(path, input_shapes=shapes, jobs=1))
    assert artifact is not None
    artifact.save(library)
    try:
        results = [np.asarray(each) for each in load(library, threads=1)(*map(_carried, _flat(free.values())))]
    except UserError as error:
        raise RuntimeError(f"a library that compiled does not run: {error}") from error
    expected = _flat(outputs)
    if len(results) != len(expected):
        return f"{len(results)} outputs, not {len(expected)}"
    values = not RANDOM.intersection(case.operators)
    verdicts = (_difference(case, *pair, values) for pair in zip(expected, results, strict=True))
    return next((each for each in verdicts if each), "")


def _attempts(model: onnx.ModelProto, inputs: Sequence[Any]) -> list[set[str]]:
    """Return which inputs to make constants, one set after the other until the compiler takes the model.

    First none; then those that shape results by their operator; then, for bodies of functions, all small integers and
    all scalars.
    """
    names = {value.name: each for value, each in zip(model.graph.input, inputs, strict=False)}
    shaping = {
        node.input[index]
        for node in model.graph.node
        for index in SHAPING.get(node.op_type, ())
        if index < len(node.input)
    }
    first = set(names).intersection(shaping)
    tensors = {name: each for name, each in names.items() if isinstance(each, np.ndarray | np.generic)}
    small = {
        name
        for name, each in tensors.items()
        if each.ndim <= 1 and each.size <= _FEW and (each.dtype.kind in "iub" or each.ndim == 0)
    }
    sets: list[set[str]] = [set()]
    for found in (first, first | small):
        if found not in sets and all(name in tensors for name in found):
            sets.append(found)
    return sets


def _with_constants(
    model: onnx.ModelProto, inputs: Sequence[Any], constant: set[str]
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    held = {tensor.name for tensor in copy.graph.initializer}
    free: dict[str, Any] = {}
    for value, array in zip([each for each in copy.graph.input if each.name not in held], inputs, strict=False):
        if value.name in constant:
            copy.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), value.name))
            copy.graph.input.remove(value)
        elif isinstance(array, list):
            free.update({f"{value.name}.{at}": each for at, each in enumerate(array)})
        else:
            free[value.name] = array
    return copy, free


def _stored(folder: Path, model: onnx.ModelProto) -> list[tuple[list[Any], list[Any]]]:
    sets = sorted(folder.glob("test_data_set_*"))
    return [
        (_values(each, "input", list(model.graph.input)), _values(each, "output", list(model.graph.output)))
        for each in sets
    ]


def _values(folder: Path, what: str, declared: Sequence[onnx.ValueInfoProto]) -> list[Any]:
    files = sorted(folder.glob(f"{what}_*.pb"), key=lambda path: int(path.stem.split("_")[-1]))
    return [_value(path, value.type) for path, value in zip(files, declared, strict=False)]


def _value(path: Path, kind: onnx.TypeProto) -> Any:
    data = path.read_bytes()
    if kind.HasField("sequence_type"):
        return onnx.numpy_helper.to_list(onnx.SequenceProto.FromString(data))
    if kind.HasField("optional_type"):
        return onnx.numpy_helper.to_optional(onnx.OptionalProto.FromString(data))
    return onnx.numpy_helper.to_array(onnx.TensorProto.FromString(data))


def _parsed(value: Any) -> Any:
    """Return a value of a test that onnx makes: some tensors are messages still."""
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _flat(values: Any) -> list[Any]:
    """Return the tensors of values: a sequence gives its elements, an absent optional none."""
    flat: list[Any] = []
    for each in values:
        if isinstance(each, list | tuple):
            flat += _flat(each)
        elif each is not None:
            flat.append(np.asarray(each))
    return flat


def _carried(array: Any) -> Any:
    """Return an array as the runtime takes it: of types that numpy alone does not have, the bits."""
    return array.view(container_of(array.dtype.name)) if array.dtype.name in CONTAINED else array


def _difference(case: Case, expected: Any, result: Any, values: bool) -> str:
    """Return how a result differs, judged as onnx's own runner judges; "" when it does not."""
    if expected.shape != result.shape:
        return f"shape {result.shape}, not {expected.shape}"
    if expected.dtype.name in CONTAINED and result.dtype == container_of(expected.dtype.name):
        # Numpy alone has no such type: the runtime gives its bits.
        result = result.view(expected.dtype)
    if expected.dtype != result.dtype:
        return f"type {result.dtype}, not {expected.dtype}"
    if not values:
        return ""
    if expected.dtype.kind not in "fV" or "int" in expected.dtype.name:
        return "" if np.array_equal(expected, result) else "values differ"
    rtol = max(case.rtol, 2**-6) if expected.dtype.name == "bfloat16" else case.rtol
    got, wanted = result.astype(np.float64), expected.astype(np.float64)
    if np.allclose(got, wanted, rtol=rtol, atol=case.atol, equal_nan=True):
        return ""
    with np.errstate(invalid="ignore"):
        difference, largest = np.nanmax(np.abs(got - wanted)), np.nanmax(np.abs(wanted))
    unit = float(ml_dtypes.finfo(expected.dtype).eps) * largest  # type: ignore[no-untyped-call]
    same = np.array_equal(np.isfinite(got), np.isfinite(wanted))
    told = _ROUNDED if same and difference <= _ULPS * unit else "values differ"
    return f"{told} by {difference:.3g}, the largest is {largest:.3g}"


def _line(error: BaseException, folder: Path) -> str:
    lines = str(error).replace(str(folder / "model.onnx") + ": ", "").split("\n")
    return " ".join(line.strip() for line in lines if line.strip())[:300]
