"""``tilewright compile``: a model file in, a native library out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from ...input_shapes import WrittenDim
from ...schedules.template import ACCURACIES
from ...targets.database import load_target
from ...targets.target import Target
from ..api import FORMATS, PHASE_NAMES, CompileRequest, compile_model
from ..dump import Dumper
from ..files import check_writable
from ..frontends import onnx_file
from ..package.artifact import Artifact, Report
from ..pipeline import PhaseEvent
from ..precision import PRECISIONS, effective_precision
from ..verify import Tolerance, require_passed, verify_artifact
from .options import PATH, InputShapes, Sizes, Word, merge_shapes
from .state import State, common_options
from .tables import print_pairs, print_table, progress
from .text import duration, size

_ALL = "all"
_SUFFIXES = {"so": ".so", "static": "-static", "obj": "-obj", "c": "-c"}
_VERDICT = {True: "ok", False: "TOO FAR"}


@click.command(
    epilog="""\b
Examples:
  tilewright compile model.onnx
  tilewright compile bert.onnx --input-shapes "input_ids:[1,128];attention_mask:[1,128]"
  tilewright compile model.onnx --target x86-64-v3 -o build/model.so
  tilewright compile model.onnx --bundle rpi4,rpi2,x86-64-v3 -o boards.tar
  tilewright compile model.onnx --verify
  tilewright compile model.pt2
  tilewright compile net.py:make_model
  tilewright compile weights.pth --module net.py:make_model
  tilewright compile saved_model/ --signature serving_default
  tilewright compile model.onnx --stop-after fuse --dump all"""
)
@click.argument("model", type=PATH)
@click.option("--target", default="host", show_default=True, help="A name of 'tilewright targets', or a target file.")
@click.option(
    "--bundle", metavar="TARGET[,...]", help="Compile for several targets, into one tar file with a manifest."
)
@click.option("-o", "--output", type=PATH, help="Where to write; the model's name in this folder when left out.")
@click.option(
    "--input-shapes", type=InputShapes(), multiple=True, help='Shapes of inputs: "x:[1,3,224,224];ids:[batch<=8,128]".'
)
@click.option(
    "--format",
    "kind",
    type=Word("format", FORMATS),
    default="so",
    show_default=True,
    help="so: shared library; static: archive and header; obj: one object and header; c: sources and kernel objects.",
)
@click.option("--toolchain", help="What links: native, a GNU triple, zig, zig:musl or zig:2.17 (glibc).")
@click.option("--module", help="path.py:factory, the PyTorch module whose weights MODEL, a state dict, holds.")
@click.option("--signature", help="Which signature of a TensorFlow SavedModel.")
@click.option("--outputs", help="Nodes where a frozen TensorFlow graph (.pb) ends, separated by commas.")
@click.option("--name", help="The model's name inside the library; the file's when left out.")
@click.option("-O", "--opt", type=click.IntRange(0, 3), default=3, show_default=True, help="How much to optimize.")
@click.option(
    "--accuracy",
    type=Word("accuracy", ACCURACIES),
    default="default",
    show_default=True,
    help="exact: reorder sums only; default, fast: also algorithms that round a little, or somewhat, more.",
)
@click.option(
    "--specialize",
    type=Sizes(),
    multiple=True,
    help="Sizes of a symbol that get fast variants in the same library: batch=1,8.",
)
@click.option(
    "--precision",
    type=Word("precision", PRECISIONS),
    default="fp32",
    show_default=True,
    help="bf16, fp16: weights and tensors between kernels in 16 bits; sums, inputs and outputs fp32.",
)
@click.option("--keep-fp32", help="Nodes that --precision leaves in fp32, separated by commas.")
@click.option("--strict", is_flag=True, help="Refuse a precision that the target lacks, instead of computing in fp32.")
@click.option("-j", "--jobs", type=click.IntRange(0), default=0, help="Processes that compile; one per processor.")
@click.option(
    "--stop-after",
    type=Word("phase", PHASE_NAMES),
    help=f"Stop after one of {', '.join(PHASE_NAMES)}.",
)
@click.option(
    "--dump", type=Word("phase", (*PHASE_NAMES, _ALL)), multiple=True, help="Write the module after a phase, or 'all'."
)
@click.option("--dump-dir", type=PATH, help="The folder for dumps; MODEL.dump in this folder when left out.")
@click.option("--verify", is_flag=True, help="Compare with onnxruntime on random inputs before anything is written.")
@click.option("--rtol", type=click.FloatRange(0), help="Error allowed, relative to an output's largest element.")
@click.option("--atol", type=click.FloatRange(0), help="Error allowed besides.")
@common_options
@click.pass_obj
def command(
    state: State,
    model: Path,
    target: str,
    bundle: str | None,
    output: Path | None,
    input_shapes: tuple[tuple[tuple[str, tuple[WrittenDim, ...]], ...], ...],
    kind: str,
    toolchain: str | None,
    module: str | None,
    signature: str | None,
    outputs: str | None,
    name: str | None,
    opt: int,
    accuracy: str,
    specialize: tuple[tuple[str, tuple[int, ...]], ...],
    precision: str,
    keep_fp32: str | None,
    strict: bool,
    jobs: int,
    stop_after: str | None,
    dump: tuple[str, ...],
    dump_dir: Path | None,
    verify: bool,
    rtol: float | None,
    atol: float | None,
) -> None:
    """Compile MODEL to one self-contained native library.

    MODEL is an ONNX file, a PyTorch .pt2 file, path.py:factory (a function that returns a PyTorch module and example
    inputs), a PyTorch state dict with --module, TensorFlow's (a SavedModel's folder, .keras, .h5, .pb, .tflite),
    Paddle's (.json or .pdmodel with .pdiparams), or a tree library's file.
    The library holds code, weights and runtime, and needs libc and libm only.
    """
    _check_bundle(bundle, target, kind != "so" or bool(stop_after or verify or dump))
    _check_options(kind, stop_after, verify, rtol is not None or atol is not None)
    if keep_fp32 and precision == "fp32":
        raise click.UsageError("--keep-fp32 names what a low precision leaves out: give --precision, too")
    request = CompileRequest(
        model,
        target,
        merge_shapes(input_shapes),
        kind,
        opt,
        accuracy,
        jobs,
        precision,
        strict,
        name=name,
        stop_after=stop_after,
        module=module,
        specialize=dict(specialize),
        signature=signature,
        outputs=_words(outputs),
        toolchain=toolchain,
        keep_fp32=_words(keep_fp32),
    )
    if bundle is not None:
        _write_bundle(request, _words(bundle), output or Path(f"{model.stem}.tar"), state)
        return
    computed = _computed_precision(request, state)
    _check_runs_here(load_target(target), verify)
    path = output or Path(model.stem + _SUFFIXES[kind])
    if not stop_after:
        check_writable(path, folder=kind != "so")
    dumper = _dumper(model, dump, dump_dir)
    artifact, times = _compile(request, dumper, state)
    if artifact is not None:
        if verify:
            _verify(artifact, request, Tolerance(rtol, atol, computed), state)
        path = artifact.save(path)
    if not state.quiet:
        _print_report(times, artifact.report if artifact else None, path)
        print_pairs([("dump", str(file)) for file in dumper.written])


def _check_options(kind: str, stop_after: str | None, verify: bool, tolerance: bool) -> None:
    """Raise a usage error for options that do not go together."""
    if tolerance and not verify:
        raise click.UsageError("--rtol and --atol say how near --verify wants the outputs: give --verify too")
    if verify and (kind != "so" or stop_after):
        raise click.UsageError("--verify runs the library: it needs --format so, and no --stop-after")


def _check_bundle(bundle: str | None, target: str, more: bool) -> None:
    """Raise a usage error for a bundle of nothing, and for options that it does not take."""
    if bundle is None:
        return
    if not _words(bundle):
        raise click.UsageError("--bundle names no target: give some, separated by commas")
    if target != "host":
        raise click.UsageError("--bundle names the targets: leave --target out")
    if more:
        raise click.UsageError("--bundle holds shared libraries: leave --format, --stop-after, --dump and --verify out")


def _check_runs_here(target: Target, verify: bool) -> None:
    """Raise a usage error for a target whose libraries --verify could not load on this machine."""
    own, other = (each.triple.partition("-")[0] for each in (load_target("host"), target))
    if verify and own != other:
        raise click.UsageError(
            f"--verify runs the library, and this machine is {own}, target '{target.name}' {other}: leave it out, and "
            "look at the library's outputs with 'tilewright run --remote'"
        )


def _computed_precision(request: CompileRequest, state: State) -> str:
    """Return the precision that the target computes, and say where it lacks the one asked for."""
    made = effective_precision(request.precision, load_target(request.target), request.strict)
    if made != request.precision and not state.quiet:
        click.echo(
            f"note: target '{request.target}' has no {request.precision}: the model is compiled in fp32", err=True
        )
    return made


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, (text or "").split(","))))


def _write_bundle(request: CompileRequest, targets: tuple[str, ...], path: Path, state: State) -> None:
    from ..package.bundle import write_bundle

    def compile_for(target: str) -> Artifact:
        return _compiled(replace(request, target=target), state)

    made = write_bundle(compile_for, targets, path)
    if not state.quiet:
        print_table(
            ("target", ">size", "file"), ((each.target, size(each.bytes), each.file) for each in made.libraries)
        )
        print_pairs([("written", str(path))])


def _compiled(request: CompileRequest, state: State) -> Artifact:
    _computed_precision(request, state)
    with progress(f"compiling {request.model.name} for {request.target}", None, quiet=state.quiet):
        artifact = compile_model(request)
    assert artifact is not None
    return artifact


def _dumper(model: Path, dump: tuple[str, ...], folder: Path | None) -> Dumper:
    wanted = PHASE_NAMES if _ALL in dump else dump
    return Dumper(folder or Path(f"{model.stem}.dump"), PHASE_NAMES, wanted)


def _compile(request: CompileRequest, dumper: Dumper, state: State) -> tuple[Artifact | None, list[tuple[str, float]]]:
    """Compile while showing which phase runs; return the artifact and the seconds of each phase."""
    times: list[tuple[str, float]] = []
    with progress(f"{request.model.name}: {PHASE_NAMES[0]}", len(PHASE_NAMES), quiet=state.quiet) as show:

        def observe(event: PhaseEvent) -> None:
            times.append((event.name, event.seconds))
            dumper(event)
            following = PHASE_NAMES[PHASE_NAMES.index(event.name) + 1 :]
            show(len(times), f"{request.model.name}: {following[0] if following else 'writing'}")

        return compile_model(request, observe), times


def _verify(artifact: Artifact, request: CompileRequest, tolerance: Tolerance, state: State) -> None:
    with progress("comparing with onnxruntime", None, quiet=state.quiet), onnx_file(request.source) as path:
        errors = verify_artifact(artifact, path, tolerance)
    if not state.quiet:
        print_table(
            ("output", ">max abs error", ">relative to max", ">allowed", ""),
            (
                (each.name, f"{each.absolute:.2e}", f"{each.relative:.2e}", f"{each.limit:.2e}", _VERDICT[each.passed])
                for each in errors
            ),
        )
    require_passed(request.model, errors)


def _print_report(times: list[tuple[str, float]], report: Report | None, path: Path) -> None:
    print_table(("phase", ">time"), ((name, duration(seconds)) for name, seconds in times))
    if report is not None:
        code = report.library_bytes - report.weight_bytes
        print_pairs(
            [
                ("kernels", f"{report.kernels} for {report.steps} steps"),
                ("arena", size(report.arena_bytes)),
                ("weights", size(report.weight_bytes)),
                ("library", f"{size(report.library_bytes)}, {size(code)} without weights"),
                ("written", str(path)),
            ]
        )
