"""Ctrl-C at a random moment of a busy signalling server: its clients are told, and nothing else comes out."""

import gc
import random
import signal
import socket
import threading
import time
from functools import partial
from types import FrameType

import pytest
import trio

from trio_webrtc.signaling import open_websocket_signaling, serve_websocket_signaling

from ..server.test_interrupt import every_call, unprotected
from ..surface.quiescence import descriptors
from ..surface.test_interrupt import alarms_interrupt
from .conftest import RUNS
from .mischief import HANDSHAKE, frame
from .serving import CANDIDATE, PATIENCE, echo, running_server, url

CLIENTS = 4
ANSWER = b"HTTP/1.1 101 "
HELLO = b'{"bye":"hello"}'


class Client(threading.Thread):
    """Talks to the server, where no signal goes, until it ends; then has what it heard."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.heard = b""
        self._port = port

    def run(self) -> None:
        with socket.socket() as connection:
            connection.settimeout(5)
            try:
                connection.connect(("127.0.0.1", self._port))
                connection.sendall(HANDSHAKE)
                while data := connection.recv(4096):
                    self.heard += data
                    if self.was_told() is not None:
                        break
                    time.sleep(0.001)  # the server's thread wants to run, too
                    connection.sendall(frame(0x81, HELLO))
            except ConnectionError:
                pass

    def was_told(self) -> int | None:
        """The close code, if it has come."""
        _, begin, code = self.heard.rpartition(b"\x88\x02")
        return int.from_bytes(code[:2], "big") if begin else None


# A Ctrl-C that lands in Trio between the making of a coroutine and its first step leaves one that is never awaited.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("seed", range(RUNS))
def test_ctrl_c_ends_the_server_and_tells_its_clients(seed):
    moment = random.Random(seed).uniform(0.001, 0.1)
    clients: list[Client] = []
    before = descriptors()

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(serve_websocket_signaling, echo, "127.0.0.1", 0, close_timeout=0.2))
            clients.extend(Client(server.addresses[0][1]) for _ in range(CLIENTS))
            for client in clients:
                client.start()
            signal.setitimer(signal.ITIMER_REAL, moment)

    with alarms_interrupt():
        try:
            trio.run(serve)
        except BaseExceptionGroup as group:
            interrupts, others = group.split(KeyboardInterrupt)
            assert interrupts is not None
            assert others is None
        except KeyboardInterrupt:
            pass
        else:
            pytest.fail("nothing came out")
    for client in clients:
        client.join(timeout=6)
        assert not client.is_alive()
    told = [client.was_told() for client in clients if client.heard.startswith(ANSWER)]
    # Whoever was being served when it came may be told something else, or nothing.
    assert sum(code != 1001 for code in told) <= 1, told
    gc.collect()
    assert descriptors() == before


def _is_a_handlers(frame: FrameType | None) -> bool:
    """Whether a user's handler is what goes on here, from where the server calls it: it may be broken off."""
    while frame is not None and frame.f_code.co_qualname != "SignalingServer._handle":
        frame = frame.f_back
    return frame is not None


async def test_ctrl_c_breaks_off_no_task_of_the_library_but_in_a_handler():
    calls, found = 0, set()

    def look(frame: FrameType) -> None:
        nonlocal calls
        calls += 1
        if (name := unprotected(frame)) is not None and not _is_a_handlers(frame):
            found.add(name)

    with every_call(look):
        async with running_server(ping_interval=0.05) as server:
            with trio.fail_after(PATIENCE):
                async with open_websocket_signaling(url(server)) as signaling:
                    for _ in range(10):
                        await signaling.send(CANDIDATE)
                        await signaling.receive()
                        await trio.sleep(0.02)
    assert not found
    assert calls > 500, "somebody has looked"
