"""One peer's way to the world: a core, the ports that it may use, and the tasks that belong to them.

All sending is one synchronous flush, which never waits and which whoever touched the core may call. The path's one
task of its own fires the timers. There is one way to end, `Path.aclose()`, and it is the one place that flushes and
frees: the core queues its goodbyes, they leave, and only then the sockets go.
"""

import enum
import itertools
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, ParamSpec, Protocol, cast

import trio

from trio_webrtc.core.contract import Address, Received, Transmit, Via
from trio_webrtc.shell.network import SOCKET_LOST, TOO_LARGE, UdpSocket
from trio_webrtc.shell.port import Port, Receiver, Sender
from trio_webrtc.shell.scope import scope
from trio_webrtc.shell.unwrapping import UnwrappingNursery

MAX_RUNS_PER_FLUSH: Final = 16
"""Runs that one flush sends before it lets others go first."""

MAX_LOOKS_PER_FLUSH: Final = 16
"""How often a flush is put off because every time there is something more to send with it."""

MAX_PATIENCE_PER_FLUSH: Final = 0.001
"""Seconds, after which it is put off no more: where the event loop is busy, its turns are long."""

MAX_EARLINESS: Final = 1.0
"""Seconds by which the pump may wake before a timer that was moved: a timer that is moved all the time is cheap so."""

_logger = logging.getLogger(__name__)
_P = ParamSpec("_P")


