"""Accepting connections: what goes wrong with one is that one's trouble, and strangers get no more than their share."""

import errno
import logging
import math
import os

import pytest
import trio

from trio_webrtc import FailureReason, PeerError, UsageError
from trio_webrtc.shell.accepting import (
    EXHAUSTED,
    EXHAUSTION_PAUSE,
    LISTENER_LOST,
    MAX_FAILURES_IN_A_ROW,
    Guest,
    Reception,
    ReceptionLimits,
    RefusedError,
)
from trio_webrtc.shell.reporting import MAX_REPORTS_AT_ONCE

PENDING_ERRORS = [
    *("EAGAIN", "ECONNABORTED", "ECONNRESET", "EFAULT", "EINTR", "EPERM", "EPROTO", "ETIMEDOUT"),
    *("ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN", "ENONET", "EHOSTUNREACH", "EOPNOTSUPP", "ENETUNREACH"),
    *("ENOSR", "ESOCKTNOSUPPORT", "EPROTONOSUPPORT"),
]
"""What accept(2) on Linux may fail with because of one connection, or of a firewall; with EFAULT, which cannot be."""


class Connection:
    """A connection that has nothing but an address."""

    def __init__(self, host: str = "192.0.2.1", port: int = 4000) -> None:
        self.remote_address = (host, port)
        self.closed = trio.Event()

    def close(self) -> None:
        self.closed.set()


class Door:
    """A listener that says what a test has it say."""

    local_address = ("192.0.2.99", 443)

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel(math.inf)
        self.constant_error: OSError | None = None
        self.attempts = 0

    def let_in(self, *arrivals: Connection | OSError) -> None:
        for arrival in arrivals:
            self._send.send_nowait(arrival)

    async def accept(self) -> Connection:
        self.attempts += 1
        if self.constant_error is not None:
            raise self.constant_error  # at once, as a kernel does
        try:
            arrival = await self._receive.receive()
        except trio.EndOfChannel:
            raise trio.ClosedResourceError from None
        if isinstance(arrival, OSError):
            raise arrival
        return arrival

    def close(self) -> None:
        self._send.close()


@pytest.fixture
def door():
    return Door()


def failure(name: str) -> OSError:
    number = getattr(errno, name)
    return OSError(number, os.strerror(number))


def reception(**limits) -> Reception[Connection]:
    return Reception(name="test", limits=ReceptionLimits(**limits))


async def admit_and_stay(connection: Connection, guest: Guest) -> None:
    guest.admit()
    await trio.sleep_forever()


async def stay_silent(connection: Connection, guest: Guest) -> None:
    await trio.sleep_forever()


# -- errors of accept(2) -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PENDING_ERRORS)
async def test_an_error_of_accept_ends_nothing_and_is_one_log_line(name, door, nursery, autojump_clock, caplog):
    """F1, F5, F7: whatever accept(2) says of one connection, the next client is served."""
    caplog.set_level(logging.INFO)
    ours = reception()
    nursery.start_soon(ours.serve, door, admit_and_stay)
    door.let_in(failure(name), connection := Connection())
    await trio.sleep(0.01)
    assert ours.stats.connections == 1
    assert ours.stats.refused == {"accept failed": 1}
    (record,) = caplog.records
    assert os.strerror(getattr(errno, name)) in record.message
    assert not connection.closed.is_set()


@pytest.mark.parametrize("name", PENDING_ERRORS)
async def test_an_error_of_accept_that_stays_does_not_make_the_loop_spin(name, door, nursery, autojump_clock):
    """F7."""
    door.constant_error = failure(name)
    ours = reception()
    nursery.start_soon(ours.serve, door, admit_and_stay)
    await trio.sleep(10)
    assert door.attempts < MAX_FAILURES_IN_A_ROW + 10 / EXHAUSTION_PAUSE + 2
    door.constant_error = None
    door.let_in(Connection())
    await trio.sleep(1)
    assert ours.stats.connections == 1


