"""Recurrences: what an LSTM, GRU or plain RNN computes in each step, as data.

The input projection of all steps is one matrix product that is made elsewhere. What remains, the recurrence, takes

==============  ====================  ===========================================================================
operand         shape                 meaning
==============  ====================  ===========================================================================
gates           [S, B, D, G, H]       the projected inputs with every bias that can be added before the recurrence
weights         [D, G, H, H]          recurrent weights: gate, unit, unit of the step before
bias            [D, H]                GRU with ``linear_before_reset``: the recurrent bias of the candidate
initial_h       [D, B, H]             the state before the first step, else zero
initial_c       [D, B, H]             LSTM: the cell before the first step, else zero
peephole        [D, 3, H]             LSTM: weights from the cell to the gates i, o, f
lengths         [B] int32             how many steps each sequence has, else all of them
==============  ====================  ===========================================================================

and gives every state [S, B, D, H] (zero after a sequence's end), the last one [D, B, H] and, for an LSTM, the last cell
[D, B, H]. S steps, B sequences, D directions, G gates, H units. Gates stand in ONNX's order: LSTM i, o, f, c; GRU z, r,
h. A reverse direction begins with the last step of each sequence; its states stand at their inputs' places. After its
end a sequence keeps its last state; one without steps ends with zeros, whatever its initial state, as in onnxruntime.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .recurrent_activations import Activation
from .workload import Attribute, attributes

#: Operands after the gates and the weights, in this order where they are present.
OPTIONAL_OPERANDS = ("bias", "initial_h", "initial_c", "peephole", "lengths")
#: Which way each direction of a recurrence walks: whether it is backwards.
BACKWARDS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


@dataclass(frozen=True)
class Kind:
    """A kind of recurrence: how many gates it has, its default activations, whether it carries a cell."""

    gates: int
    activations: tuple[str, ...]
    cell: bool = False


KINDS = {
    "lstm": Kind(4, ("Sigmoid", "Tanh", "Tanh"), cell=True),
    "gru": Kind(3, ("Sigmoid", "Tanh")),
    "rnn": Kind(1, ("Tanh",)),
}


@dataclass(frozen=True)
class Recurrence:
    """A recurrence.

    Attributes:
        kind: "lstm", "gru" or "rnn".
        direction: "forward", "reverse" or "bidirectional".
        activations: for each direction, in ONNX's order (LSTM: gates, candidate, output; GRU: gates, candidate).
        operands: which of OPTIONAL_OPERANDS are present.
        clip: the sums that activations of gates take are held to [-clip, clip]; 0 for no limit.
        input_forget: LSTM: the forget gate is one minus the input gate.
        linear_before_reset: GRU: the reset gate multiplies the product with the weights instead of the state.
    """

    kind: str
    direction: str
    activations: tuple[tuple[Activation, ...], ...]
    operands: tuple[str, ...] = ()
    clip: float = 0.0
    input_forget: bool = False
    linear_before_reset: bool = False

    @property
    def gates(self) -> int:
        """How many gates a unit has."""
        return KINDS[self.kind].gates

    @property
    def cell(self) -> bool:
        """Whether it carries a cell beside its state."""
        return KINDS[self.kind].cell

    @property
    def backwards(self) -> tuple[bool, ...]:
        """For each direction, whether it begins with the last step."""
        return BACKWARDS[self.direction]

    def attributes(self) -> tuple[tuple[str, Attribute], ...]:
        """Return the recurrence as the attributes of a workload or an operator."""
        written = "|".join(";".join(each.written() for each in direction) for direction in self.activations)
        described: dict[str, Attribute] = {
            "kind": self.kind,
            "direction": self.direction,
            "activations": written,
            "operands": " ".join(self.operands),
            "clip": float(self.clip),
            "input_forget": self.input_forget,
            "linear_before_reset": self.linear_before_reset,
        }
        return attributes(described)

    @staticmethod
    def of(attrs: Mapping[str, Attribute]) -> Recurrence:
        """Return the recurrence that these attributes describe."""
        directions = str(attrs["activations"]).split("|")
        return Recurrence(
            str(attrs["kind"]),
            str(attrs["direction"]),
            tuple(tuple(Activation.read(each) for each in direction.split(";")) for direction in directions),
            tuple(str(attrs["operands"]).split()),
            float(attrs["clip"]),  # type: ignore[arg-type]
            bool(attrs["input_forget"]),
            bool(attrs["linear_before_reset"]),
        )
