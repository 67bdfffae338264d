"""How many descriptors this process has open, and how many it may have."""

import errno
import sys
from pathlib import Path
from typing import Final

if sys.platform != "win32":
    import resource

_DESCRIPTORS: Final = Path("/dev/fd")
"""Where Linux, macOS and the BSDs list the descriptors of the process that asks."""


def count_descriptors() -> int | None:
    """How many are open; None if the system does not tell. Takes longer the more there are."""
    try:
        return sum(1 for _ in _DESCRIPTORS.iterdir()) - 1  # one of them was for looking
    except OSError as error:
        return descriptor_limit() if error.errno == errno.EMFILE else None


def descriptor_limit() -> int | None:
    """How many may be open (RLIMIT_NOFILE); None if there is no limit."""
    if sys.platform == "win32":
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft
