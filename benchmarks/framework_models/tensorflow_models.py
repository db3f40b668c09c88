"""Keras, SavedModel and TFLite models with random weights: ``python tensorflow_models.py FOLDER``.

FOLDER/cases.json lists (name, file, signature, outputs allowed to differ by one unit); FOLDER/NAME.npz holds inputs
("in.x") and outputs ("out.y").
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_RANDOM = np.random.default_rng(0)
_CASES: list[dict[str, Any]] = []
Arrays = Mapping[str, Any]


def _note(folder: Path, name: str, file: str, inputs: Arrays, outputs: Arrays, **more: Any) -> None:
    arrays: dict[str, Any] = {f"in.{key}": value for key, value in inputs.items()}
    arrays |= {f"out.{key}": np.asarray(value) for key, value in outputs.items()}
    np.savez(folder / f"{name}.npz", **arrays)
    _CASES.append({"name": name, "file": file, **more})


def _normal(*shape: int) -> Any:
    return _RANDOM.standard_normal(shape).astype(np.float32)


def _settle(model: Any, x: Any) -> None:
    """Give batch normalizations random scales and shifts, and the statistics of a batch as after training.

    With those they begin with, a deep network forgets its input. Shifts are positive: about zero, activations would cut
    half of what is normalized, and an untrained network of 50 layers enlarges float32's own rounding errors to 1e-5.
    """
    normalizations = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in normalizations:
        layer.momentum = 0.0
        layer.gamma.assign(_RANDOM.uniform(0.5, 1.5, layer.gamma.shape))
        layer.beta.assign(_RANDOM.uniform(0.0, 1.0, layer.beta.shape))
    model(x, training=True)


def _network() -> Any:
    """Return a network with Resize, ConvTranspose, exact GELU and two results."""
    layers = keras.layers
    picture = keras.Input((32, 32, 3), name="picture")
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(picture)
    x = layers.Conv2DTranspose(8, 3, strides=2, padding="same")(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Conv2D(16, 3, activation="gelu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(picture, {"label": layers.Dense(5, activation="softmax")(x), "box": layers.Dense(4)(x)})


def _keras_models(folder: Path) -> Any:
    x = _normal(1, 96, 96, 3)
    mobilenet = keras.applications.MobileNetV2((96, 96, 3), weights=None, classes=10, classifier_activation=None)
    _settle(mobilenet, _normal(8, 96, 96, 3))
    mobilenet.save(folder / "mobilenet.keras")
    names = dict(zip(mobilenet.output_names, [mobilenet(x, training=False)], strict=True))
    _note(folder, "mobilenet", "mobilenet.keras", {mobilenet.layers[0].name: x}, names)

    steps = keras.Input((12, 6), name="steps")
    y = keras.layers.LSTM(10, return_sequences=True)(steps)
    y = keras.layers.Bidirectional(keras.layers.LSTM(7))(y)
    recurrent = keras.Model(steps, keras.layers.Dense(3, name="score")(y))
    recurrent.save(folder / "lstm.h5")
    x = _normal(2, 12, 6)
    _note(folder, "lstm", "lstm.h5", {"steps": x}, {"score": recurrent(x, training=False)})

    network = _network()
    _settle(network, _normal(8, 32, 32, 3))
    network.save(folder / "network.keras")
    x = _normal(2, 32, 32, 3)
    _note(folder, "network", "network.keras", {"picture": x}, network(x, training=False))
    return network


class _TwoSignatures(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = tf.Variable(_normal(6, 4))

    @tf.function(input_signature=[tf.TensorSpec((None, 6), name="x")])
    def project(self, x: Any) -> Any:
        """[N, 6] --> "projected" [N, 4]."""
        return {"projected": tf.nn.relu(x @ self.weight)}

    @tf.function(input_signature=[tf.TensorSpec((3, 4), name="a"), tf.TensorSpec((3, 4), name="b")])
    def distance(self, a: Any, b: Any) -> Any:
        """[3, 4], [3, 4] --> "distance" [3]."""
        return {"distance": tf.reduce_sum((a - b) ** 2, -1)}


def _saved_model(folder: Path) -> None:
    module = _TwoSignatures()
    tf.saved_model.save(module, str(folder / "two"), {"project": module.project, "distance": module.distance})
    x, a, b = _normal(2, 6), _normal(3, 4), _normal(3, 4)
    _note(folder, "project", "two", {"x": x}, module.project(x), signature="project")
    _note(folder, "distance", "two", {"a": a, "b": b}, module.distance(a, b), signature="distance")


def _lite(folder: Path, network: Any) -> None:
    for name in ("float", "int8"):
        converter = tf.lite.TFLiteConverter.from_keras_model(network)
        if name == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([_normal(1, 32, 32, 3)] for _ in range(8))
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        file = folder / f"{name}.tflite"
        file.write_bytes(converter.convert())
        # The reference kernels are the definition of quantized operators; the fast ones round in their own ways.
        kind = tf.lite.experimental.OpResolverType.BUILTIN_REF
        interpreter = tf.lite.Interpreter(str(file), experimental_op_resolver_type=kind)
        quantized = name == "int8"
        x = _RANDOM.integers(-128, 128, (1, 32, 32, 3)).astype(np.int8) if quantized else _normal(1, 32, 32, 3)
        results = interpreter.get_signature_runner()(picture=x)
        _note(folder, f"lite_{name}", file.name, {"picture": x}, results, units=int(quantized))


def main() -> None:
    """Make everything in the folder named."""
    folder = Path(sys.argv[1])
    keras.utils.set_random_seed(0)
    network = _keras_models(folder)
    _saved_model(folder)
    _lite(folder, network)
    (folder / "cases.json").write_text(json.dumps(_CASES), encoding="utf-8")


if __name__ == "__main__":
    main()
