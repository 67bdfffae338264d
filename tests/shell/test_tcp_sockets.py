"""What only the kernel's TCP sockets do: their options, and what they make of the kernel's failures."""

import errno
import os
import re
import socket
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_webrtc.shell.host import HOST_NETWORK
from trio_webrtc.shell.tcp_sockets import READ_SIZE


def fail_with(number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    return fail


class Failing:
    """A kernel's socket, of which some methods fail once each."""

    def __init__(self, inner, **failures):
        self._inner, self._failures = inner, failures

    def __getattr__(self, name):
        return self._failures.pop(name, None) or getattr(self._inner, name)

    def fileno(self):
        return self._inner.fileno()


@pytest.fixture
async def listener():
    listener = HOST_NETWORK.listen_tcp(("127.0.0.1", 0))
    yield listener
    listener.close()


@pytest.fixture
async def client(listener):
    client = await HOST_NETWORK.connect_tcp(None, listener.local_address)
    yield client
    client.close()


@pytest.fixture
async def server(listener, client):
    server = await listener.accept()
    yield server
    server.close()


async def say_and_hear(sender, receiver):
    sender.send(b"hello")
    with trio.fail_after(5):
        await receiver.wait_readable()
    return receiver.receive() == b"hello"


async def test_nothing_waits_to_be_sent_with_something_else(client, server):
    for end in (client, server):
        assert end._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("method", ["getpeername", "getsockname", "setsockopt"])
@pytest.mark.parametrize("number", [errno.ENOTCONN, errno.EINVAL, errno.ENOBUFS])
async def test_what_fails_after_accepting_does_not_matter(listener, client, monkeypatch, method, number):
    monkeypatch.setattr(socket.socket, method, fail_with(number))
    accepted = await listener.accept()
    assert accepted.remote_address == client.local_address
    assert accepted.local_address == listener.local_address
    assert await say_and_hear(client, accepted)
    accepted.close()


async def test_a_connection_that_cannot_be_used_is_freed_and_the_next_one_is_accepted(listener, client, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "setblocking", fail_with(errno.EINVAL))
        with pytest.raises(OSError, match="Invalid"):
            await listener.accept()
    with trio.fail_after(5):
        await client.wait_readable()  # it hears of its end
    other = await HOST_NETWORK.connect_tcp(None, listener.local_address)
    accepted = await listener.accept()
    assert accepted.remote_address == other.local_address
    accepted.close()
    other.close()


async def test_a_peer_of_which_the_kernel_knows_nothing_any_more_is_an_aborted_connection(listener, client):
    kernel = listener._socket
    listener._socket = Failing(kernel, accept=lambda: (kernel.accept()[0], None))
    with pytest.raises(ConnectionAbortedError):
        await listener.accept()


@pytest.mark.parametrize(
    "number",
    # Those of accept(2), and of TCP errors that Linux passes on there.
    [
        errno.ECONNABORTED,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EPERM,
        errno.EPROTO,
        errno.ENETDOWN,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        errno.ENETUNREACH,
    ],
)
async def test_accepting_fails_as_the_kernel_says_and_the_listener_lives(listener, client, number):
    listener._socket = Failing(listener._socket, accept=fail_with(number))
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        await listener.accept()
    assert caught.value.errno == number
    (await listener.accept()).close()


async def test_a_connection_that_another_process_took_is_not_waited_for_in_the_kernel(listener, nursery):
    listener._socket = Failing(listener._socket, accept=fail_with(errno.EAGAIN))
    accepted = []

    async def accept():
        accepted.append(await listener.accept())

    nursery.start_soon(accept)
    await wait_all_tasks_blocked()
    client = await HOST_NETWORK.connect_tcp(None, listener.local_address)
    await wait_all_tasks_blocked(0.01)
    assert [server.remote_address for server in accepted] == [client.local_address]
    accepted[0].close()
    client.close()


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOBUFS])
async def test_what_the_kernel_has_no_room_for_is_refused_and_can_be_offered_again(client, server, number):
    client._socket = Failing(client._socket, send=fail_with(number))
    assert client.send(b"hello") == 0
    assert await say_and_hear(client, server)


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETDOWN])
async def test_other_failures_are_the_connections_end(client, number):
    client._socket = Failing(client._socket, send=fail_with(number), recv=fail_with(number))
    for operation in (lambda: client.send(b"hello"), client.receive):
        with pytest.raises(OSError, match=os.strerror(number)):
            operation()


async def test_one_read_is_bounded(client, server):
    data = bytes(2 * READ_SIZE)
    while data:
        data = data[client.send(data) :]
    await server.wait_readable()
    assert 0 < len(server.receive()) <= READ_SIZE


@pytest.mark.parametrize("remote", [("localhost", 9), ("127.0.0.1", 65_536), ("127.0.0.1", -1), ("", 9)])
async def test_what_is_no_address_is_an_error_and_never_looked_up(remote):
    with pytest.raises(OSError, match="is no address"):
        await HOST_NETWORK.connect_tcp(None, remote)
    with pytest.raises(OSError, match="is no address"):
        HOST_NETWORK.listen_tcp(remote)


async def test_an_address_of_the_other_family_cannot_be_connected_from(listener):
    with pytest.raises(OSError, match="other family"):
        await HOST_NETWORK.connect_tcp("::1", listener.local_address)


async def test_a_connect_that_is_cancelled_while_nobody_answers_leaves_no_descriptor(require):
    descriptors = require(Path("/proc/self/fd") if Path("/proc/self/fd").exists() else None, "no /proc here")
    deaf = socket.socket()
    deaf.bind(("127.0.0.1", 0))
    deaf.listen(0)
    clients = [await HOST_NETWORK.connect_tcp(None, deaf.getsockname())]
    before = len(list(descriptors.iterdir()))
    for _ in range(5):
        with trio.move_on_after(0.05) as patience:
            clients.append(await HOST_NETWORK.connect_tcp(None, deaf.getsockname()))
        if patience.cancelled_caught:
            break
    assert patience.cancelled_caught
    assert len(list(descriptors.iterdir())) == before + len(clients) - 1
    for client in clients:
        client.close()
    deaf.close()


@pytest.mark.parametrize(
    "name",
    # Those of connect(2), EINPROGRESS apart, and of ip(7).
    [
        *("EACCES", "EADDRINUSE", "EADDRNOTAVAIL", "EAFNOSUPPORT", "EAGAIN", "EALREADY", "EBADF", "ECONNREFUSED"),
        *("EFAULT", "EHOSTUNREACH", "EINTR", "EINVAL", "EISCONN", "ENETUNREACH", "ENOBUFS", "ENOMEM", "ENOTSOCK"),
        *("EPERM", "EPROTOTYPE", "ETIMEDOUT"),
    ],
)
async def test_whatever_connecting_fails_with_is_said_and_nothing_stays_open(listener, monkeypatch, name):
    number = getattr(errno, name)
    made = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: made.append(self) or fail_with(number)())
    with trio.fail_after(5), pytest.raises(OSError, match=re.escape(os.strerror(number))) as caught:
        await HOST_NETWORK.connect_tcp(None, listener.local_address)
    assert caught.value.errno == number
    assert [opened.fileno() for opened in made] == [-1]
