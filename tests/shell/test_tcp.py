"""A TCP connection as a way for datagrams: what its frames, its queue and its ends promise."""

import errno
import hashlib
import random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_webrtc.core.contract import MAX_RUN_BYTES, Transmit, split_run
from trio_webrtc.shell.framing import MAX_DATAGRAM, Deframer, frame
from trio_webrtc.shell.host import HOST_NETWORK
from trio_webrtc.shell.network import SocketOptions
from trio_webrtc.shell.path import Path, open_path
from trio_webrtc.shell.tcp import MAX_BYTES_PER_BATCH, MAX_FRAMES_PER_BATCH, MAX_UNSENT, TcpConnection
from trio_webrtc.testing import SocketClosed, StreamEnded, StreamReset, StreamSent, VirtualNetwork

from .recording_core import GOODBYES, RecordingCore

RUNS = 20


class Notebook:
    """A receiver that remembers what it was told."""

    def __init__(self):
        self.batches, self.retired, self.on_receive = [], [], lambda: None

    @property
    def datagrams(self):
        return [received.data for batch in self.batches for received in batch]

    def receive(self, batch):
        self.batches.append(batch)
        self.on_receive()

    def retire(self, via):
        self.retired.append(via)


class Sender:
    """Waits its turn, and sends whenever it gets one."""

    def __init__(self, connection, runs):
        self.connection, self.runs, self.turns = connection, list(runs), 0

    def use_room(self):
        self.turns += 1
        while self.runs:
            if not self.connection.send(self.runs[0]):
                self.connection.queue_for_room(self)
                return
            del self.runs[0]


class Dripping:
    """A socket that takes a few bytes at a time, or fails."""

    def __init__(self, inner, rng):
        self._inner, self._rng, self.failure, self.sends = inner, rng, None, 0

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def send(self, data):
        self.sends += 1
        if self.failure is not None:
            raise OSError(self.failure, "made to fail")
        return self._inner.send(data[: self._rng.choice((0, 1, 3, 700, 5000))])


class Unwatched:
    """A socket that takes ten bytes, and that the kernel is never willing to watch in one direction (epoll_ctl(2))."""

    local_address, remote_address = ("10.0.0.1", 1), ("10.0.0.2", 2)

    def __init__(self, direction):
        self._direction, self.taken, self.ends = direction, bytearray(), []

    def send(self, data):
        taken = data[: 10 - len(self.taken)]
        self.taken += taken
        return len(taken)

    def receive(self):
        return None

    async def wait_readable(self):
        await self._wait("readable")

    async def wait_writable(self):
        await self._wait("writable")

    async def _wait(self, direction):
        await trio.lowlevel.checkpoint()
        if direction == self._direction:
            raise OSError(errno.ENOSPC, "no room for one more descriptor")
        await trio.sleep_forever()

    def end_sending(self):
        self.ends.append("end")

    def close(self):
        self.ends.append("close")

    def reset(self):
        self.ends.append("reset")


def run(connection, data, segment_size=None):
    return Transmit(connection, connection.remote_address, data, segment_size)


async def open_sockets(network=None):
    if network is None:
        network = VirtualNetwork(seed=1).add_host("10.0.0.1")
    listener = network.listen_tcp((network.interfaces()[0].address, 0), SocketOptions(receive_buffer=50_000))
    left = await network.connect_tcp(None, listener.local_address)
    right = await listener.accept()
    listener.close()
    return left, right


@pytest.fixture
async def sockets():
    left, right = await open_sockets()
    yield left, right
    left.close()
    right.close()


@pytest.fixture
async def connection(sockets):
    return TcpConnection(sockets[0])


@pytest.fixture
async def peer(sockets):
    """The other end, as a plain socket."""
    return sockets[1]


@pytest.fixture
async def notebook():
    return Notebook()


async def read_frames(socket, count=None):
    """Read so many frames, or all until the end."""
    deframer, frames = Deframer(), []
    while count is None or len(frames) < count:
        await socket.wait_readable()
        data = socket.receive()
        if data == b"":
            break
        frames += deframer.feed(data or b"")
    return frames


async def write(socket, data):
    while data:
        data = data[socket.send(data) :]
        await socket.wait_writable()


def fill(connection, data=bytes(MAX_RUN_BYTES), segment_size=1000):
    """Send until nothing more is taken; say how many runs were."""
    count = 0
    while connection.send(run(connection, data, segment_size)):
        count += 1
    return count


# Frames.


async def test_what_comes_is_handed_on_with_the_connection_as_via(connection, peer, notebook, nursery, autojump_clock):
    nursery.start_soon(connection.serve, notebook)
    peer.send(frame(b"one") + frame(b"two"))
    await trio.sleep(1)
    peer.send(frame(b"three"))
    await trio.sleep(1)
    assert notebook.batches == [
        [(connection, peer.local_address, b"one", None), (connection, peer.local_address, b"two", None)],
        [(connection, peer.local_address, b"three", None)],
    ]


async def test_each_datagram_of_a_run_gets_a_frame(connection, peer, autojump_clock):
    data = bytes(range(250))
    assert connection.send(run(connection, data, 100)) == 250
    assert connection.send(run(connection, b"single")) == 6
    assert await read_frames(peer, 4) == [*split_run(data, 100), b"single"]


async def test_a_run_goes_out_in_one_call(sockets, autojump_clock):
    left, _ = sockets
    calls = []

    class Counting:
        local_address, remote_address = left.local_address, left.remote_address

        def send(self, data):
            calls.append(len(data))
            return len(data)

    connection = TcpConnection(Counting())
    connection.send(run(connection, bytes(50 * 1200), 1200))
    assert calls == [50 * 1202]


async def test_the_largest_datagram_goes_and_a_larger_one_is_a_harmless_error(connection, peer, autojump_clock):
    assert connection.send(run(connection, bytes(MAX_DATAGRAM))) == MAX_DATAGRAM
    with pytest.raises(OSError, match="too long") as caught:
        connection.send(run(connection, bytes(MAX_DATAGRAM + 1)))
    assert caught.value.errno == errno.EMSGSIZE
    connection.send(run(connection, b"smaller"))
    assert await read_frames(peer, 2) == [bytes(MAX_DATAGRAM), b"smaller"]


async def test_what_somebody_else_has_read_comes_first(sockets, notebook, nursery, autojump_clock):
    left, right = sockets
    stream = frame(b"first") + frame(b"second")
    connection = TcpConnection(left, unread=stream[:9])
    right.send(stream[9:])
    nursery.start_soon(connection.serve, notebook)
    await trio.sleep(1)
    assert notebook.datagrams == [b"first", b"second"]


class Full:
    """A socket from which much can be read at once."""

    def __init__(self, like, stream):
        self.local_address, self.remote_address = like.local_address, like.remote_address
        self._rest = stream

    async def wait_readable(self):
        await trio.lowlevel.checkpoint()

    def receive(self):
        data, self._rest = self._rest[:50_000], self._rest[50_000:]
        return data


async def test_one_batch_is_bounded_and_the_rest_comes_with_the_next(sockets, notebook, autojump_clock):
    stream = frame(bytes(998)) * 1000
    await TcpConnection(Full(sockets[0], stream)).serve(notebook)
    sizes = [sum(len(received.data) + 2 for received in batch) for batch in notebook.batches]
    assert sum(sizes) == len(stream)
    assert max(sizes) <= MAX_BYTES_PER_BATCH + 50_000
    assert len(sizes) >= 3


async def test_others_get_their_turns_between_many_small_frames(sockets, notebook, nursery, autojump_clock):
    turns = []

    async def take_turns():
        while True:
            turns.append(len(notebook.batches))
            await trio.lowlevel.checkpoint()

    nursery.start_soon(take_turns)
    await TcpConnection(Full(sockets[0], frame(b"x") * 60_000)).serve(notebook)
    nursery.cancel_scope.cancel()
    assert len(notebook.datagrams) == 60_000
    assert max(map(len, notebook.batches)) <= MAX_FRAMES_PER_BATCH
    assert len(set(turns)) >= len(notebook.batches) // 2


@pytest.mark.parametrize("network", ["kernel", "virtual"])
@pytest.mark.parametrize("seed", range(3))
async def test_frames_of_twenty_tasks_stay_whole_whoever_is_cancelled(network, seed):
    """D8: twenty senders share a connection that takes a few bytes at a time."""
    print("seed", seed)
    rng = random.Random(seed)
    own = HOST_NETWORK if network == "kernel" else VirtualNetwork(seed=seed, latency=0.0001).add_host("10.0.0.1")
    left, right = await open_sockets(own)
    connection = TcpConnection(Dripping(left, rng))
    sent, got = [], []

    async def send_many():
        with trio.move_on_after(rng.uniform(0, 0.2)):
            for _ in range(30):
                sizes = [rng.choice((1, 100, 1200)), rng.randrange(1, 30)]
                body = rng.randbytes(sizes[0] * sizes[1])
                datagrams = [hashlib.sha256(part).digest() + part for part in split_run(body, sizes[0])]
                while not connection.send(run(connection, b"".join(datagrams), sizes[0] + 32)):
                    await connection.wait_for_room()
                sent.extend(datagrams)
                await trio.lowlevel.checkpoint()

    async def serve():
        for _ in range(20):  # cancelled as well, and started again
            with trio.move_on_after(rng.uniform(0, 0.02)):
                await connection.serve(Notebook())

    async def read():
        got.extend(await read_frames(right))
        right.close()

    with trio.fail_after(20):
        async with trio.open_nursery() as reading:
            reading.start_soon(read)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve)
                for _ in range(20):
                    nursery.start_soon(send_many)
            await connection.finish()
    connection.close()
    assert sent
    assert all(hashlib.sha256(datagram[32:]).digest() == datagram[:32] for datagram in got)
    assert got == sent


