"""Form groups: an anchor with the pointwise operators that can follow it in registers.

    conv2d -> add(bias) -> add(residual) -> relu   -->  one group
    x -> a(x) -> b(a, x) -> c(b, y)                -->  one group (the region between x and c has one way out)

A group's value leaves by its last operator only, so its members can stand at that operator's place without a cycle.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ...tvm_names import shape_of
from ...workload import attributes
from ..bind_sizes import NAME as BIND_SIZES
from ..expressions import operator_name, permutation_of, variables_of
from ..nbits import MATMUL as MATMUL_NBITS
from .anchors import READS_LOW, READS_TRANSPOSED, Anchor, anchor_of, is_widening, reads_transposed
from .graph import Graph
from .pointwise import is_pointwise, occurrences, quantizes
from .rearrange_anchors import rearrangements_read_through

if TYPE_CHECKING:
    from tvm.relax import Call, Expr

#: How many pointwise operators a region may hold: bounds registers and the search.
REGION_LIMIT = 48
#: How long a region's result may be as one expression in which every value stands in place of its variable: so TVM's
#: analyzer sees it, in time that grows with it, which for a chain of functions is exponential.
EXPRESSION_LIMIT = 4000
#: Anchors that choose first what joins them: where two groups could take a pointwise operator, as a residual addition,
#: it costs nothing in the registers of a kernel that computes long for each element.
HEAVY = frozenset({"nn.conv2d", "nn.conv2d_transpose", "matmul", MATMUL_NBITS})
#: Operators that only rename memory; they stay in ``main``.
ALIASES = frozenset({"relax.reshape", f"relax.{BIND_SIZES}"})


@dataclass
class Group:
    """Operators that become one kernel.

    Attributes:
        members: positions of the bindings, ascending; the last is where the group's value leaves.
        seed: the position of the operator the group formed around.
        anchor: what the group forms around; None for pointwise and opaque groups.
        opaque: whether no family describes the group's one operator.
    """

    members: list[int]
    seed: int
    anchor: Anchor | None = None
    opaque: bool = False


@dataclass
class _Region:
    graph: Graph
    taken: set[int]
    shape: tuple[int, ...]
    members: set[int] = field(default_factory=set)

    def fits(self, index: int) -> bool:
        """Return whether a binding could join: an untaken pointwise operator of the region's shape."""
        call = self.graph.calls.get(index)
        return call is not None and index not in self.taken and is_pointwise(call) and shape_of(call) == self.shape

    def add(self, index: int) -> None:
        """Let a binding join, with the pointwise producers that nobody else reads.

        Bytes that were made of wider numbers are not made here: where they are stored, memory is cheapest, and what
        comes before them belongs to the anchor that it follows.
        """
        self.members.add(index)
        for var in variables_of(self.graph.calls[index]):
            producer = self.graph.position.get(var)
            if (
                producer is not None
                and producer not in self.members
                and self.fits(producer)
                and not quantizes(self.graph.calls[producer])
                and set(self.graph.readers[var]) <= self.members
            ):
                self.add(producer)

    def outside_readers(self, index: int) -> list[int]:
        return [each for each in self.graph.readers[self.graph.bindings[index].var] if each not in self.members]

    def escaping(self) -> list[int]:
        """Return the members whose value is read outside."""
        return [index for index in sorted(self.members) if self.outside_readers(index)]

    def expression_length(self) -> int:
        """Return the most terms that any member has when all others are written out in it."""
        lengths: dict[Expr, int] = {}
        for index in sorted(self.members):
            call = self.graph.calls[index]
            read = sum(lengths.get(var, 1) for var in variables_of(call))
            lengths[self.graph.bindings[index].var] = max(1, read) * (occurrences(call) if is_pointwise(call) else 1)
        return max(lengths.values())

    def next_reader(self) -> int | None:
        """Return the earliest outside reader when it could join."""
        outside = [reader for index in self.members for reader in self.outside_readers(index)]
        if not outside or -1 in outside and len(set(outside)) == 1:
            return None
        first = min(reader for reader in outside if reader >= 0)
        return first if self.fits(first) else None


