"""Run-time shapes in the generated plan: which symbols a run has, where each is read, and every tensor's dimensions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...atoms import Operation, Symbol, plain
from ...dims import Dim, upper
from ...shapes import symbols_of
from ...signature import Signature, TensorSpec
from .calls import SIZE
from .plan import Plan


class SymbolTable:
    """The symbols of a model: the places of their values in a run's array of sizes.

    Attributes:
        symbols: in the order of their places: those of the inputs, then those that kernels compute.
        computed: those that kernels compute.
        places: the place of each, by its name.
    """

    def __init__(self, signature: Signature, plan: Plan) -> None:
        self.signature = signature
        self.symbols = symbols_of(dim for spec in signature.inputs for dim in spec.dims)
        known = set(self.symbols)
        computed = symbols_of(size for step in plan.steps if step.kernel == SIZE for size in step.sizes)
        # A variant's bound may be lower: the size has one place.
        named = {each.name: each for each in sorted(computed, key=lambda each: each.high) if each not in known}
        self.computed = tuple(named.values())
        self.symbols += self.computed
        self.places = {symbol.name: place for place, symbol in enumerate(self.symbols)}

    def c_expression(self, dim: int, sizes: str = "frame->sizes") -> str:
        """Return a dimension as a C expression of type int64_t (or a literal)."""
        if not isinstance(dim, Dim):
            return str(dim)
        terms = []
        for monomial, coefficient in dim.terms:
            factors = [self._atom(atom, sizes) for atom in monomial]
            terms.append(
                " * ".join([*factors, *([f"({coefficient})"] if coefficient != 1 else [])]) or str(coefficient)
            )
        return terms[0] if len(terms) == 1 else f"({' + '.join(terms)})"

    def _atom(self, atom: Symbol | Operation, sizes: str) -> str:
        if isinstance(atom, Symbol):
            return f"{sizes}[{self.places[atom.name]}]"
        function = {"//": "floor_div", "%": "floor_mod", "min": "smaller", "max": "larger"}[atom.kind]
        return f"{function}({self.c_expression(atom.left, sizes)}, {self.c_expression(atom.right, sizes)})"

    def place_of(self, symbol: int) -> int:
        """Return the place of a symbol's value."""
        return self.places[plain(symbol)]

    def source(self, symbol: Symbol) -> tuple[int, int]:
        """Return the input and the axis whose size a symbol is."""
        return next(
            (index, axis)
            for index, spec in enumerate(self.signature.inputs)
            for axis, dim in enumerate(spec.dims)
            if isinstance(dim, Dim) and plain(dim) == symbol.name
        )

    def helpers(self) -> Iterator[str]:
        """Yield the C functions that expressions call; none for a model whose shapes are all known."""
        if self.symbols:
            yield _HELPERS

    def symbol_table(self) -> Iterator[str]:
        """Yield the table of symbols, and the function that reads one that a kernel has computed."""
        if not self.symbols:
            return
        rows = []
        for symbol in self.symbols:
            source = (-1, 0) if symbol in self.computed else self.source(symbol)
            rows.append(f'    {{"{symbol.name}", {symbol.low}, {symbol.high}, {source[0]}, {source[1]}}},')
        yield "\n".join(["static const struct tw_symbol symbols[] = {", *rows, "};\n"])
        if self.computed:
            yield _READ_SIZE

    def tables(self) -> Iterator[str]:
        """Yield the function that fills in all dimensions."""
        if not self.symbols:
            return
        lines = [f"  dims[{place}] = {self._dim(dim)};" for place, dim in enumerate(self._flat_dims())]
        head = "static void find_dims(const int64_t* sizes, int64_t* dims, int found) {"
        yield "\n".join([head, "  (void)sizes;", "  (void)found;", *lines, "}\n"])

    def _dim(self, dim: int) -> str:
        """Return a dimension; its bound before the sizes are found that a kernel computes."""
        expression = self.c_expression(dim, "sizes")
        return f"found ? {expression} : {upper(dim)}" if set(symbols_of([dim])) & set(self.computed) else expression

    def _flat_dims(self) -> list[int]:
        return [dim for spec in (*self.signature.inputs, *self.signature.outputs) for dim in spec.dims]

    def fields(self) -> list[str]:
        """Return the initializers of ``struct tw_plan`` for the symbols."""
        if not self.symbols:
            return []
        return [
            ".symbols = symbols",
            f".num_symbols = {len(self.symbols)}",
            f".computes_sizes = {int(bool(self.computed))}",
            ".find_dims = find_dims",
            f".num_dims = {len(self._flat_dims())}",
        ]


def dim_texts(spec: TensorSpec) -> Sequence[str]:
    """Return the dimensions of a tensor as people write them."""
    return [plain(dim) for dim in spec.shape]


_HELPERS = """\
static inline int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a ^ b) < 0); }
static inline int64_t floor_mod(int64_t a, int64_t b) { return a - floor_div(a, b) * b; }
static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
"""

_READ_SIZE = """\
/* 0, or one more than the place of a size that is out of its bounds. */
static int32_t read_size(const struct tw_frame* frame, int32_t place, int64_t size) {
  frame->sizes[place] = size;
  return size < symbols[place].low || size > symbols[place].high ? place + 1 : 0;
}
"""
