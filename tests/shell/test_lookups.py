"""The look-ups of peers' names by the system's resolver: the threads that they take, however slow the answers are."""

import socket
import threading
from collections.abc import Iterator

import pytest
import trio

from trio_webrtc.shell.host import HOST_NETWORK
from trio_webrtc.shell.lookups import MAX_LOOKUP_THREADS, NameLookups

PEERS = 40
"""As many as Trio has threads for all purposes, by default."""


class SlowResolver:
    """Stands in for the system's. Names that begin with "slow" are answered when there is no other way."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.asked: list[str] = []
        self._ask = socket.getaddrinfo

    def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):
        name = host.decode() if isinstance(host, bytes) else host
        if name.startswith("slow") and not flags & socket.AI_NUMERICHOST:
            self.asked.append(name)
            self.release.wait(20)
            raise socket.gaierror(socket.EAI_AGAIN, "no server has answered")
        return self._ask(host, port, family, type, proto, flags)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowResolver]:
    slow = SlowResolver()
    monkeypatch.setattr(socket, "getaddrinfo", slow.getaddrinfo)
    yield slow
    slow.release.set()


async def ask_for_slow_names(seconds: float) -> None:
    """One name for each of many peers, whose connections end after a while."""
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for number in range(PEERS):
                lookups = NameLookups(HOST_NETWORK, lambda name, host: None)
                assert lookups.ask(f"slow{number}.example.org")
                nursery.start_soon(lookups.run)


async def test_names_that_are_answered_slowly_leave_the_programs_own_threads_alone(resolver: SlowResolver):
    """Those that have been abandoned, too, which go on for as long as the system is patient."""
    try:
        await ask_for_slow_names(0.3)
        assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
        with trio.fail_after(5):
            assert await trio.to_thread.run_sync(lambda: "a thread") == "a thread"
            assert await HOST_NETWORK.resolve("localhost", 3478), "which the application asks for"
        assert len(resolver.asked) == MAX_LOOKUP_THREADS
    finally:
        resolver.release.set()


async def test_a_thread_that_was_abandoned_is_had_again_when_the_resolver_is_done(resolver: SlowResolver):
    found: list[str] = []
    lookups = NameLookups(HOST_NETWORK, lambda name, host: found.append(name))
    await ask_for_slow_names(0.1)
    assert lookups.ask("localhost")
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lookups.run)
            await trio.sleep(0.1)
            assert not found
            resolver.release.set()
    assert found
