"""What one input may cost, whoever sent it."""

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

MAX_SECONDS = 0.05
MAX_BYTES = 10_000_000
ATTEMPTS = 3

T = TypeVar("T")


def check_is_frugal(name: str, prepare: Callable[[], T], action: Callable[[T], object]) -> None:
    """Fail if `action`, done to what `prepare` makes, takes too much processor time or memory.

    Time is that of the processor, and the best of some attempts, so that a busy machine fails nothing.
    """
    prepared = prepare()
    tracemalloc.start()
    try:
        action(prepared)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= MAX_BYTES, f"{name} needs {peak} bytes"
    fastest = MAX_SECONDS
    for _ in range(ATTEMPTS):
        prepared = prepare()
        before = time.process_time()
        action(prepared)
        fastest = time.process_time() - before
        if fastest < MAX_SECONDS:
            return
    pytest.fail(f"{name} takes {fastest:.3f} s")


def files_of(folder: Path) -> list[Path]:
    """The inputs in a folder and below it, in a fixed order; a folder without any is a mistake."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and "README" not in path.name)
    assert found, f"there is nothing in {folder}"
    return found