# A peer that does not read.


async def test_a_peer_that_does_not_read_costs_a_bounded_room(connection, notebook, nursery, autojump_clock):
    nursery.start_soon(connection.serve, notebook)
    fill(connection)
    await trio.sleep(60)
    assert connection.send(run(connection, b"one more")) == 0
    assert MAX_UNSENT <= len(connection._unsent) < MAX_UNSENT + MAX_RUN_BYTES + 2 * 65


async def test_who_waits_for_room_gets_it_when_the_peer_reads(connection, peer, notebook, nursery, autojump_clock):
    nursery.start_soon(connection.serve, notebook)
    count = fill(connection)
    with trio.move_on_after(60) as patience:
        await connection.wait_for_room()
    assert patience.cancelled_caught
    nursery.start_soon(read_frames, peer, count * 65)
    async with trio.open_nursery() as waiting:
        for _ in range(3):
            waiting.start_soon(connection.wait_for_room)
    assert connection.send(run(connection, b"one more")) == 8


async def test_there_is_room_for_who_asks_without_need(connection, autojump_clock):
    await connection.wait_for_room()
    connection.send(run(connection, b"x"))
    await connection.wait_for_room()


async def test_senders_in_the_queue_get_their_turns(connection, peer, notebook, nursery, autojump_clock):
    nursery.start_soon(connection.serve, notebook)
    runs = [run(connection, bytes([number]) * 60_000, 1000) for number in range(40)]
    senders = [Sender(connection, runs[:20]), Sender(connection, runs[20:])]
    for sender in senders:
        sender.use_room()
    got = await read_frames(peer, 40 * 60)
    assert sorted(got) == sorted(bytes([number]) * 1000 for number in range(40) for _ in range(60))
    assert all(sender.turns > 3 for sender in senders)


async def test_who_has_left_the_queue_gets_no_turn(connection, peer, notebook, nursery, autojump_clock):
    nursery.start_soon(connection.serve, notebook)
    count = fill(connection)
    sender = Sender(connection, [])
    connection.queue_for_room(sender)
    connection.leave_queue(sender)
    connection.leave_queue(sender)
    await read_frames(peer, count * 65)
    assert sender.turns == 0


async def test_the_writer_exists_only_while_something_waits(connection, peer, notebook, nursery, autojump_clock):
    def living():
        return trio.lowlevel.current_statistics().tasks_living

    nursery.start_soon(connection.serve, notebook)
    await wait_all_tasks_blocked()
    idle = living()
    connection.send(run(connection, b"at once"))
    await wait_all_tasks_blocked()
    assert living() == idle
    assert await read_frames(peer, 1) == [b"at once"]
    for _ in range(2):
        count = fill(connection)
        await trio.sleep(1)
        assert living() == idle + 1
        await read_frames(peer, count * 65)
        await trio.sleep(1)
        assert living() == idle


async def test_what_was_taken_before_it_was_served_leaves_then(connection, peer, notebook, nursery, autojump_clock):
    count = fill(connection)
    nursery.start_soon(connection.serve, notebook)
    assert len(await read_frames(peer, count * 65)) == count * 65


# Ends that the peer makes.


async def test_all_that_the_peer_said_is_handed_on_before_it_retires(connection, peer, notebook, autojump_clock):
    peer.send(frame(b"last words"))
    peer.close()
    notebook.on_receive = lambda: notebook.retired == [] or pytest.fail("retired too early")
    await connection.serve(notebook)
    assert notebook.datagrams == [b"last words"]
    assert notebook.retired == [connection]


async def test_half_a_frame_at_the_end_is_nothing(connection, peer, notebook, autojump_clock):
    peer.send(frame(b"whole") + frame(b"half")[:-1])
    peer.close()
    await connection.serve(notebook)
    assert notebook.datagrams == [b"whole"]
    assert notebook.retired == [connection]


