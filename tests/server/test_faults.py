"""What a kernel may do to a server: any system call fails, descriptors run out, sockets and interfaces are lost.

The server lives, its other peers notice nothing, and the log tells once what happened.
"""

import errno
import logging
import os
import socket

import pytest
import trio
import trio.testing

from trio_webrtc import ListenAddress, SocketOptions, open_webrtc_server
from trio_webrtc.shell.accepting import EXHAUSTED, EXHAUSTION_PAUSE, LISTENER_LOST
from trio_webrtc.shell.network import PAUSE_FOR_MEMORY, SOCKET_LOST, os_error
from trio_webrtc.shell.reporting import MAX_REPORTS_AT_ONCE
from trio_webrtc.testing.virtual_tcp import VirtualTcpSocket

from ..shell.test_accepting import PENDING_ERRORS
from ..surface.quiescence import nothing_stays_behind
from .aiming import join, say, told_by, using
from .conftest import Joined, Site, connect
from .faults import Faults, connected_to, sending_to

LOCAL = using("127.0.0.1")
LISTEN = (ListenAddress("udp", "127.0.0.1"), ListenAddress("tcp", "127.0.0.1"))

SENDMSG = (
    *("EACCES", "EALREADY", "EBADF", "ECONNRESET", "EDESTADDRREQ", "EFAULT", "EINTR", "EINVAL", "EISCONN"),
    *("EMSGSIZE", "ENOMEM", "ENOTCONN", "ENOTSOCK", "EOPNOTSUPP", "EPIPE"),
)
"""What sendmsg(2) says of itself, send(2) and sendto(2), but for lack of room."""

RECVMSG = ("EBADF", "ECONNREFUSED", "EFAULT", "EINTR", "EINVAL", "ENOMEM", "ENOTCONN", "ENOTSOCK")
"""What recvmsg(2) says of itself, recv(2) and recvfrom(2), but for lack of something to read."""

