"""The languages that kernels are printed in, as rows: how each spells types, functions, bits and threads."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

_VECTOR = re.compile(r"(.+)x(\d+)")


@dataclass(frozen=True)
class Dialect:
    """A language.

    Attributes:
        name: for people.
        types: its names of element types.
        head: what stands once before all kernels.
        kernel: how a kernel's definition begins.
        memory: qualifiers of a pointer's target, by TVM's storage scope.
        functions: its names of float32 functions, by TVM's operator; other types by ``overloads``.
        overloads: the name of a function for another element type, from the name for float32.
        bits: the expression that reads a value's bits as another type, from (from, to, value).
        threads: the expressions of thread indices, by TVM's thread tag.
        barrier: the statement by which the threads of a block wait for one another; "" where there are none.
        load: a vector from consecutive elements, from (lanes, pointer); None for a language without vectors.
        store: the statement that stores one, from (lanes, value, pointer).
        words: words that names must not be, besides C's.
        long_suffix: what ends a 64-bit literal.
        restrict: the word for a pointer that shares nothing with others.
    """

    name: str
    types: Mapping[str, str]
    head: str
    kernel: str
    memory: Mapping[str, str]
    functions: Mapping[str, str]
    overloads: Callable[[str, str], str]
    bits: Callable[[str, str, str], str]
    threads: Mapping[str, str] = field(default_factory=dict)
    barrier: str = ""
    load: Callable[[int, str], str] | None = None
    store: Callable[[int, str, str], str] | None = None
    words: frozenset[str] = frozenset()
    long_suffix: str = "LL"
    restrict: str = "restrict"

    def type_name(self, dtype: str) -> str:
        """Return the name of a type, vectors included. Raises KeyError for one that the language lacks."""
        vector = _VECTOR.fullmatch(dtype)
        return f"{self.types[vector[1]]}{vector[2]}" if vector else self.types[dtype]


#: Functions of <math.h> by TVM's operators, for every language that has them under these names.
MATH = {
    **{each: each for each in ("exp", "exp2", "exp10", "log", "log2", "log10", "log1p", "sqrt", "pow", "fmod")},
    **{each: each for each in ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh")},
    **{each: each for each in ("asinh", "acosh", "atanh", "atan2", "erf", "floor", "ceil", "trunc", "copysign")},
    **{"fabs": "fabs", "nearbyint": "rint", "round": "round", "hypot": "hypot", "fma": "fma"},
}

#: Words of C, and names of its library that a compiler warns about.
C_WORDS = frozenset(
    re.findall(
        r"\w+",
        "auto break case char const continue default do double else enum extern float for goto if inline int long "
        "register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while "
        "bool true false main exp log sin cos tan floor ceil round pow index y0 y1 yn j0 j1 jn gamma",
    )
)
