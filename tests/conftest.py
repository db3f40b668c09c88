"""What holds for every test: how examples are chosen, and which signals reach the processes under test."""

import os
import signal

from hypothesis import settings

# Anew at a desk, the same ones every time where ``CI`` is set; without deadlines, which busy machines miss.
settings.register_profile("desk", deadline=None)
settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.load_profile("repeatable" if os.environ.get("CI") else "desk")

# A shell starts background jobs with interrupts ignored, and every process they start inherits that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
