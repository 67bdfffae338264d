"""What the kernel may do to a signalling server: system calls that fail, and descriptors that run out."""

import errno
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from trio_webrtc.signaling import open_websocket_signaling
from trio_webrtc.signaling.sockets import ListeningSocket

from ..shell.test_accepting import PENDING_ERRORS
from ..surface.quiescence import descriptors
from .mischief import HANDSHAKE
from .serving import CANDIDATE, RawClient, assert_serves, running_server, wait_until_idle

GETNAME_ERRORS = ("EBADF", "EFAULT", "EINVAL", "ENOBUFS", "ENOTCONN", "ENOTSOCK")
"""What getpeername(2) and getsockname(2) may fail with."""

SETSOCKOPT_ERRORS = ("EBADF", "EFAULT", "EINVAL", "ENOPROTOOPT", "ENOTSOCK", "ENOBUFS", "EPERM", "EDOM", "ENOMEM")
"""What setsockopt(2) may fail with; the last few according to what is set."""

SEND_ERRORS = ("ECONNRESET", "EPIPE", "ENOBUFS", "ENOMEM", "ETIMEDOUT", "EHOSTUNREACH", "ENETDOWN", "EBADF", "EINVAL")
"""What send(2), recv(2) and shutdown(2) may fail with on a connection."""


def fail_with(name):
    def fail(*args, **kwargs):
        raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)))

    return fail


@pytest.mark.parametrize("name", [*PENDING_ERRORS, "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"])
async def test_after_any_error_of_accept_the_next_client_is_served(name, monkeypatch):
    """F1, F2, F5, F7."""
    accept, failures = ListeningSocket.accept, 3

    async def fail_three_times(self):
        nonlocal failures
        if failures:
            failures -= 1
            fail_with(name)()
        return await accept(self)

    monkeypatch.setattr(ListeningSocket, "accept", fail_three_times)
    async with running_server() as server:
        await assert_serves(server)


@pytest.mark.parametrize("call", ["getpeername", "getsockname"])
@pytest.mark.parametrize("name", GETNAME_ERRORS)
async def test_who_a_client_is_was_told_when_it_was_accepted(name, call, monkeypatch):
    """F1: a connection that is reset at once has no name any more, and that is no reason to end."""
    async with running_server() as server:
        client = await RawClient.connect(server.addresses[0])
        monkeypatch.setattr(trio.socket.SocketType, call, fail_with(name))
        monkeypatch.setattr(type(client.tcp.socket), call, fail_with(name))
        await client.say(HANDSHAKE)
        assert (await client.stream.receive_some()).startswith(b"HTTP/1.1 101 ")
        assert server.get_stats().clients == 1
        client.reset()


@pytest.mark.parametrize("name", SETSOCKOPT_ERRORS)
async def test_an_option_that_cannot_be_set_is_done_without(name, monkeypatch):
    async with running_server() as server:
        clients = [await RawClient.connect(server.addresses[0]) for _ in range(3)]
        monkeypatch.setattr(type(clients[0].tcp.socket), "setsockopt", fail_with(name))
        late = socket.create_connection(server.addresses[0])
        late.sendall(HANDSHAKE)
        assert (await trio.to_thread.run_sync(late.recv, 100)).startswith(b"HTTP/1.1 101 ")
        late.close()
        for client in clients:
            client.tcp.socket.close()


@pytest.mark.parametrize("call", ["send", "recv", "shutdown"])
@pytest.mark.parametrize("name", SEND_ERRORS)
async def test_a_call_that_fails_on_a_connection_is_that_connections_trouble(name, call, monkeypatch):
    """F3: an error of one connection, whenever it shows."""
    async with running_server() as server:
        client = await RawClient.connect(server.addresses[0])
        with monkeypatch.context() as patch:
            patch.setattr(type(client.tcp.socket), call, fail_with(name))
            late = socket.create_connection(server.addresses[0])
            late.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            late.shutdown(socket.SHUT_WR)
            await trio.sleep(0.05)
        late.close()
        client.tcp.socket.close()
        await wait_until_idle(server)
        await assert_serves(server)


class StarvingServer:
    """A server in a process of its own, which has few descriptors."""

    def __init__(self) -> None:
        script = Path(__file__).parent / "starving_server.py"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, str(script)], encoding="utf-8", **pipes)
        self.address = ("127.0.0.1", int(self.process.stdout.readline()))

    def cpu_seconds(self) -> float:
        """What it has used of a processor so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def finish(self) -> str:
        """End it; what it wrote into its log."""
        _, log = self.process.communicate(timeout=20)
        assert self.process.returncode == 0
        return log


@pytest.fixture
def starving_server(require):
    require(sys.platform == "linux", "this system has no /proc")
    server = StarvingServer()
    yield server
    server.process.kill()
    server.process.wait()


async def test_without_descriptors_it_keeps_its_clients_does_not_spin_and_is_back_within_a_second(starving_server):
    """F2, F7, F8: once they have run out, accept(2) fails at once and for ever, and the listener is readable."""
    url = "ws://{}:{}/".format(*starving_server.address)
    before = descriptors()
    async with open_websocket_signaling(url) as kept:
        crowd = [await RawClient.connect(starving_server.address) for _ in range(100)]
        await trio.sleep(0.5)
        used, began = starving_server.cpu_seconds(), time.monotonic()
        await trio.sleep(3)
        share = (starving_server.cpu_seconds() - used) / (time.monotonic() - began)
        print(f"{share:.1%} of a core without descriptors")
        assert share < 0.05
        with trio.fail_after(1):
            await kept.send(CANDIDATE)
            assert await kept.receive() == CANDIDATE
        for client in crowd:
            client.reset()
        began = time.monotonic()
        async with open_websocket_signaling(url) as newcomer:
            await newcomer.send(CANDIDATE)
            assert await newcomer.receive() == CANDIDATE
        print(f"served {time.monotonic() - began:.2f} s after there was room again")
        assert time.monotonic() - began < 1
    log = await trio.to_thread.run_sync(starving_server.finish)
    assert log.count("accepts nothing until there is room again (Too many open files)") == 1
    assert log.count("accepts again") == 1
    starving_server.process.stdin.close()
    assert descriptors() <= before


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """As it is when this process has as many as it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(descriptors()) + 20, hard))
    spares = []
    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                spares.append(os.dup(0))
        yield
    finally:
        for spare in spares:
            os.close(spare)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_its_own_process_may_run_out_of_descriptors_and_is_told_of_it():
    """The same in this process, where `get_stats()` can be asked meanwhile."""
    async with running_server() as server:
        await assert_serves(server)
        await wait_until_idle(server)
        with socket.socket() as late:
            late.setblocking(False)
            with no_descriptors_left():
                late.connect_ex(server.addresses[0])
                await trio.sleep(0.1)
                stats = server.get_stats()
                assert stats.exhausted
                assert stats.descriptors_used == stats.descriptors_allowed
            with trio.fail_after(1):
                while server.get_stats().exhausted:
                    await trio.sleep(0.01)
        await assert_serves(server)


async def test_a_listener_that_is_lost_ends_the_server_and_says_so(monkeypatch, caplog):
    """Nothing can be accepted by it any more: that is nobody's trouble but the server's."""

    async def lose(self):
        await trio.sleep(0.05)
        fail_with("EBADF")()

    monkeypatch.setattr(ListeningSocket, "accept", lose)
    with pytest.raises(ExceptionGroup) as caught:
        async with running_server():
            await trio.sleep(2)
    (error,) = caught.value.exceptions
    assert isinstance(error, OSError)
    assert "is lost" in caplog.text
