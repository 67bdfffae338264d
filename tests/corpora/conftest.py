"""A certificate to shake hands with; and how long to fuzz, and from what."""

import datetime
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trio_webrtc.core.dtls import Certificate, Context

DEFAULT_SECONDS = 18.0
"""For all targets together."""

BIRTHDAY = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

EXAMPLES_AT_ONCE = 50


@pytest.fixture(scope="session")
def context() -> Context:
    return Context(Certificate.generate(now=BIRTHDAY))


@pytest.fixture(scope="session")
def corpora_or_none() -> Path | None:
    """The corpora, if there are any: without them, fuzzing begins with what our own cores say."""
    folder = os.environ.get("TRIO_WEBRTC_CORPORA")
    return Path(folder) if folder else None


@pytest.fixture
def fuzz(request: pytest.FixtureRequest) -> Callable[..., None]:
    """`fuzz(target, strategy, ...)` calls `target` with ever new examples until its share of the time is over.

    Every target has an equal share of TRIO_WEBRTC_FUZZ_SECONDS.
    """
    targets = sum("fuzz" in getattr(item, "fixturenames", ()) for item in request.session.items)
    share = float(os.environ.get("TRIO_WEBRTC_FUZZ_SECONDS", DEFAULT_SECONDS)) / targets

    def fuzz(target: Callable[..., object], *strategies: st.SearchStrategy) -> None:
        run = settings(
            max_examples=EXAMPLES_AT_ONCE,
            deadline=None,
            derandomize=False,  # as CI would have it, every round would be like the first
            suppress_health_check=list(HealthCheck),
            database=None,
        )(given(*strategies)(target))
        end = time.monotonic() + share
        while time.monotonic() < end:
            run()

    return fuzz