def _grow(graph: Graph, seed: int, taken: set[int], limit: int) -> list[int]:
    region = _Region(graph, taken, shape_of(graph.calls[seed]), {seed})
    if is_pointwise(graph.calls[seed]):
        region.add(seed)
    accepted = sorted(region.members)
    while len(region.members) < limit:
        reader = region.next_reader()
        if reader is None:
            break
        region.add(reader)
        if region.expression_length() > EXPRESSION_LIMIT:
            break
        last = max(region.members)
        # A kernel that ended with a widening would store twice the bytes for the next one to read.
        if region.escaping() == [last] and not is_widening(graph.calls[last]):
            accepted = sorted(region.members)
    return accepted


def _absorbable_transposes(graph: Graph) -> set[int]:
    """Return the transposes that every reader reads through."""
    found = set()
    for index, call in graph.calls.items():
        readers = graph.readers[graph.bindings[index].var]
        through = [reader for reader in readers if reader in graph.calls and reads_transposed(graph.calls[reader])]
        if operator_name(call) == "permute_dims" and readers and through == readers:
            found.add(index)
    return found


def _widenings_read_through(graph: Graph, transposes: set[int]) -> set[int]:
    """Return the widenings that every reader, a kernel or a transpose in front of one, reads through."""
    found = set()
    for index, call in graph.calls.items():
        readers = graph.readers[graph.bindings[index].var]
        through = [
            each in transposes or each in graph.calls and operator_name(graph.calls[each]) in READS_LOW
            for each in readers
        ]
        if is_widening(call) and readers and all(through):
            found.add(index)
    return found


def _reads_low(call: Call) -> bool:
    return operator_name(call) in READS_LOW and anchor_of(call, lambda _: None) is not None


def _absorb_output_transpose(graph: Graph, group: Group, taken: set[int]) -> None:
    """matmul -> permute_dims  -->  matmul that stores its result transposed."""
    readers = graph.readers[graph.bindings[group.members[-1]].var]
    call = graph.calls.get(readers[0]) if len(readers) == 1 else None
    if call is None or readers[0] in taken or operator_name(call) != "permute_dims":
        return
    if group.anchor and group.anchor.family in READS_TRANSPOSED:
        attrs = attributes(dict(group.anchor.attrs) | {"out_axes": permutation_of(call)})
        group.anchor = replace(group.anchor, attrs=attrs)
        group.members.append(readers[0])


def form_groups(graph: Graph, limit: int = REGION_LIMIT) -> list[Group]:
    """Return groups that hold every operator call but the aliases, in order of their last member.

    A call is a member of one group, but for views that several anchors read through.
    """
    from tvm.relax import TensorType

    transposes = _absorbable_transposes(graph)
    views = transposes | rearrangements_read_through(graph) | _widenings_read_through(graph, transposes)
    taken: set[int] = views | {index for index, call in graph.calls.items() if call.op.name in ALIASES}

    def view_of(expr: Expr) -> Call | None:
        index = graph.position.get(expr, -1)
        return graph.calls[index] if index in views else None

    groups: list[Group] = []
    for index, call in sorted(graph.calls.items(), key=lambda item: (operator_name(item[1]) not in HEAVY, item[0])):
        if index in taken:
            continue
        anchor = None if is_pointwise(call) else anchor_of(call, view_of)
        single = isinstance(graph.bindings[index].var.ty, TensorType)
        group = Group([index], index, anchor, opaque=anchor is None)
        if single and (anchor or is_pointwise(call)):
            group = Group(_grow(graph, index, taken, limit), index, anchor)
            taken.update(group.members)
            _absorb_output_transpose(graph, group, taken)
        taken.update(group.members)
        if group.anchor:
            group.members = sorted({*group.members, *(graph.position[view] for view in group.anchor.views)})
        groups.append(group)
    return sorted(groups, key=lambda group: group.members[-1])