PENDING = (
    *("EACCES", "ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "EHOSTDOWN", "EHOSTUNREACH", "EIO", "EISCONN"),
    *("EMSGSIZE", "ENETDOWN", "ENETRESET", "ENETUNREACH", "ENONET", "ENOPROTOOPT", "EOPNOTSUPP", "EPERM", "EPIPE"),
    *("EPROTO", "ESOCKTNOSUPPORT", "ETIMEDOUT"),
)
"""What ip(7), tcp(7), udp(7) and accept(2) say that the network brings about, in whatever call comes next."""

SEND_ERRORS = sorted({*SENDMSG, *PENDING, "EADDRNOTAVAIL", "EAFNOSUPPORT"} - {"EBADF", "ENOTSOCK"})
"""For datagrams, of which a lost socket is another matter."""

RECEIVE_ERRORS = sorted({*RECVMSG, *PENDING, "ENOBUFS"} - {"EBADF", "ENOTSOCK"})

CONNECTION_ERRORS = sorted({*SENDMSG, *RECVMSG, *PENDING})

GETNAME_ERRORS = ("EBADF", "EFAULT", "EINVAL", "ENOBUFS", "ENOTCONN", "ENOTSOCK")
"""What getpeername(2) and getsockname(2) say."""

SETSOCKOPT_ERRORS = (
    *("EBADF", "EFAULT", "EINVAL", "ENOPROTOOPT", "ENOTSOCK"),  # setsockopt(2)
    *("EACCES", "EDOM", "EISCONN", "ENOBUFS", "ENODEV", "ENOMEM", "EOPNOTSUPP", "EPERM"),  # ip(7), socket(7), POSIX
)

WAITING_ERRORS = ("ENOMEM", "ENOSPC")
"""What epoll_ctl(2) says of lack of room."""


@pytest.fixture
def quick_clock() -> trio.testing.MockClock:
    """Time that passes when nothing else happens: by loopback, the kernel delivers at once."""
    return trio.testing.MockClock(autojump_threshold=0.002)


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return Faults(monkeypatch)


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def join_by(server, transport: str):
    """Join at the server's first address of a transport."""
    at = next(address for address in server.addresses if address.transport == transport)
    return join(server, transport, (at.host, at.port), configuration=LOCAL)


def port_of(server, transport: str) -> int:
    return next(address.port for address in server.addresses if address.transport == transport)


def address_of(joined: Joined) -> tuple[str, int]:
    """From where the client of a connection by UDP sends."""
    return joined.client._core.agent.selected_pair.base.address


def remote_of(joined: Joined) -> tuple[str, int]:
    """From where the client of a connection by TCP comes."""
    return joined.peer._core.agent.selected_pair.remote_address


def failing_to_wait(name: str):
    """Does what a `wait_readable` or `wait_writable` does when the system cannot watch the socket."""

    async def fail(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise os_error(getattr(errno, name))

    return fail


def lines_about(caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
    """What was logged of an error of the system's."""
    return [record.message for record in caplog.records if os.strerror(getattr(errno, name)) in record.message]


# -- datagrams -------------------------------------------------------------------------------------------------------


async def test_a_datagram_that_cannot_be_sent_is_lost_and_told_of_once(faults, quick_clock, caplog):
    async with (
        open_webrtc_server(*LISTEN) as server,
        join_by(server, "udp") as victim,
        join_by(server, "udp") as other,
        join_by(server, "tcp") as unconcerned,
    ):
        listening = server.addresses
        for name in SEND_ERRORS:
            caplog.clear()
            to_victim = sending_to(address_of(victim))
            with faults.on(port_of(server, "udp"), "sendto", "sendmsg", error=name, times=2, only=to_victim) as failed:
                await victim.far.send(f"lost by {name}")
                await say(other)
                await say(unconcerned)
                await trio.sleep(0.1)
            assert failed
            assert 1 <= len(lines_about(caplog, name)) <= len(failed)
            with trio.fail_after(20):
                assert await victim.near.receive() == f"lost by {name}"
            await say(victim)
        assert server.addresses == listening


async def test_a_device_that_is_gone_may_be_one_of_several(faults, quick_clock, caplog):
    """ENODEV: a peer has lost this way, and looks for another; whoever is reached by other devices goes on."""
    async with (
        open_webrtc_server(*LISTEN) as server,
        join_by(server, "udp") as victim,
        join_by(server, "udp") as other,
    ):
        to_victim = sending_to(address_of(victim))
        with faults.on(port_of(server, "udp"), "sendto", "sendmsg", error="ENODEV", times=1, only=to_victim):
            await victim.far.send("lost")
            await say(other)
        assert victim.peer._core.agent.selected_pair is None
        assert len(lines_about(caplog, "ENODEV")) == 1
        assert len(server.addresses) == 2
        await say(other)


async def test_a_repeated_failure_is_not_told_of_again_and_again(faults, quick_clock, caplog):
    async with open_webrtc_server(*LISTEN) as server, join_by(server, "udp") as victim, join_by(server, "udp") as other:
        to_victim = sending_to(address_of(victim))
        with faults.on(port_of(server, "udp"), "sendto", "sendmsg", error="EPERM", only=to_victim) as failed:
            for number in range(20):
                await victim.far.send(f"lost {number}")
                await say(other)
                await trio.sleep(0.2)
        assert len(failed) > 2 * MAX_REPORTS_AT_ONCE
        assert len(lines_about(caplog, "EPERM")) <= MAX_REPORTS_AT_ONCE + 1


async def test_a_run_that_fails_for_its_source_teaches_nothing_about_runs(faults, quick_clock):
    """A peer on an address that this host has no more must not cost all others their system calls."""
    async with open_webrtc_server(*LISTEN) as server, join_by(server, "udp") as victim, join_by(server, "udp") as other:
        opened = server._places[0]._port.socket
        used = opened.segments
        to_victim = sending_to(address_of(victim))
        with faults.on(port_of(server, "udp"), "sendto", "sendmsg", error="EINVAL", only=to_victim) as failed:
            await victim.far.send(bytes(20_000))
            await say(other)
        assert "sendmsg" in failed or not used
        assert opened.segments == used


async def test_a_lack_of_memory_is_waited_out_and_not_in_a_loop(faults, quick_clock):
    """ENOBUFS: to be told that a socket is writable says nothing about it."""
    async with open_webrtc_server(*LISTEN) as server, join_by(server, "udp") as first, join_by(server, "tcp") as second:
        for joined, transport, calls in ((first, "udp", ("sendto", "sendmsg")), (second, "tcp", ("send",))):
            with faults.on(port_of(server, transport), *calls, error="ENOBUFS") as failed:
                await joined.far.send("late")
                await trio.sleep(0.5)
            assert 10 < len(failed) < 0.5 / PAUSE_FOR_MEMORY + 50
            with trio.fail_after(5):
                assert await joined.near.receive() == "late"


async def test_an_error_of_reading_loses_nothing_and_is_told_of(faults, quick_clock, caplog):
    async with open_webrtc_server(*LISTEN) as server, join_by(server, "udp") as first, join_by(server, "udp") as second:
        for name in RECEIVE_ERRORS:
            caplog.clear()
            with faults.on(port_of(server, "udp"), "recvmsg", "recvfrom", error=name, times=3) as failed:
                await say(first)
                await say(second)
            assert len(failed) == 3
            assert 1 <= len(lines_about(caplog, name)) <= 3


async def test_an_error_of_reading_that_stays_does_not_make_the_server_spin(faults, quick_clock, caplog):
    async with open_webrtc_server(*LISTEN) as server, join_by(server, "udp") as first, join_by(server, "tcp") as second:
        with faults.on(port_of(server, "udp"), "recvmsg", "recvfrom", error="ENOMEM") as failed:
            await first.near.send("late")
            await trio.sleep(0.5)
            soon = len(failed)
            await trio.sleep(2)
            await say(second)
        assert len(failed) - soon < 64 * 2 / 0.04
        assert len(lines_about(caplog, "ENOMEM")) <= MAX_REPORTS_AT_ONCE
        with trio.fail_after(20):
            assert await first.far.receive() == "late"


# -- lost sockets ----------------------------------------------------------------------------------------------------


LOSSES = [
    *((calls, error) for calls in [("sendto", "sendmsg")] for error in ("EBADF", "ENOTSOCK")),
    *((("recvmsg", "recvfrom"), errno.errorcode[number]) for number in sorted(SOCKET_LOST)),
]


@pytest.mark.parametrize(("calls", "name"), LOSSES)
async def test_a_lost_udp_socket_is_every_peers_loss_and_tcp_goes_on(calls, name, faults, quick_clock, caplog):
    async def run() -> None:
        async with (
            open_webrtc_server(*LISTEN) as server,
            join_by(server, "udp") as first,
            join_by(server, "udp") as second,
            join_by(server, "tcp") as unconcerned,
        ):
            with faults.on(port_of(server, "udp"), *calls, error=name):
                await first.near.send("is anybody there?")
                await trio.sleep(0.1)
                assert [address.transport for address in server.addresses] == ["tcp"]
                for joined in (first, second):
                    assert joined.peer._core.agent.selected_pair is None
                await say(unconcerned)
            assert {candidate.transport for candidate in await told_by(server)} == {"tcp"}
            async with join_by(server, "tcp") as newcomer:
                await say(newcomer)
            assert len([record for record in caplog.records if "the socket is lost" in record.message]) == 1

    with nothing_stays_behind():
        await run()


@pytest.mark.parametrize("number", sorted(LISTENER_LOST))
async def test_a_lost_listener_is_told_of_once_and_all_others_go_on(number, faults, quick_clock, caplog):
    listen = (*LISTEN, ListenAddress("tcp", "127.0.0.1"))

    async def run() -> None:
        async with open_webrtc_server(*listen) as server:
            async with join_by(server, "udp") as first, join_by(server, "tcp") as second:
                lost = port_of(server, "tcp")
                with faults.on(lost, "accept", error=errno.errorcode[number]):
                    with socket.socket() as newcomer:
                        newcomer.setblocking(False)
                        newcomer.connect_ex(("127.0.0.1", lost))
                        await trio.sleep(0.1)
                    assert lost not in [address.port for address in server.addresses if address.transport == "tcp"]
                    assert [address.transport for address in server.addresses] == ["udp", "tcp"]
                    await say(first)
                    await say(second)  # which has come by the listener that is lost
                assert lost not in {told.port for told in await told_by(server) if told.transport == "tcp"}
                async with join_by(server, "tcp") as third:
                    await say(third)
            (line,) = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
            assert f"127.0.0.1 port {lost} is lost" in line

    with nothing_stays_behind():
        await run()


async def test_a_server_that_has_lost_everything_can_still_be_closed(faults, quick_clock, caplog):
    async def run() -> None:
        async with open_webrtc_server(LISTEN[0]) as server, join_by(server, "udp") as joined:
            with faults.on(port_of(server, "udp"), "recvmsg", "recvfrom", error="EBADF"):
                await joined.near.send("is anybody there?")
                await trio.sleep(0.1)
            assert server.addresses == ()
            assert await told_by(server) == []

    with nothing_stays_behind():
        await run()


# -- accepting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PENDING_ERRORS)
async def test_after_any_error_of_accept_the_next_client_is_served(name, faults, quick_clock, caplog):
    async with open_webrtc_server(*LISTEN) as server, join_by(server, "tcp") as before:
        with faults.on(port_of(server, "tcp"), "accept", error=name, times=3) as failed:
            with trio.fail_after(5):
                async with join_by(server, "tcp") as newcomer:
                    await say(newcomer)
            await say(before)
    if name != "EAGAIN":  # by which a socket says that there is nobody any more
        assert len(failed) == 3
        assert 1 <= len(lines_about(caplog, name)) <= 3


@pytest.mark.parametrize("number", sorted(EXHAUSTED))
async def test_without_room_nobody_is_accepted_and_soon_after_it_is_everybody(number, faults, quick_clock, caplog):
    async with (
        open_webrtc_server(*LISTEN) as server,
        join_by(server, "tcp") as before,
        trio.open_nursery() as nursery,
    ):
        served = trio.Event()

        async def come() -> None:
            async with join_by(server, "tcp") as newcomer:
                await say(newcomer)
                served.set()

        with faults.on(port_of(server, "tcp"), "accept", error=errno.errorcode[number]) as failed:
            nursery.start_soon(come)
            await trio.sleep(5)
            await say(before)
            async with join_by(server, "udp") as by_udp:
                await say(by_udp)
            assert len(failed) <= 5 / EXHAUSTION_PAUSE + 4
            assert not served.is_set()
        with trio.fail_after(1):
            await served.wait()
    begin, end = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert os.strerror(number) in begin
    assert "accepts again" in end


@pytest.mark.parametrize("call", ["getpeername", "getsockname"])
@pytest.mark.parametrize("name", GETNAME_ERRORS)
async def test_a_connection_is_asked_for_no_address_that_it_may_not_have(name, call, faults, quick_clock, caplog):
    """One that was reset at once has none any more."""
    async with open_webrtc_server(*LISTEN) as server, join_by(server, "tcp") as before:
        with faults.on(port_of(server, "tcp"), call, error=name) as failed, trio.fail_after(5):
            async with join_by(server, "tcp") as newcomer:
                await say(newcomer)
        await say(before)
    assert len(lines_about(caplog, name)) == len(failed) == (call == "getsockname")


@pytest.mark.parametrize("name", SETSOCKOPT_ERRORS)
async def test_an_option_that_cannot_be_set_is_done_without_and_told_of_once(name, faults, caplog):
    async with open_webrtc_server(*LISTEN) as server, join_by(server, "tcp") as before:
        with faults.on(port_of(server, "tcp"), "setsockopt", error=name) as failed, trio.fail_after(5):
            async with join_by(server, "tcp") as newcomer:
                await say(newcomer)
        assert len(failed) == 1
        await say(before)
    (line,) = lines_about(caplog, name)
    assert "cannot set TCP_NODELAY for 127.0.0.1 port" in line


@pytest.mark.parametrize("name", SETSOCKOPT_ERRORS)
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_port_that_cannot_have_the_buffers_asked_for_is_opened_and_that_is_told_once(
    name, transport, monkeypatch, caplog
):
    caplog.set_level(logging.DEBUG)
    whole = socket.socket.setsockopt

    def fail(self: socket.socket, level: int, option: int, value: int) -> None:
        if (level, option) == (socket.SOL_SOCKET, socket.SO_RCVBUF):
            raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)))
        whole(self, level, option, value)

    listen = ListenAddress(transport, "127.0.0.1", options=SocketOptions(receive_buffer=30_000))
    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "setsockopt", fail)
        async with open_webrtc_server(listen) as server:
            patch.undo()
            (line,) = lines_about(caplog, name)
            assert line.startswith(f"a socket does without option {socket.SO_RCVBUF} of level {socket.SOL_SOCKET}")
            async with join_by(server, transport) as joined:
                await say(joined)


