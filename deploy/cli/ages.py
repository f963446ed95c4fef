"""How long ago something was."""

from __future__ import annotations

import time

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def age(then: float) -> str:
    """In the largest unit that fits.

    Args:
        then: seconds since the epoch.
    """
    passed = max(0.0, time.time() - then)
    seconds, unit = next((unit for unit in _UNITS if passed >= unit[0]), _UNITS[-1])
    return f"{passed / seconds:.0f} {unit}"
