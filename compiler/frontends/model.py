"""What every frontend gives: a Relax module with its signature and the origin of its values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...signature import Signature

if TYPE_CHECKING:
    from tvm.ir import IRModule


@dataclass(frozen=True)
class ImportedModel:
    """A model in Relax.

    Attributes:
        name: the model's name, a valid C identifier.
        module: ``main`` in canonical form; its parameters are the signature's inputs, its result the tuple of outputs.
        signature: names, shapes and element types as the model's author wrote them, in order.
        origins: from the name of a Relax variable to the source node that made it ("Conv 'layer1.0.conv1'").
    """

    name: str
    module: IRModule
    signature: Signature
    origins: dict[str, str] = field(default_factory=dict)