# -- connections -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["send", "recv"])
@pytest.mark.parametrize("name", CONNECTION_ERRORS)
async def test_a_call_that_fails_on_a_connection_is_that_connections_end(name, call, faults, quick_clock, caplog):
    """A peer may come back by another one; all others notice nothing."""
    async with (
        open_webrtc_server(*LISTEN) as server,
        join_by(server, "tcp") as victim,
        join_by(server, "tcp") as other,
        join_by(server, "udp") as unconcerned,
    ):
        connection = victim.peer._core.agent.selected_pair.remote_address
        of_victim = connected_to(connection)
        with faults.on(port_of(server, "tcp"), call, error=name, only=of_victim) as failed:
            await victim.near.send("?")
            await say(other)
            await say(unconcerned)
            await trio.sleep(0.5)
        assert failed
        assert f"the connection of 127.0.0.1 port {connection[1]} was lost" in caplog.text
        assert len(lines_about(caplog, name)) == 1
        with trio.fail_after(20):
            assert await victim.far.receive() == "?"
            await say(victim, "back again")
        await say(other)
        async with join_by(server, "tcp") as newcomer:
            await say(newcomer)


@pytest.mark.parametrize("name", WAITING_ERRORS)
@pytest.mark.parametrize("call", ["wait_readable", "wait_writable"])
async def test_a_connection_that_cannot_be_waited_for_is_lost_and_no_bug(
    site: Site, autojump_clock, caplog, name, call
):
    """The peer comes back by another one, and whoever is in the scope of the connection goes on."""

    async def run() -> None:
        async with (
            site.serve() as server,
            connect(server, site.add_guest(), "tcp") as other,
            connect(server, site.add_guest(), "tcp") as joined,
        ):
            (opened,) = (socket for socket in site.host.connections if socket.remote_address == remote_of(joined))
            setattr(opened, call, failing_to_wait(name))
            await joined.near.send("?")
            for _ in range(4):
                await joined.far.send(bytes(200_000))
            assert await joined.far.receive() == "?"
            for _ in range(4):
                assert await joined.near.receive() == bytes(200_000)
            assert opened not in site.host.connections
            (line,) = lines_about(caplog, name)
            assert line.startswith("ICE-TCP: the connection of 10.0.1.2 port ")
            await say(other)
            delattr(opened, call)

    with nothing_stays_behind():
        await run()


