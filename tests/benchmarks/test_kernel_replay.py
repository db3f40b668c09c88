"""Which kernels differ between two lists of them."""

import json

from benchmarks.kernel_replay import Kernel, compare


def kernel(name: str, size: int, text: str, template: str = "direct") -> Kernel:
    shape = {"shape": [1, size], "dtype": "float32"}
    return Kernel(name, json.dumps({"inputs": [shape], "outputs": [shape]}), template, text)


def test_equal_kernels_are_not_listed_whatever_their_names():
    assert compare([kernel("a", 1, "x"), kernel("b", 2, "y")], [kernel("c", 2, "y"), kernel("d", 1, "x")]) == []


def test_what_is_gone_new_or_different_is_listed():
    before = [kernel("same", 1, "x"), kernel("gone", 2, "x"), kernel("changed", 3, "one\ntwo")]
    after = [kernel("same", 1, "x"), kernel("changed", 3, "one\nthree", "winograd"), kernel("new", 4, "x")]
    changes = dict(compare(before, after))
    assert list(changes) == [
        "  - gone: 1x2 -> 1x2  [direct]",
        "  ~ changed: 1x3 -> 1x3  [direct -> winograd]",
        "  + new: 1x4 -> 1x4  [direct]",
    ]
    assert {"-two", "+three"} <= set(changes["  ~ changed: 1x3 -> 1x3  [direct -> winograd]"])
