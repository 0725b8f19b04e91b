"""A clock that is off by FAULT_CLOCK_AHEAD_S seconds, for every Python that has this directory in its PYTHONPATH."""

import os
import time

_ahead_s = float(os.environ["FAULT_CLOCK_AHEAD_S"])
_right = time.time

time.time = lambda: _right() + _ahead_s
