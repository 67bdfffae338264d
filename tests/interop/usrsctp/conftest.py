"""usrsctp for the tests of this folder, and meetings with it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from . import bindings
from .meeting import Meeting
from .stack import Stack

MakeMeeting = Callable[..., Meeting]


@pytest.fixture(scope="package")
def stack(require) -> Iterator[Stack]:
    """usrsctp, which there can be only one of in a process; it is ended behind the last of these tests."""
    library = require(bindings.load(), f"{bindings.LIBRARY} is not installed (Debian: libusrsctp2)")
    with Stack(library).running() as stack:
        yield stack


@pytest.fixture
def meet(stack: Stack) -> Iterator[MakeMeeting]:
    """Makes meetings, from a seed, our settings, and usrsctp's; whatever they leave is cleared away."""
    with ExitStack() as closing:

        def make(**arguments) -> Meeting:
            meeting = Meeting(stack, **arguments)
            closing.callback(meeting.theirs.close)
            return meeting

        yield make