async def test_a_peer_that_has_ended_sending_can_still_be_told_something(connection, peer, notebook, autojump_clock):
    peer.end_sending()
    await connection.serve(notebook)
    assert notebook.retired == [connection]
    connection.send(run(connection, b"goodbye"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.finish)
        assert await read_frames(peer) == [b"goodbye"]


async def test_a_reset_retires_it_after_what_came_before(connection, peer, notebook, nursery, autojump_clock):
    peer.send(frame(b"last words"))
    await trio.sleep(1)
    peer.reset()
    await connection.serve(notebook)
    assert notebook.datagrams == [b"last words"]
    assert notebook.retired == [connection]
    with pytest.raises(OSError, match="reset"):
        connection.send(run(connection, b"anybody?"))
    with pytest.raises(trio.ClosedResourceError):
        await connection.wait_for_room()
    await connection.finish()


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETDOWN])
async def test_when_sending_fails_what_the_peer_had_said_is_still_heard(
    sockets, notebook, nursery, number, autojump_clock
):
    left, right = sockets
    failing = Dripping(left, random.Random(1))
    connection = TcpConnection(failing)
    nursery.start_soon(connection.serve, notebook)
    await wait_all_tasks_blocked()
    left.host.network.link(left.host, left.host).latency = 0.0
    right.send(frame(b"last words"))  # has arrived, but the reader has not had its turn
    failing.failure = number
    for _ in range(2):
        with pytest.raises(OSError, match="made to fail") as caught:
            connection.send(run(connection, b"lost"))
        assert caught.value.errno == number
    await wait_all_tasks_blocked()
    assert notebook.datagrams == [b"last words"]
    assert notebook.retired == [connection]
    assert failing.sends == 1


async def test_who_waits_for_room_hears_that_there_never_will_be_any(connection, peer, nursery, autojump_clock):
    nursery.start_soon(connection.serve, Notebook())
    fill(connection)

    async def wait():
        with pytest.raises(trio.ClosedResourceError):
            await connection.wait_for_room()

    for _ in range(3):
        nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    peer.reset()


# Ends that this side makes.


async def test_closing_ends_serving_quietly(connection, peer, notebook, nursery, autojump_clock):
    nursery.start_soon(connection.serve, notebook)
    await wait_all_tasks_blocked()
    connection.close()
    connection.close()
    await wait_all_tasks_blocked()
    assert notebook.retired == []
    with pytest.raises(OSError, match="Bad file"):
        connection.send(run(connection, b"too late"))
    with pytest.raises(trio.ClosedResourceError):
        await connection.wait_for_room()
    assert await read_frames(peer) == []


async def test_who_closes_it_while_being_told_is_told_nothing_more(connection, peer, notebook, autojump_clock):
    peer.send(frame(b"close_notify") + frame(b"more"))
    await trio.sleep(1)
    peer.send(frame(b"late"))
    notebook.on_receive = connection.close
    await connection.serve(notebook)
    assert notebook.datagrams == [b"close_notify", b"more"]
    assert notebook.retired == []