@pytest.mark.parametrize("number", sorted(EXHAUSTED))
async def test_without_room_it_keeps_its_connections_says_so_once_and_is_back_within_a_second(
    number, door, nursery, autojump_clock, caplog
):
    """F2, F7."""
    caplog.set_level(logging.INFO)
    ours = reception()
    nursery.start_soon(ours.serve, door, admit_and_stay)
    door.let_in(kept := Connection())
    await trio.sleep(0.01)
    door.constant_error = OSError(number, os.strerror(number))
    door.let_in(first_after := Connection())
    await trio.sleep(60)
    assert ours.stats.exhausted
    assert door.attempts <= 60 / EXHAUSTION_PAUSE + 4
    assert not kept.closed.is_set()
    assert not first_after.closed.is_set()
    assert ours.stats.connections == 2  # the one that the loop was waiting for when room ran out
    door.constant_error = None
    door.let_in(Connection())
    await trio.sleep(0.99)
    assert ours.stats.connections == 3
    assert not ours.stats.exhausted
    begin, end = [record.message for record in caplog.records]
    assert os.strerror(number) in begin
    assert "connections kept: 1" in begin
    assert "accepts again" in end


async def test_nobody_is_called_exhausted_for_want_of_newcomers(door, nursery, autojump_clock):
    ours = reception()
    nursery.start_soon(ours.serve, door, admit_and_stay)
    door.let_in(failure("EMFILE"))
    await trio.sleep(0.1)
    assert ours.stats.exhausted
    await trio.sleep(1)
    assert not ours.stats.exhausted


@pytest.mark.parametrize("number", sorted(LISTENER_LOST))
async def test_a_lost_listener_is_told_and_raised(number, door, autojump_clock, caplog):
    ours = reception()
    door.let_in(waiting := Connection(), OSError(number, os.strerror(number)))
    with pytest.raises(OSError, match=os.strerror(number)):
        await ours.serve(door, stay_silent)
    assert waiting.closed.is_set()
    (record,) = caplog.records
    assert "192.0.2.99 port 443" in record.message


async def test_it_ends_with_its_listener_when_the_last_connection_has(door, nursery, autojump_clock):
    ours = reception(deadline=3)
    door.let_in(Connection())
    with trio.fail_after(4):
        nursery.start_soon(ours.serve, door, stay_silent)
        await trio.sleep(1)
        door.close()
        await trio.sleep(1)
        assert ours.stats.waiting == 1
        await trio.sleep(1.5)
        assert ours.stats.waiting == 0


async def test_cancelling_it_closes_what_it_looks_after(door, nursery, autojump_clock):
    connections = [Connection(f"192.0.2.{number}") for number in range(1, 4)]

    async def attend(connection, guest):
        if connection is connections[0]:
            guest.admit()
        if connection is connections[1]:
            guest.hand_over()
        await trio.sleep_forever()

    door.let_in(*connections)
    with trio.move_on_after(1):
        await reception().serve(door, attend)
    assert [connection.closed.is_set() for connection in connections] == [True, False, True]


# -- what `attend` does ------------------------------------------------------------------------------------------


def groups() -> BaseExceptionGroup:
    return ExceptionGroup("two", [ValueError("one"), ExceptionGroup("more", [KeyError("two")])])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("a bug"), "failed"),
        (AssertionError(), "failed"),
        (groups(), "failed"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "lost"),
        (OSError(errno.ENOTCONN, "getpeername"), "lost"),
        (trio.BrokenResourceError("gone"), "lost"),
        (trio.EndOfChannel(), "lost"),
        (PeerError("it said something wrong", FailureReason.PROTOCOL_VIOLATION), "lost"),
        (FileNotFoundError(errno.ENOENT, "a page"), "failed"),
        (OSError("without a number"), "failed"),
        (RefusedError("no password"), "no password"),
        (ExceptionGroup("one", [RefusedError("no password")]), "no password"),
        (StopIteration(), "failed"),
        (trio.TooSlowError(), "failed"),
    ],
    ids=repr,
)
async def test_what_attend_raises_is_that_connections_trouble(error, reason, door, nursery, autojump_clock, caplog):
    """F4, T4: the others notice nothing."""
    caplog.set_level(logging.INFO)

    async def attend(connection, guest):
        if connection.remote_address[1] == 666:
            raise error
        await admit_and_stay(connection, guest)

    ours = reception()
    nursery.start_soon(ours.serve, door, attend)
    door.let_in(before := Connection(), bad := Connection("192.0.2.6", 666), after := Connection())
    await trio.sleep(0.01)
    assert bad.closed.is_set()
    assert not before.closed.is_set()
    assert not after.closed.is_set()
    assert ours.stats.refused == {reason: 1}
    (record,) = caplog.records
    assert "192.0.2.6 port 666" in record.message
    assert record.levelno == (logging.ERROR if reason == "failed" else logging.INFO)


