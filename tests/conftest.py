"""How property tests choose their examples: anew at a desk, the same ones every time where ``CI`` is set."""

import os

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("repeatable")
