"""The converter of Paddle models, a program of its own: ``python script.py REQUEST.json``.

It runs in Paddle's environment and imports nothing of this package.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_OPSET = 17


def convert(request: Mapping[str, Any]) -> str | None:
    """Write the model of a request as an ONNX file; return why it cannot be done, or None."""
    import onnx
    import paddle2onnx

    try:
        paddle2onnx.export(request["model"], request["weights"], request["onnx"], opset_version=_OPSET)
    except Exception as error:
        return f"paddle2onnx cannot convert the model: {_line(error)}"
    if not Path(request["onnx"]).is_file():
        return None
    model = onnx.load(request["onnx"])
    for value in model.graph.input:
        _name_dimensions(value)
    Path(request["onnx"]).write_bytes(model.SerializeToString())
    return None


def _name_dimensions(value: Any) -> None:
    """Call an unknown dimension after its input and axis: paddle2onnx numbers them, or leaves -1."""
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        if not dim.HasField("dim_value") or dim.dim_value < 0:
            dim.dim_param = f"{value.name}_dim{axis}"


def _line(error: BaseException) -> str:
    return next(_lines(error), type(error).__name__)[:300].rstrip(".")


def _lines(error: BaseException) -> Iterator[str]:
    return (line.strip() for line in str(error).splitlines() if line.strip())


def main() -> None:
    """Convert what the request says; write the answer."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    refused = convert(request)
    Path(request["answer"]).write_text(json.dumps({"refused": refused}), encoding="utf-8")


if __name__ == "__main__":
    main()