async def test_an_exception_while_it_is_cancelled_stays_in_its_connection(door, autojump_clock, caplog):
    """T4, T6: what a connection raises on the way out does not replace what was going on."""

    async def attend(connection, guest):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("while leaving")

    door.let_in(Connection())
    with trio.move_on_after(1) as scope:
        await reception().serve(door, attend)
    assert scope.cancelled_caught
    assert "while leaving" in caplog.text


async def test_what_is_no_exception_of_the_connections_comes_out(door, autojump_clock):
    async def attend(connection, guest):
        raise KeyboardInterrupt

    door.let_in(connection := Connection())
    with pytest.raises(KeyboardInterrupt):
        await reception().serve(door, attend)
    assert connection.closed.is_set()


async def test_a_repeated_reason_is_written_a_few_times_and_then_counted(door, nursery, autojump_clock, caplog):
    """F4: a log that strangers can fill is one more thing to run out of."""
    caplog.set_level(logging.INFO)

    async def attend(connection, guest):
        raise RefusedError("not a check")

    ours = reception()
    nursery.start_soon(ours.serve, door, attend)
    door.let_in(*(Connection(port=number) for number in range(1, 1001)))
    await trio.sleep(1)
    assert len(caplog.records) == MAX_REPORTS_AT_ONCE
    assert ours.stats.refused == {"not a check": 1000}
    await trio.sleep(30)
    door.let_in(Connection())
    await trio.sleep(1)
    assert "995 more" in caplog.records[-1].message


# -- limits ------------------------------------------------------------------------------------------------------


async def test_who_does_not_prove_himself_in_time_goes(door, nursery, autojump_clock):
    """B4, B12."""
    ours = reception(deadline=5)
    nursery.start_soon(ours.serve, door, stay_silent)
    silent = [Connection(f"192.0.2.{number}") for number in range(100)]
    door.let_in(*silent)
    await trio.sleep(4.9)
    assert ours.stats.waiting == 100
    await trio.sleep(0.2)
    assert ours.stats.waiting == 0
    assert all(connection.closed.is_set() for connection in silent)
    assert ours.stats.refused == {"deadline": 100}


async def test_who_has_proved_himself_may_stay(door, nursery, autojump_clock):
    ours = reception(deadline=5)
    nursery.start_soon(ours.serve, door, admit_and_stay)
    door.let_in(connection := Connection())
    await trio.sleep(3600)
    assert not connection.closed.is_set()
    assert ours.stats.connections == 1


async def test_who_is_handed_over_counts_until_he_leaves_and_is_closed_by_nobody_here(door, nursery, autojump_clock):
    guests = []

    async def attend(connection, guest):
        guest.hand_over()
        guests.append(guest)

    ours = reception(deadline=5)
    nursery.start_soon(ours.serve, door, attend)
    door.let_in(connection := Connection())
    await trio.sleep(60)
    assert not connection.closed.is_set()
    assert ours.stats.connections == 1
    guests[0].leave()
    guests[0].leave()
    assert ours.stats.connections == 0


