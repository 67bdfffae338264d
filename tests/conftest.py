"""What every test may ask for: the things a machine may lack, each named when it is missing."""

import gc
import os
from pathlib import Path
from typing import Protocol, TypeVar

import pytest
from hypothesis import HealthCheck, settings

T = TypeVar("T")

if settings.get_current_profile_name() == "default":  # with CI set, Hypothesis is patient by itself
    # A busy machine must not look like a bug.
    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")


def pytest_collection_finish() -> None:
    """Take what stays until the end, modules and tests, out of every search for garbage: there are many of those."""
    gc.collect()
    gc.freeze()


class Require(Protocol):
    """`require(thing, "what is missing")` gives the thing back, or skips the test because the machine lacks it."""

    def __call__(self, thing: T | None, missing: str) -> T: ...


@pytest.fixture(scope="session")
def require() -> Require:
    """The one way for a test to skip, so that one environment variable can forbid it.

    With `TRIO_WEBRTC_REQUIRE_ALL=1` a missing thing fails the test instead: CI must not go quiet because a browser
    did not install.
    """

    def require(thing: T | None, missing: str) -> T:
        if thing:
            return thing
        if os.environ.get("TRIO_WEBRTC_REQUIRE_ALL") == "1":
            pytest.fail(f"{missing} (and TRIO_WEBRTC_REQUIRE_ALL=1 forbids skipping)", pytrace=False)
        pytest.skip(missing)

    return require


@pytest.fixture(scope="session")
def corpora(require: Require) -> Path:
    """The folder of recorded packets and descriptions that other projects publish; not part of this one."""
    folder = os.environ.get("TRIO_WEBRTC_CORPORA")
    return Path(require(folder, "TRIO_WEBRTC_CORPORA names no folder of corpora"))


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The folder that holds pyproject.toml."""
    return Path(__file__).parent.parent