@pytest.mark.parametrize("moment", ["reading", "writing"])
async def test_who_is_cancelled_while_serving_loses_nothing(connection, peer, notebook, moment, autojump_clock):
    count = fill(connection) if moment == "writing" else 0
    with trio.move_on_after(1) as scope:
        await connection.serve(notebook)
    assert scope.cancelled_caught
    assert notebook.retired == []
    connection.send(run(connection, b"goodbye"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.finish)
        frames = await read_frames(peer)
        peer.close()
    assert len(frames) == count * 65 + (moment == "reading")


async def test_finishing_sends_all_then_the_end_and_waits_for_the_peers(connection, peer, nursery, autojump_clock):
    finished = []

    async def finish():
        await connection.finish()
        finished.append(trio.current_time())

    count = fill(connection)
    nursery.start_soon(finish)
    assert len(await read_frames(peer)) == count * 65
    await trio.sleep(5)
    assert not finished
    closed_at = trio.current_time()
    peer.close()
    await trio.sleep(1)
    assert finished == [pytest.approx(closed_at, abs=0.1)]


async def test_finishing_discards_what_comes_so_that_closing_does_not_reset(connection, peer, sockets, autojump_clock):
    network = sockets[0].host.network

    async def keep_talking():
        for _ in range(5):
            peer.send(frame(bytes(1000)))
            await trio.sleep(0.1)
        assert await read_frames(peer) == [b"goodbye"]
        peer.close()

    connection.send(run(connection, b"goodbye"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_talking)
        await connection.finish()
    connection.close()
    assert not [entry for entry in network.log if isinstance(entry, StreamReset)]


async def test_two_that_finish_with_full_buffers_do_not_wait_for_each_other(sockets, autojump_clock):
    left, right = map(TcpConnection, sockets)
    fill(left)
    fill(right)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(left.finish)
            nursery.start_soon(right.finish)
    assert not left._unsent
    assert not right._unsent


async def test_a_peer_that_never_reads_holds_nobody_and_is_reset(connection, sockets, autojump_clock):
    network = sockets[0].host.network
    fill(connection)
    began = trio.current_time()
    with trio.move_on_after(1.0):
        await connection.finish()
    connection.close()
    assert trio.current_time() == began + 1.0
    ends = [entry for entry in network.log if not isinstance(entry, StreamSent | SocketClosed)]
    assert [type(entry) for entry in ends] == [StreamReset]


async def test_a_peer_that_reads_but_never_ends_holds_nobody(connection, peer, nursery, autojump_clock):
    connection.send(run(connection, b"goodbye"))
    with trio.move_on_after(1.0) as scope:
        await connection.finish()
    assert scope.cancelled_caught
    connection.close()
    assert await read_frames(peer) == [b"goodbye"]
    assert peer.receive() == b""  # and no reset


async def test_a_frame_is_never_cut_short_by_an_end_on_the_kernels_sockets():
    left, right = await open_sockets(HOST_NETWORK)
    connection = TcpConnection(left)
    count = fill(connection)
    with trio.move_on_after(0.05):
        await connection.finish()
    connection.close()
    deframer, got = Deframer(), []
    with pytest.raises(ConnectionResetError), trio.fail_after(5):
        while True:
            await right.wait_readable()
            data = right.receive()
            assert data != b""  # an end would say that this was all
            got += deframer.feed(data)
    assert len(got) < count * 65
    assert set(got) == {bytes(1000)}
    right.close()


@pytest.mark.parametrize("direction", ["readable", "writable"])
@pytest.mark.parametrize("task", ["serve", "finish"])
async def test_a_connection_that_the_kernel_does_not_watch_is_reset_behind_half_a_frame(
    notebook, direction, task, autojump_clock
):
    socket = Unwatched(direction)
    connection = TcpConnection(socket)
    connection.send(run(connection, bytes(100)))
    with trio.move_on_after(1.0):
        await (connection.serve(notebook) if task == "serve" else connection.finish())
    connection.close()
    assert len(socket.taken) == 10
    assert socket.ends == ["reset"]


async def test_who_waits_for_room_hears_that_a_connection_is_not_watched(autojump_clock):
    connection = TcpConnection(Unwatched("writable"))
    fill(connection)

    async def wait():
        with pytest.raises(trio.ClosedResourceError):
            await connection.wait_for_room()

    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
    connection.close()


# As a path's connection.


async def test_the_goodbyes_of_a_path_leave_in_frames_before_the_end(autojump_clock):
    for _ in range(RUNS):
        left, right = await open_sockets()
        core, connection = RecordingCore(), TcpConnection(left)

        async def live(core=core, connection=connection):
            async with open_path(Path(core, deliver=core.deliver, close_timeout=1.0)) as path:
                path.adopt(connection)
                core.connect(connection, connection.remote_address)
                core.say(b"hello")
                path.touched()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(live)
            assert await read_frames(right) == [b"hello", *GOODBYES]
            right.close()
        network = left.host.network
        own = [entry for entry in network.log if left.local_address in entry[1:2]]
        assert [type(entry) for entry in own[-2:]] == [StreamEnded, SocketClosed]
        assert network.open_sockets == []


async def test_a_peer_that_does_not_read_holds_the_end_of_a_path_no_longer_than_the_close_timeout(autojump_clock):
    left, _ = await open_sockets()
    core, connection = RecordingCore(), TcpConnection(left)
    async with open_path(Path(core, deliver=core.deliver, close_timeout=1.0)) as path:
        path.adopt(connection)
        core.connect(connection, connection.remote_address)
        for _ in range(10):
            core.say(bytes(MAX_RUN_BYTES), 1000)
        path.touched()
        await trio.sleep(1)
        began = trio.current_time()
    assert trio.current_time() == began + 1.0
    own = [entry for entry in left.host.network.log if left.local_address in entry[1:2]]
    assert [type(entry) for entry in own[-2:]] == [StreamReset, SocketClosed]