async def test_a_connection_that_cannot_be_waited_for_from_the_beginning_is_refused_in_one_line(
    site: Site, autojump_clock, caplog, monkeypatch
):
    async with site.serve() as server:
        with monkeypatch.context() as patch:
            patch.setattr(VirtualTcpSocket, "wait_readable", failing_to_wait("ENOSPC"))
            await site.add_guest().connect_tcp(None, ("10.0.0.1", 5000))
            await trio.sleep(1)
        assert server.get_stats().tcp_connections_refused == {"lost": 1}
        (record,) = caplog.records
        assert record.levelno == logging.INFO
        assert os.strerror(errno.ENOSPC) in record.message
        async with connect(server, site.add_guest(), "tcp") as joined:
            await say(joined)


# -- on a virtual network, where the sockets are fakes that fail -------------------------------------------------------


async def test_a_udp_socket_that_fails_once_and_for_all_leaves_the_peers_by_tcp(site: Site, autojump_clock, caplog):
    async def run() -> None:
        async with (
            site.serve() as server,
            connect(server, site.add_guest(), "udp") as first,
            connect(server, site.add_guest(), "tcp") as second,
        ):
            opened = next(iter(site.host.sockets.values()))

            def fail():
                raise os_error(errno.ENODEV)

            opened.receive = fail
            await first.near.send("?")
            await trio.sleep(0.1)
            assert [address.transport for address in server.addresses] == ["tcp"]
            assert opened not in site.host.open_sockets
            await say(second)
            assert [record.levelno for record in caplog.records] == [logging.WARNING]
            del opened.receive

    with nothing_stays_behind():
        await run()


async def test_a_listener_that_fails_once_and_for_all_leaves_its_connections(site: Site, autojump_clock, caplog):
    async def run() -> None:
        async with (
            site.serve() as server,
            connect(server, site.add_guest(), "udp") as first,
            connect(server, site.add_guest(), "tcp") as second,
        ):
            listener = next(iter(site.host.listeners.values()))

            async def fail():
                await trio.lowlevel.checkpoint()
                raise os_error(errno.EBADF)

            listener.accept = fail
            await site.add_guest().connect_tcp(None, ("10.0.0.1", 5000))
            with pytest.raises(ConnectionRefusedError):
                await site.add_guest().connect_tcp(None, ("10.0.0.1", 5000))
            assert [address.transport for address in server.addresses] == ["udp"]
            await say(first)
            await say(second)
            assert [record.levelno for record in caplog.records] == [logging.ERROR]
            del listener.accept

    with nothing_stays_behind():
        await run()
