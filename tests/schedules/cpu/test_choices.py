"""The choice of algorithm and layout is the one that was reviewed."""

import difflib

from algorithm_choices import TABLE, table


def test_choices_are_those_that_were_reviewed():
    reviewed, found = TABLE.read_text(encoding="utf-8"), table()
    change = "\n".join(difflib.unified_diff(reviewed.splitlines(), found.splitlines(), "reviewed", "found", n=2))
    remedy = "If the change is meant, write the table anew and commit it: python tests/algorithm_choices.py"
    assert reviewed == found, f"{remedy}\n{change}"