class PathCore(Protocol):
    """What a path needs of a core: verbs that all cores have, and how it learns what became of its datagrams."""

    @property
    def closed(self) -> bool:
        """Whether it is over: nothing more will come of it but what is queued to go out."""

    def receive_datagrams(self, batch: Sequence[Received], now: float) -> None:
        """Take what has arrived."""

    def handle_timeout(self, now: float) -> None:
        """Fire every timer that is due."""

    def poll_transmits(self, now: float) -> Transmit | None:
        """Take the next datagram or run that is to go out."""

    def poll_checks(self, now: float) -> Transmit | None:
        """Take the next datagram that looks for ways or keeps them, which does not wait behind others."""

    def uses(self, via: Via) -> bool:
        """Whether data goes by this way."""

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout` next."""

    def close(self, now: float) -> None:
        """End: drop what is not begun, queue the goodbyes. Harmless when it is over already."""

    def report_send_error(self, via: Via, to: Address, error: str, now: float) -> None:
        """Learn that a datagram was lost, and why."""

    def lower_mtu(self, via: Via, to: Address, now: float) -> None:
        """Learn that a datagram was larger than this way takes. Comes after `report_send_error`."""

    def retire(self, via: Via, now: float) -> None:
        """Learn that nothing will come or go by this way any more."""


class Way(Protocol):
    """What a path needs of a `via`: UdpVia is one."""

    def send(self, run: Transmit) -> int:
        """Send a run; say how many bytes of it were taken. OSError: the rest of it is lost."""

    def queue_for_room(self, sender: Sender) -> None:
        """Have `sender.use_room()` called when there is room and it is its turn."""

    def leave_queue(self, sender: Sender) -> None:
        """Undo `queue_for_room`; harmless if there is nothing to undo."""

    async def wait_for_room(self) -> None:
        """Wait until there is room to send. Raises ClosedResourceError when there never will be."""


class Belonging(Protocol):
    """What a path frees at its end."""

    def close(self) -> None:
        """Free it. Harmless when repeated."""


class Connection(Way, Belonging, Protocol):
    """What a path needs of a stream of datagrams, such as a TCP connection with frames. It is a `via` itself."""

    def __hash__(self) -> int: ...

    async def serve(self, receiver: Receiver) -> None:
        """Hand on what comes, until there is nothing more to come; then `receiver.retire()` it."""

    async def finish(self) -> None:
        """Have all that was taken leave, say that this was all, and wait for the other end to agree."""


class _End(enum.Enum):
    NOT_YET = enum.auto()
    BEGUN = enum.auto()
    DONE = enum.auto()


@scope
async def open_path(path: "Path") -> AsyncIterator["Path"]:
    """Run a path for the body of an `async with`; the way out of the body is `Path.aclose()`.

    What the body raises comes out as itself.
    """
    async with UnwrappingNursery() as nursery:
        try:
            nursery.start_soon(path.run)
            # Not `nursery.start()`: that would wait for a cancelled `run()`, which waits for `aclose()`.
            await path.running.wait()
            yield path  # noqa: ASYNC119 - `scope` is a decorator like `asynccontextmanager`
        finally:
            await path.aclose()


class Path:
    """Owns the ports and tasks of one peer, from `open_path()` until `aclose()`.

    Whoever calls a command of the core says so afterwards by `touched()`, or has it called by `tell()`. `deliver` takes
    the core's events, synchronously, after whatever was put into the core, and before what comes of it is sent.
    """

    def __init__(self, core: PathCore, *, deliver: Callable[[], None], close_timeout: float) -> None:
        self.running = trio.Event()
        """Set when the path takes tasks and sockets."""
        self.freed = trio.Event()
        """Set when the path has ended: its goodbyes have left, and its sockets are freed."""
        self._core = core
        self._deliver = deliver
        self._close_timeout = close_timeout
        self._end = _End.NOT_YET
        self._bug: Exception | None = None

        self._ports: list[Port] = []
        self._connections: dict[Via, Connection] = {}
        self._belongings: list[Belonging] = []
        self._refused: Transmit | None = None
        self._flush_is_due = False
        self._send_failed = False
        self._was_touched = False

        self._tasks = trio.CancelScope()
        self._run_task: trio.lowlevel.Task | None = None
        self._nursery: trio.Nursery | None = None
        self._alarm = trio.lowlevel.ParkingLot()
        self._nap = trio.CancelScope()

    # What the world does.

    @trio.lowlevel.enable_ki_protection
    def receive(self, batch: Sequence[Received]) -> None:
        """Take what a port has read. What goes wrong in here is this peer's trouble alone."""
        self._enter(self._core.receive_datagrams, batch, trio.current_time())

    @trio.lowlevel.enable_ki_protection
    def retire(self, via: Via) -> None:
        """Learn that a socket is lost."""
        self._give_up_refused(via)
        self._enter(self._core.retire, via, trio.current_time())

    @trio.lowlevel.enable_ki_protection
    def use_room(self) -> None:
        """Send what was refused, first of all. Called by a port's writer when it is this path's turn."""
        self._enter(self._send_refused)

    # What this side does.

    @trio.lowlevel.enable_ki_protection
    def touched(self) -> None:
        """Deliver and send what comes of a command to the core. Never waits.

        What comes of the first command is sent at once. If others follow in this turn of the event loop or the next
        ones, as from a task that sends one message after the other, these share packets and system calls.
        """
        self._was_touched = True
        if not self._flush_is_due and self._enter(_no_command) > 0:
            self._flush_soon()

    @trio.lowlevel.enable_ki_protection
    def tell(self, command: Callable[_P, None], *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Call a command of the core that never raises; deliver and send what comes of it. Never waits."""
        self._enter(command, *args, **kwargs)

    @trio.lowlevel.enable_ki_protection
    def start_soon(self, task: Callable[..., Awaitable[object]], *args: object) -> None:
        """Run a task that belongs to the path: it is cancelled when the path ends. Raises ClosedResourceError."""
        if self._end is not _End.NOT_YET:
            raise trio.ClosedResourceError("this path has ended")
        if self._nursery is not None:  # else everything around is cancelled, and so would be the task
            self._nursery.start_soon(task, *args)

    @trio.lowlevel.enable_ki_protection
    def add_socket(self, socket: UdpSocket) -> Port:
        """Own a socket, and read from it as long as the path lives. If the path has ended, frees it and raises."""
        port = Port(socket, self)
        try:
            self.start_soon(port.serve)
        except trio.ClosedResourceError:
            port.close()
            raise
        self._ports.append(port)
        return port

    @trio.lowlevel.enable_ki_protection
    def adopt(self, connection: Connection) -> None:
        """Own an open connection, and read from it until it or the path ends. If the path has ended, frees it, raises.

        Raises ClosedResourceError.
        """
        try:
            self.start_soon(self._serve, connection)
        except trio.ClosedResourceError:
            connection.close()
            raise
        self._connections[connection] = connection

    @property
    def connections(self) -> int:
        """How many connections it has adopted that have not ended."""
        return len(self._connections)

    @trio.lowlevel.enable_ki_protection
    def own(self, belonging: Belonging) -> None:
        """Have something closed when the path has ended and its goodbyes have left; at once, if it has already."""
        if self._end is _End.DONE:
            belonging.close()
        else:
            self._belongings.append(belonging)

    @trio.lowlevel.enable_ki_protection
    async def _serve(self, connection: Connection) -> None:
        """Read from a connection. One that ends before the path is freed at once."""
        await connection.serve(self)
        self.release(connection)

    @trio.lowlevel.enable_ki_protection
    def release(self, via: Via) -> None:
        """Free an adopted connection before the path's own end. Harmless if there is none, or the end has begun."""
        if self._end is _End.NOT_YET and (connection := self._connections.pop(via, None)) is not None:
            self._give_up_refused(via)
            connection.close()

    @trio.lowlevel.enable_ki_protection
    def give_up_a_connection(self) -> bool:
        """Release the oldest connection that is not in use, to make room for another; say whether there was one."""
        for via in self._connections:
            if not self._core.uses(via):
                self.retire(via)
                self.release(via)
                return True
        return False

    # The guard: the one way into the core, as long as the path has not ended.

    def _enter(self, command: Callable[_P, None], *args: _P.args, **kwargs: _P.kwargs) -> int:
        """Call, deliver, flush; say how many runs were sent. A bug ends this path, and no other."""
        if self._end is not _End.NOT_YET or self._bug is not None:
            return 0
        sent = 0
        try:
            command(*args, **kwargs)
            self._deliver()
            sent = self._flush()
            if self._core.closed:
                self._tasks.cancel()
        except Exception as bug:
            self._fail(bug)
        return sent

    def _fail(self, bug: Exception) -> None:
        """Have `run()` close the path and raise the bug into this peer's scope."""
        if self._bug is None:
            self._bug = bug
            _logger.error("a bug ends a peer connection", exc_info=bug)
        self._tasks.cancel()

    # Sending.

    def _flush(self) -> int:
        """Send what the core has to say, a bounded part of it; say how many runs were sent."""
        sent, now = 0, trio.current_time()
        if self._refused is not None:
            self._look_for_other_ways(self._refused, now)
        while self._refused is None:
            if sent == MAX_RUNS_PER_FLUSH:
                self._flush_soon()  # others first, then the rest
                break
            run = self._core.poll_transmits(now)
            if run is None:
                break
            if self._send(run, now):
                sent += 1
            else:
                cast("Way", run.via).queue_for_room(self)
        if self._send_failed:
            self._send_failed = False
            self._deliver()
            self._flush_soon()  # what comes of the failure
        due, deadline = self._due(), self._nap.deadline
        # Moving a deadline costs twenty times what this comparison does; waking up for nothing costs ten times that.
        if due < deadline or due > deadline + MAX_EARLINESS:
            self._nap.deadline = due
        return sent

    def _send(self, run: Transmit, now: float) -> bool:
        """Send a run, or lose it to an error. What is refused is not sent, and stays first in line."""
        try:
            taken = cast("Way", run.via).send(run)
        except OSError as error:
            self._lose(run, error, now)
            return True
        if taken == len(run.data):
            return True
        self._refused = run._replace(data=run.data[taken:]) if taken else run
        return False

    def _look_for_other_ways(self, refused: Transmit, now: float) -> None:
        """Let ICE go on where data waits for room: that may never come, and the peer be on another way by now.

        A check that finds no room is lost, as on any way; it will be repeated.
        """
        while (check := self._core.poll_checks(now)) is not None:
            try:
                cast("Way", check.via).send(check)
            except OSError as error:
                self._lose(check, error, now)
        if not self._core.uses(refused.via):
            self._give_up_refused(refused.via)

    def _give_up_refused(self, via: Via) -> None:
        """What waits for room there will not leave any more; what stands behind it has another way, or none."""
        if self._refused is not None and self._refused.via is via:
            cast("Way", via).leave_queue(self)
            self._refused = None
            self._flush_soon()

    def _send_refused(self) -> None:
        run, self._refused = self._refused, None
        if run is not None and not self._send(run, trio.current_time()):
            cast("Way", run.via).queue_for_room(self)

    def _lose(self, run: Transmit, error: OSError, now: float) -> None:
        """Tell the core that a datagram was lost; it decides what that means for the pair of addresses."""
        self._send_failed = True
        if error.errno in SOCKET_LOST:
            self._core.retire(run.via, now)
            return
        self._core.report_send_error(run.via, run.to, error.strerror or str(error), now)
        if error.errno in TOO_LARGE:
            self._core.lower_mtu(run.via, run.to, now)

    def _flush_soon(self) -> None:
        """Have the pump flush when everybody else has had this turn of the event loop."""
        self._flush_is_due = True
        self._alarm.unpark_all()

    def _due(self) -> float:
        due = self._core.next_timeout()
        return math.inf if due is None else due

    # The path's own tasks.

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Be the path's one task of its own, and the parent of its other tasks. Ends when the path does."""
        self._run_task = trio.lowlevel.current_task()
        try:
            with self._tasks:
                async with UnwrappingNursery() as nursery:
                    self._nursery = nursery
                    try:
                        self.running.set()
                        await self._pump()
                    finally:
                        self._nursery = None
            await self.aclose()
            await self._wait_freed()
        except trio.Cancelled:  # noqa: ASYNC103 - a bug of ours says more than that it was cancelled
            # By the scope, which is on its way out as well.
            await self._wait_freed()  # noqa: ASYNC102 - shields itself, and frees within `close_timeout`
            if self._bug is None:
                raise
        if self._bug is not None:
            raise self._bug

    async def _pump(self) -> None:
        """Fire timers, whether or not the sockets have room; flush when a flush is due."""
        while True:
            self._nap = trio.CancelScope(deadline=-math.inf if self._flush_is_due else self._due())
            with self._nap:
                await self._alarm.park()
            if self._flush_is_due:
                await self._let_commands_come()
            self._flush_is_due = False
            now = trio.current_time()
            if self._due() <= now:
                self._enter(self._core.handle_timeout, now)
            else:
                self._enter(_no_command)

    async def _let_commands_come(self) -> None:
        """Wait as long as each turn of the event loop brings another command, but not for many of them."""
        end = trio.current_time() + MAX_PATIENCE_PER_FLUSH
        for _ in range(MAX_LOOKS_PER_FLUSH):
            self._was_touched = False
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()  # a turn has no order; of two, everybody has had one
            if not self._was_touched or trio.current_time() >= end:
                break

    # The end.

    @trio.lowlevel.enable_ki_protection
    async def aclose(self) -> None:
        """End this path: the only place that flushes and frees. The first caller does it; the others wait for it.

        Takes no longer than `close_timeout`. Cancelling it changes nothing: the goodbyes still leave.
        """
        if self._end is _End.NOT_YET:
            self._end = _End.BEGUN
            self._tasks.cancel()  # its own tasks; never the user's body
            try:
                self._close_core()
                with trio.move_on_after(self._close_timeout, shield=True):
                    await self._send_all()
                    await self._finish_connections()
            finally:
                self._free()
        elif not self._is_own_task():
            await self._wait_freed()

    def _close_core(self) -> None:
        try:
            self._core.close(trio.current_time())
            self._deliver()
        except Exception as bug:
            self._fail(bug)

    async def _send_all(self) -> None:
        """Send what was refused and all that the core has to say, waiting for room where there is none."""
        try:
            for count in itertools.count(1):
                now = trio.current_time()
                run = self._refused or self._core.poll_transmits(now)
                if run is None:
                    break
                self._refused = None
                if not self._send(run, now):
                    await self._wait_for_room(cast("Way", run.via))
                elif count % MAX_RUNS_PER_FLUSH == 0:
                    await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
        except Exception as bug:
            self._fail(bug)

    async def _finish_connections(self) -> None:
        """Let what a connection has taken leave, and tell its other end that this was all."""
        async with UnwrappingNursery() as nursery:
            for connection in self._connections.values():
                nursery.start_soon(connection.finish)

    async def _wait_for_room(self, way: Way) -> None:
        way.leave_queue(self)
        try:
            await way.wait_for_room()
        except trio.ClosedResourceError:
            self._refused = None  # it will not leave by this way any more

    async def _wait_freed(self) -> None:
        with trio.CancelScope(shield=True):  # bounded: whoever came first frees within `close_timeout`
            await self.freed.wait()

    def _free(self) -> None:
        self._end = _End.DONE
        if self._refused is not None:
            cast("Way", self._refused.via).leave_queue(self)
        belongings: list[Belonging] = [*self._connections.values(), *self._ports, *self._belongings]
        for belonging in belongings:
            belonging.close()
        self._connections.clear()
        self._belongings.clear()
        self._deliver = _no_command  # or the path and the objects on its surface would keep each other
        self.freed.set()

    def _is_own_task(self) -> bool:
        """Whether the calling task is `run()`, or a descendant of it."""
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        while task is not None and task is not self._run_task:
            task = task.parent_nursery.parent_task if task.parent_nursery is not None else None
        return task is not None


def _no_command() -> None:
    """Nothing to tell the core; only look what it has to say."""
