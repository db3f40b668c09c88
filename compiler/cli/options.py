"""Kinds of option values: each turns a word into a value, or says in a sentence why it cannot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...input_shapes import WrittenDim
from ...registry import nearest

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # generic for type checkers only in newer releases of click

#: A path; whoever opens it says what is wrong with it.
PATH = click.Path(path_type=Path)

_SHAPE = re.compile(r"\s*(?P<name>[^\[\];]+?)\s*:\s*\[(?P<dims>[^\[\]]*)\]\s*(?:;|(?=\s\S)|$)")
_LARGEST_DIM = 2**31 - 1


class Word(_ParamType):
    """One of some words; an unknown one is told its neighbours.

    Args:
        kind: what a word is, in the singular.
        words: all of them.
    """

    def __init__(self, kind: str, words: tuple[str, ...]) -> None:
        self.name = kind
        self.words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word."""
        if value not in self.words:
            hint = nearest(str(value), list(self.words)) or f": it is one of {', '.join(self.words)}"
            self.fail(f"there is no {self.name} '{value}'{hint}", param, ctx)
        return str(value)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return how the option's value is called in the help."""
        return self.name.upper()


class Words(Word):
    """Some words, separated by commas."""

    def convert(  # type: ignore[override]
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the words, each once, in the order given."""
        if isinstance(value, tuple):
            return value
        words = [each.strip() for each in str(value).split(",")]
        return tuple(dict.fromkeys(super(Words, self).convert(each, param, ctx) for each in words))

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return how the option's value is called in the help."""
        return f"{self.name.upper()}[,...]"


class InputShapes(_ParamType):
    """Shapes of inputs by name: ``"x:[1,3,224,224];ids:[batch<=8,128]"``, separated by semicolons or spaces."""

    name = "NAME:[DIM,...]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[tuple[str, tuple[WrittenDim, ...]], ...]:
        """Return pairs of name and shape in the order given."""
        if isinstance(value, tuple):
            return value
        pairs = []
        position = 0
        while position < len(value) and value[position:].strip():
            match = _SHAPE.match(value, position)
            if match is None:
                self.fail(
                    f"'{value[position:].strip()}' is not a shape: write 'x:[1,3,224,224];ids:[1,128]'", param, ctx
                )
            pairs.append((match["name"], self._dims(match["name"], match["dims"], param, ctx)))
            position = match.end()
        if not pairs:
            self.fail("no shape is given: write 'x:[1,3,224,224]'", param, ctx)
        return tuple(pairs)

    def _dims(
        self, name: str, text: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[WrittenDim, ...]:
        words = [each.strip() for each in text.split(",")] if text.strip() else []
        for word in words:
            numeric = word.isascii() and word.isdigit() and 0 < int(word[:11]) <= _LARGEST_DIM
            if not numeric and not re.search(r"[A-Za-z_]", word):
                self.fail(
                    f"'{word}' is not a dimension of '{name}': give a whole number from 1 on, or a bound as batch<=32",
                    param,
                    ctx,
                )
        return tuple(int(word) if word.isdigit() else word for word in words)


class Sizes(_ParamType):
    """Sizes of one symbol: ``batch=1,8``."""

    name = "SYMBOL=SIZE[,...]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, tuple[int, ...]]:
        """Return the symbol and its sizes, each once."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"\s*([A-Za-z_]\w*)\s*=\s*(\d{1,10}(?:\s*,\s*\d{1,10})*)\s*", value, re.ASCII)
        if match is None:
            self.fail(f"'{value}' names no sizes: write batch=1,8", param, ctx)
        return match[1], tuple(dict.fromkeys(int(each) for each in match[2].split(",")))


def merge_shapes(
    given: tuple[tuple[tuple[str, tuple[WrittenDim, ...]], ...], ...],
) -> dict[str, tuple[WrittenDim, ...]]:
    """Return the shapes of all ``--input-shapes`` by name. Raises click.BadParameter for a name given two shapes."""
    shapes: dict[str, tuple[WrittenDim, ...]] = {}
    for name, shape in (pair for group in given for pair in group):
        if shapes.setdefault(name, shape) != shape:
            raise click.BadParameter(f"'{name}' is given two shapes", param_hint="'--input-shapes'")
    return shapes