@pytest.mark.parametrize(
    "hosts",
    [["192.0.2.1"], ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::"], ["192.0.2.1", "::ffff:192.0.2.1"]],
    ids=lambda hosts: " ".join(hosts),
)
async def test_of_too_many_from_one_address_the_one_goes_who_has_waited_longest(hosts, door, nursery, autojump_clock):
    """F8. An IPv6 subscriber has a network of 64 bits, and counts once; IPv4 is IPv4 in either form."""
    ours = reception(max_waiting_per_address=3)
    nursery.start_soon(ours.serve, door, stay_silent)
    crowd = [Connection(hosts[number % len(hosts)], number) for number in range(1, 8)]
    door.let_in(other := Connection("198.51.100.1"), *crowd)
    await trio.sleep(0.1)
    assert [connection.closed.is_set() for connection in crowd] == [True] * 4 + [False] * 3
    assert not other.closed.is_set()
    assert ours.stats.refused == {"too many waiting": 4}
    assert ours.stats.waiting == 4


@pytest.mark.parametrize("say_so", [Guest.admit, Guest.hand_over])
async def test_who_had_to_make_room_is_not_admitted_any_more(say_so, door, nursery, autojump_clock):
    """As one who has proved himself in that very turn, and whom no cancellation has reached."""

    async def attend(connection, guest):
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        say_so(guest)

    ours = reception(max_waiting=1)
    nursery.start_soon(ours.serve, door, attend)
    door.let_in(first := Connection("192.0.2.1"))
    await trio.sleep(0.5)
    door.let_in(Connection("192.0.2.2"))
    await trio.sleep(0.6)
    assert first.closed.is_set()
    assert ours.stats.refused == {"too many waiting": 1}
    assert (ours.stats.waiting, ours.stats.connections) == (1, 0)


async def test_other_networks_have_places_of_their_own(door, nursery, autojump_clock):
    ours = reception(max_waiting_per_address=1)
    nursery.start_soon(ours.serve, door, stay_silent)
    door.let_in(*(Connection(host) for host in ("2001:db8::1", "2001:db8:0:1::1", "fe80::1%eth0", "192.0.2.1")))
    await trio.sleep(0.1)
    assert ours.stats.waiting == 4


async def test_of_too_many_in_all_the_one_goes_who_has_waited_longest(door, nursery, autojump_clock):
    """F8: a flood of silent connections keeps nobody out who has something to say."""
    ours = reception(max_waiting=10)

    async def attend(connection, guest):
        if connection.remote_address[0] == "198.51.100.1":
            await trio.sleep(0)
            guest.admit()
        await trio.sleep_forever()

    nursery.start_soon(ours.serve, door, attend)
    door.let_in(*(Connection(f"192.0.2.{number}") for number in range(255)), good := Connection("198.51.100.1"))
    await trio.sleep(0.1)
    assert ours.stats.waiting <= 10
    assert ours.stats.connections == 1
    assert not good.closed.is_set()


async def test_of_too_many_who_have_proved_themselves_the_last_is_refused(door, nursery, autojump_clock):
    ours = reception(max_connections=5, max_connections_per_address=2)
    nursery.start_soon(ours.serve, door, admit_and_stay)
    crowd = [Connection("192.0.2.1", port) for port in range(1, 5)]
    door.let_in(*crowd)
    await trio.sleep(0.1)
    assert [connection.closed.is_set() for connection in crowd] == [False, False, True, True]
    more = [Connection(f"192.0.2.{number}") for number in range(2, 8)]
    door.let_in(*more)
    await trio.sleep(0.1)
    assert [connection.closed.is_set() for connection in more] == [False] * 3 + [True] * 3
    assert ours.stats.refused == {"too many connections": 5}


async def test_a_place_is_free_when_its_guest_has_left(door, nursery, autojump_clock):
    async def attend(connection, guest):
        guest.admit()
        await trio.sleep(1)

    ours = reception(max_connections=1, max_waiting_per_address=1)
    nursery.start_soon(ours.serve, door, attend)
    for _ in range(100):
        door.let_in(Connection())
        await trio.sleep(1.1)
    assert ours.stats.refused == {}
    assert ours.stats.accepted == 100
    assert ours.stats.connections == ours.stats.waiting == 0


async def test_several_listeners_share_the_limits(nursery, autojump_clock):
    ours, doors = reception(max_waiting=3), [Door(), Door()]
    for door in doors:
        nursery.start_soon(ours.serve, door, stay_silent)
        door.let_in(Connection(), Connection())
    await trio.sleep(0.1)
    assert ours.stats.waiting == 3


@pytest.mark.parametrize("limit", ["deadline", "max_waiting", "max_connections", "max_connections_per_address"])
def test_a_limit_that_lets_nobody_in_is_a_usage_error(limit):
    with pytest.raises(UsageError, match=limit):
        ReceptionLimits(**{limit: 0})
