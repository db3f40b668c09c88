"""Tree ensembles as one operator: what a kernel reads, as data.

    x --ranks--> columns --trees--> one leaf a tree --sums--> outputs

A feature's value becomes its rank: how many of the feature's boundaries are not above it. Tests compare ranks, which
are small integers, and are exact. The rank of a missing value is chosen so that a test comes out as the split wants:
where splits of a feature disagree, the feature has two columns.

=============  ==========================  ============================================================================
operand        shape                       meaning
=============  ==========================  ============================================================================
x              [N, F] float                rows of features
tables         [3, TB] int32               for each table: its feature, where its boundaries begin, the steps s of a
                                           binary search among its 2^s - 1 boundaries
boundaries     [B] like x                  ascending in each table, then NaN
missing        [sides, TB] rank            what stands for NaN in the columns of each table
base           [K] value                   what sums begin with
sets           [2, S] int32                only with sets: the column that each set reads, where its members begin
members        [M] uint8                   only with sets: for each rank, and behind the last one for NaN: 1 inside
target         [T] int32                   only where each tree has one of several outputs: which
=============  ==========================  ============================================================================

Column ``side * TB + table`` holds ranks, column ``sides * TB + set`` a one or a zero. Then, in complete trees whose
node n has the children 2n+1 and 2n+2 (L leaves, L - 1 nodes):

=============  ==========================  ============================================================================
node_column    [T, L - 1] uint8 or uint16  what each node reads
node_rank      [T, L - 1] rank             to the right where the column's rank is not below it
leaves         [T, V, L] value             values, V 1 or K
=============  ==========================  ============================================================================

or, where complete trees would be too large, in nodes whose right child follows the left one:

=============  ==========================  ============================================================================
nodes          [M, 4] int32                column, rank, left child, row of leaves. A leaf is its own right child.
trees          [2, T] int32                root and depth of each tree
leaves         [L, V] value
=============  ==========================  ============================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from .workload import Attribute, attributes

#: Operands behind x of every ensemble; then those of ``OPTIONAL`` that there are, then the strategy's.
COMMON = ("tables", "boundaries", "missing", "base")
OPTIONAL = ("sets", "members", "target")
STRATEGIES = {"complete": ("node_column", "node_rank", "leaves"), "nodes": ("nodes", "trees", "leaves")}


@dataclass(frozen=True)
class TreeEnsemble:
    """A tree ensemble but for its operands.

    Attributes:
        strategy: "complete" or "nodes": how trees are stored.
        depth: the depth of the deepest tree.
        aggregate: "sum", "min" or "max" over trees.
        steps: of the longest binary search.
        sides: columns of a table, 1 or 2.
        sets: whether some splits test for membership.
        targets: whether each tree adds to one output of several.
    """

    strategy: str
    depth: int
    aggregate: str
    steps: int
    sides: int
    sets: bool
    targets: bool

    @property
    def operands(self) -> tuple[str, ...]:
        """The names of the operands in order, x first."""
        optional = [*(OPTIONAL[:2] if self.sets else ()), *(OPTIONAL[2:] if self.targets else ())]
        return ("x", *COMMON, *optional, *STRATEGIES[self.strategy])

    def attributes(self) -> tuple[tuple[str, Attribute], ...]:
        """Return the ensemble as the attributes of a workload or an operator."""
        return attributes(asdict(self))

    @staticmethod
    def of(attrs: Mapping[str, Attribute]) -> TreeEnsemble:
        """Return the ensemble that these attributes describe."""
        return TreeEnsemble(
            str(attrs["strategy"]),
            int(attrs["depth"]),  # type: ignore[arg-type]
            str(attrs["aggregate"]),
            int(attrs["steps"]),  # type: ignore[arg-type]
            int(attrs["sides"]),  # type: ignore[arg-type]
            bool(attrs["sets"]),
            bool(attrs["targets"]),
        )
