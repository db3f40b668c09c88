"""From a forest to the operands of a tree ensemble: tables of boundaries, columns, and trees as kernels read them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import UserError
from .forest import Boundaries, Forest
from .tree_ensemble import TreeEnsemble

Array = NDArray[Any]

#: Trees deeper than this are not stored complete: every level doubles the work, and leaves are numbered in bytes.
_COMPLETE_DEPTH = 8
#: Tables are padded to a multiple of this, so that vectors of them are whole.
_TABLES = 16
_MOST_NODES = 2**29


def pack(forest: Forest) -> tuple[TreeEnsemble, dict[str, Array]]:
    """Return the ensemble of a forest and its operands by name, all but x.

    Raises UserError for a forest that is damaged or too large.
    """
    return _Packer(forest).packed()


class _Packer:
    def __init__(self, forest: Forest) -> None:
        self.forest = forest
        if not len(forest.roots):
            raise UserError("the model holds no trees")
        self.level, self.tree = forest.levels()
        self.live = self.level >= 0
        self.split = self.live & (forest.leaf < 0)
        self.depth = max(1, int(self.level.max()))
        self.column = np.zeros(len(self.level), np.int64)
        self.rank = np.zeros(len(self.level), np.int64)

    def packed(self) -> tuple[TreeEnsemble, dict[str, Array]]:
        """Return the ensemble and its operands."""
        operands = self._columns()
        highest = max(int(self.rank.max()), int(operands["missing"].max()))
        strategy = self._strategy(highest)
        ranks = np.int32 if strategy == "nodes" else np.uint8 if highest <= 255 else np.uint16
        operands["missing"] = operands["missing"].astype(ranks)
        operands["base"] = self.forest.base.astype(self.forest.values.dtype)
        targets = self.forest.target is not None and self.forest.outputs > 1
        if targets:
            assert self.forest.target is not None
            operands["target"] = self.forest.target.astype(np.int32)
        operands |= self._complete(ranks) if strategy == "complete" else self._nodes()
        ensemble = TreeEnsemble(
            strategy,
            self.depth,
            self.forest.aggregate,
            int(operands["tables"][2].max()),
            len(operands["missing"]),
            "sets" in operands,
            targets,
        )
        return ensemble, {name: np.ascontiguousarray(operands[name]) for name in ensemble.operands[1:]}

    def _strategy(self, highest: int) -> str:
        """Return how to store the trees: complete where they are not deep, and ranks and columns are narrow."""
        narrow = self.depth <= _COMPLETE_DEPTH and highest <= 65535 and int(self.column.max()) <= 65535
        return "complete" if narrow else "nodes"

    def _columns(self) -> dict[str, Array]:
        """Return the operands that turn features into columns; sets every split's column and rank."""
        forest = self.forest
        sets = np.zeros(len(self.level), bool)
        sets[[node for node in forest.sets if self.split[node]]] = True
        ordered = np.flatnonzero(self.split & ~sets)
        features = np.unique(forest.feature[ordered])
        table_of = np.zeros(forest.features, np.int64)
        table_of[features] = np.arange(len(features))
        tables: list[tuple[int, Array]] = []
        for feature in features:
            nodes = ordered[forest.feature[ordered] == feature]
            bounds = np.unique(forest.threshold[nodes])
            tables.append((int(feature), bounds))
            self.rank[nodes] = np.searchsorted(bounds, forest.threshold[nodes]) + 1
        places, of_set = self._set_tables(np.flatnonzero(sets), tables)
        count = -(-max(1, len(tables)) // _TABLES) * _TABLES
        numbers = np.array([len(bounds) for _, bounds in tables] + [0] * (count - len(tables)))
        right = forest.missing_right[ordered]
        both = np.intersect1d(forest.feature[ordered[right]], forest.feature[ordered[~right]])
        missing = np.zeros((2 if len(both) else 1, count), np.int64)
        self.column[ordered] = table_of[forest.feature[ordered]]
        if len(both):
            self.column[ordered] += count * right
            missing[1] = numbers
        else:
            missing[0, self.column[ordered[right]]] = numbers[self.column[ordered[right]]]
        missing[:, places] = numbers[places] + 1
        return {**_tables(tables, count, forest.dtype), "missing": missing} | self._sets(of_set, tables, missing)

    def _set_tables(self, nodes: Array, tables: list[tuple[int, Array]]) -> tuple[list[int], dict[int, int]]:
        """Add a table for each feature that is tested for membership; return their places and each node's."""
        forest = self.forest
        places: list[int] = []
        of_node: dict[int, int] = {}
        for feature in np.unique(forest.feature[nodes]):
            mine = [int(node) for node in nodes[forest.feature[nodes] == feature]]
            bounds = np.unique(np.concatenate([np.array(forest.sets[node], forest.dtype) for node in mine]))
            of_node |= dict.fromkeys(mine, len(tables))
            places.append(len(tables))
            tables.append((int(feature), bounds))
        return places, of_node

    def _sets(self, of_node: dict[int, int], tables: list[tuple[int, Array]], missing: Array) -> dict[str, Array]:
        """Return the operands of sets, equal ones once; sets their nodes' columns."""
        known: dict[tuple[int, Boundaries, bool], int] = {}
        sources: list[tuple[int, int]] = []
        members: list[Array] = []
        begin = 0
        for node, table in of_node.items():
            key = (table, self.forest.sets[node], bool(self.forest.missing_right[node]))
            if key not in known:
                known[key] = len(sources)
                sources.append((table, begin))
                bounds = np.array(key[1], self.forest.dtype)
                inside = np.searchsorted(bounds, tables[table][1], side="right") % 2
                members.append(np.concatenate([[0], inside, [key[2]]]).astype(np.uint8))
                begin += len(members[-1])
            self.column[node], self.rank[node] = missing.size + known[key], 1
        if not sources:
            return {}
        return {"sets": np.array(sources, np.int32).T, "members": np.concatenate(members)}

    def _complete(self, ranks: Any) -> dict[str, Array]:
        """Return complete trees. Below an early leaf every path ends in its value, whatever the tests say."""
        forest, trees, inner = self.forest, len(self.forest.roots), 2**self.depth - 1
        columns = np.zeros((trees, inner), np.uint8 if self.column.max() <= 255 else np.uint16)
        tests = np.zeros((trees, inner), ranks)
        values = forest.values.reshape(len(forest.values), -1)
        leaves = np.zeros((trees, values.shape[1], inner + 1), values.dtype)
        tree, node, place = np.arange(trees), forest.roots.astype(np.int64), np.zeros(trees, np.int64)
        for _ in range(self.depth):
            splits = forest.leaf[node] < 0
            columns[tree, place] = np.where(splits, self.column[node], 0)
            tests[tree, place] = np.where(splits, self.rank[node], 0)
            left, right = (np.where(splits, child[node], node) for child in (forest.left, forest.right))
            tree, node = np.tile(tree, 2), np.concatenate([left, right])
            place = np.concatenate([2 * place + 1, 2 * place + 2])
        leaves[tree, :, place - inner] = values[forest.leaf[node]]
        return {"node_column": columns, "node_rank": tests, "leaves": leaves}

    def _nodes(self) -> dict[str, Array]:
        """Return the trees as nodes, one tree behind the other, each level by level."""
        forest = self.forest
        order, place = self._siblings()
        if len(order) > _MOST_NODES:
            raise UserError(f"the model holds {len(order)} nodes of trees; at most {_MOST_NODES} can be compiled")
        splits = forest.leaf[order] < 0
        nodes = np.empty((len(order), 4), np.int32)
        nodes[:, 0] = np.where(splits, self.column[order], 0)
        nodes[:, 1] = np.where(splits, self.rank[order], 0)
        nodes[:, 2] = np.where(splits, place[forest.left[order]], np.arange(len(order)) - 1)
        nodes[:, 3] = np.maximum(forest.leaf[order], 0)
        depths = np.zeros(len(forest.roots), np.int32)
        np.maximum.at(depths, self.tree[self.live], self.level[self.live])
        values = forest.values.reshape(len(forest.values), -1)
        return {"nodes": nodes, "trees": np.stack([place[forest.roots], depths]).astype(np.int32), "leaves": values}

    def _siblings(self) -> tuple[Array, Array]:
        """Return all nodes, each right child behind its left sibling, and every node's place in that order."""
        forest = self.forest
        parents = np.flatnonzero(self.split)
        children = np.stack([forest.left[parents], forest.right[parents]], 1).reshape(-1)
        merged = np.concatenate([forest.roots, children])
        keys = np.lexsort((np.arange(len(merged)), self.level[merged], self.tree[merged]))
        arranged = merged[keys]
        place = np.zeros(len(self.level), np.int64)
        place[arranged] = np.arange(len(arranged))
        return arranged, place


def _tables(tables: list[tuple[int, Array]], count: int, dtype: str) -> dict[str, Array]:
    """Return the boundaries of all tables, each padded to what a binary search reads, and where they stand."""
    described = np.zeros((3, count), np.int32)
    parts: list[Array] = []
    begin = 0
    for at, (feature, bounds) in enumerate(tables):
        steps = int(len(bounds)).bit_length()
        described[:, at] = feature, begin, steps
        parts.append(np.pad(bounds.astype(dtype), (0, 2**steps - 1 - len(bounds)), constant_values=np.nan))
        begin += len(parts[-1])
    return {"tables": described, "boundaries": np.concatenate([*parts, np.full(1, np.nan, dtype)])}
