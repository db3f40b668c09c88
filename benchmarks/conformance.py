"""ONNX's own backend tests: ``python benchmarks/conformance.py [--only NAME] [--failures] [--library] [--sample N]``.

Every case of tensors is imported and run by TVM's own lowering, or with ``--library`` compiled to a library and run by
the runtime, and its outputs are compared with those that onnx carries. A case is "inapplicable" when onnx gives it
sequences, strings or sub-byte types, "unsupported" when the importer or the compiler refuses it with a sentence,
"wrong" when its values differ, and "failed" when anything else goes wrong.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.backend.test.loader import load_model_tests

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from relax_runner import run_module  # noqa: E402 - the tests' helper

from tilewright.compiler.frontends.model import ImportedModel  # noqa: E402
from tilewright.compiler.frontends.onnx import import_onnx  # noqa: E402
from tilewright.compiler.package.build import build  # noqa: E402
from tilewright.compiler.phases import PHASES  # noqa: E402
from tilewright.compiler.pipeline import PhaseContext, run_phases  # noqa: E402
from tilewright.errors import UserError  # noqa: E402
from tilewright.runtime import load  # noqa: E402
from tilewright.targets.host import host_target  # noqa: E402

#: Operators whose inputs past the first are shapes, axes, scales and the like: they are made constants, because a
#: static compiler needs their values.
FROZEN = {
    "Reshape": (1,), "Expand": (1,), "Tile": (1,), "Squeeze": (1,), "Unsqueeze": (1,), "Split": (1,), "TopK": (1,),
    "Slice": (1, 2, 3, 4), "Pad": (1, 2, 3), "Resize": (1, 2, 3), "Upsample": (1,), "CumSum": (1,), "OneHot": (1,),
    "Trilu": (1,), "ConstantOfShape": (0,), "Range": (0, 1, 2),
    "Loop": (0, 1), "SplitToSequence": (1,), "SequenceAt": (1,), "SequenceInsert": (2,), "SequenceErase": (1,),
    "Compress": (1,), "Dropout": (1, 2),
    "CenterCropPad": (1,), "AffineGrid": (1,),
    **{f"Reduce{kind}": (1,) for kind in
       ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")},
}  # fmt: skip


def cases() -> Iterator[Any]:
    """Yield onnx's node tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield from load_model_tests(kind="node")


def operators_of(case: Any) -> list[str]:
    """Return the operators of a case."""
    return [node.op_type for node in case.model.graph.node]


#: Runs an imported model on inputs, with a folder for its files.
Run = Callable[[ImportedModel, Sequence[Any], Path], list[Any]]


def run_lowered(imported: ImportedModel, inputs: Sequence[Any], folder: Path) -> list[Any]:
    """Run an imported model by TVM's own lowering."""
    return run_module(imported.module, inputs)


def run_library(imported: ImportedModel, inputs: Sequence[Any], folder: Path) -> list[Any]:
    """Run an imported model as a library, on one thread."""
    target = host_target()
    module = run_phases(imported.module, PHASES, PhaseContext(target), lambda event: None)
    path = folder / "model.so"
    build(module, imported.signature, name="model", target=target, jobs=1).save(path)
    return [np.asarray(each) for each in load(path, threads=1)(*inputs)]


def run_case(case: Any, folder: Path, run: Run = run_lowered) -> str:
    """Return what became of a case: "passed", or why it did not."""
    for given, wanted in case.data_sets:
        names = [value.name for value in case.model.graph.input]
        inputs = [leaf for each in given for leaf in _tensors(each)]
        outputs = [leaf for each in wanted for leaf in _tensors(each)]
        if not all(isinstance(each, np.ndarray | np.generic) and each.dtype != object for each in (*inputs, *outputs)):
            return "inapplicable: not tensors of numpy's types"
        model, free = _frozen(case.model, dict(zip(names, given, strict=True)))
        path = folder / "model.onnx"
        path.write_bytes(model.SerializeToString())
        try:
            imported = import_onnx(path, {name: value.shape for name, value in free.items()})
        except UserError as error:
            return f"unsupported: {error}"
        except Exception as error:  # noqa: BLE001 - the sweep goes on
            return f"failed: import: {error}"
        if len(imported.module.functions) > 1:
            run = run_library  # control flow is our own: TVM's lowering knows nothing of it
        try:
            results = run(imported, [free[spec.name] for spec in imported.signature.inputs], folder)
        except UserError as error:
            return f"unsupported: {error}"
        except Exception as error:  # noqa: BLE001
            return f"failed: run: {error}"
        for expected, result in zip(outputs, results, strict=True):
            verdict = _compare(case, expected, result)
            if verdict:
                return f"wrong: {verdict}"
    return "passed"


def _tensors(value: Any) -> list[Any]:
    """Return the tensors of an output: those of a sequence in order, as a library gives them."""
    return [leaf for each in value for leaf in _tensors(each)] if isinstance(value, list) else [value]


def _frozen(model: onnx.ModelProto, inputs: Mapping[str, Any]) -> tuple[onnx.ModelProto, dict[str, Any]]:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    constant = {
        node.input[index]
        for node in copy.graph.node
        for index in FROZEN.get(node.op_type, ())
        if index < len(node.input)
    }
    free = {}
    for value in list(copy.graph.input):
        array = inputs[value.name]
        if isinstance(array, list):
            free.update({f"{value.name}.{at}": each for at, each in enumerate(array)})
        elif value.name in constant:
            copy.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
            copy.graph.input.remove(value)
        else:
            free[value.name] = array
    for value in (each for each in copy.graph.input if each.type.WhichOneof("value") == "tensor_type"):
        shape = free[value.name].shape
        value.type.tensor_type.shape.CopyFrom(onnx.TensorShapeProto())
        for size in shape:
            value.type.tensor_type.shape.dim.add().dim_value = size
    return copy, free


def _compare(case: Any, expected: Any, result: Any) -> str:
    if expected.shape != result.shape:
        return f"shape {result.shape}, not {expected.shape}"
    if expected.dtype != result.dtype:
        return f"type {result.dtype}, not {expected.dtype}"
    if expected.dtype.kind not in "fV":
        return "" if np.array_equal(expected, result) else "values differ"
    got, wanted = result.astype(np.float64), expected.astype(np.float64)
    if np.allclose(got, wanted, rtol=case.rtol, atol=case.atol, equal_nan=True):
        return ""
    return f"values differ by {np.nanmax(np.abs(got - wanted)):.3g}"


def _sample(chosen: list[Any], count: int) -> Iterator[Any]:
    """Yield the first cases of each set of operators."""
    for _, group in itertools.groupby(sorted(chosen, key=operators_of), operators_of):
        yield from itertools.islice(group, count)


def main() -> None:
    """Run the sweep and print its summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--failures", action="store_true", help="print every case that did not pass")
    parser.add_argument("--library", action="store_true", help="compile each case and run the library")
    parser.add_argument("--sample", type=int, default=0, help="at most so many cases of a set of operators")
    options = parser.parse_args()
    verdicts: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        chosen = [case for case in cases() if options.only in case.name]
        for case in _sample(chosen, options.sample) if options.sample else chosen:
            verdict = run_case(case, Path(folder), run_library if options.library else run_lowered)
            verdicts[verdict.split(":")[0]] += 1
            if options.failures and verdict != "passed":
                print(f"{case.name}: {verdict.splitlines()[0][:300]}", flush=True)
    print(", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common()))


if __name__ == "__main__":
    main()
