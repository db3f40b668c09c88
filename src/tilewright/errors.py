"""Two families of errors: the user's (:class:`UserError`, exit code 2) and ours (anything else, a bug)."""

from __future__ import annotations

from collections.abc import Sequence

EXIT_OK = 0
EXIT_BUG = 1
EXIT_USER_ERROR = 2


class UserError(Exception):
    """Something the user can mend. The message is one sentence that names the file, the node and the remedy."""


class UnsupportedOperators(UserError):
    """The model uses operators that no importer row takes; raised once, naming all of them.

    Attributes:
        operators: pairs of (operator with its domain and opset, node name), in the model's order.
    """

    def __init__(self, model: str, operators: Sequence[tuple[str, str]]) -> None:
        self.operators = tuple(operators)
        listed = ", ".join(f"{operator} (node '{node}')" for operator, node in self.operators)
        super().__init__(f"{model}: {len(self.operators)} unsupported operator node(s): {listed}")
