"""One peer's way to the world: a core, what it owns of the world, and the tasks that belong to it.

What the world does enters the core by one guard, `Path._enter`, and what comes of it is delivered and sent in the same
breath, by whoever brought it. What the user asks for goes into the core beside it, and raises to the user. The path's
one task of its own fires the timers. There is one way to end: the core queues its goodbyes, they leave, and only then
the sockets go.
"""

import contextlib
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import ParamSpec, Protocol, TypeVar

import trio

from trio_webrtc.core.contract import Received, Via
from trio_webrtc.shell.alarm import Alarm
from trio_webrtc.shell.holdings import Belonging, Connection, Holdings
from trio_webrtc.shell.network import UdpSocket
from trio_webrtc.shell.port import Port
from trio_webrtc.shell.scope import scope
from trio_webrtc.shell.sending import MAX_RUNS_PER_FLUSH, Sending, SendingCore
from trio_webrtc.shell.unwrapping import UnwrappingNursery, is_only_cancelled

_logger = logging.getLogger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")


class PathCore(SendingCore, Protocol):
    """What a path needs of a core: verbs that all cores have, and what sending needs."""

    @property
    def closed(self) -> bool:
        """Whether it is over: nothing more will come of it but what is queued to go out."""

    def receive_datagrams(self, batch: Sequence[Received], now: float) -> None:
        """Take what has arrived."""

    def handle_timeout(self, now: float) -> None:
        """Fire every timer that is due."""

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout` next."""

    def close(self, now: float) -> None:
        """End: drop what is not begun, queue the goodbyes. Harmless when it is over already."""


@scope
async def open_path(path: "Path") -> AsyncIterator["Path"]:
    """Run a path for the body of an `async with`; the way out of the body is `Path.aclose()`.

    What the body raises comes out as itself; or in a group with a bug that has ended the path meanwhile.
    """
    async with UnwrappingNursery() as nursery:
        try:
            nursery.start_soon(path.run)
            await path.running.wait()
            yield path  # noqa: ASYNC119 - `scope` is a decorator like `asynccontextmanager`
        finally:
            await path.aclose()


class Path:
    """Owns the ports and tasks of one peer, from `open_path()` until `aclose()`.

    Whoever calls a command of the core, and is to know what it raises, says so afterwards by `touched()`; others have
    it called by `tell()`. `deliver` takes the core's events, synchronously, after whatever was put into the core, and
    before what comes of it is sent.
    """

    def __init__(self, core: PathCore, *, deliver: Callable[[], None], close_timeout: float) -> None:
        self.running = trio.Event()
        """Set when the path takes tasks and sockets."""
        self.freed = trio.Event()
        """Set when the path has ended: its goodbyes have left, and its sockets are freed."""
        self._core = core
        self._deliver = deliver
        self._close_timeout = close_timeout
        self._ending = trio.Event()
        self._bug: Exception | None = None
        self._sending = Sending(core, self)
        self._holdings = Holdings()
        self._alarm = Alarm()
        self._tasks = trio.CancelScope()
        self._nursery: trio.Nursery | None = None

    # What the world does.

    @trio.lowlevel.enable_ki_protection
    def receive(self, batch: Sequence[Received]) -> None:
        """Take what a port has read. What goes wrong in here is this peer's trouble alone."""
        self._alarm.let_pass()
        self._enter(self._core.receive_datagrams, batch, trio.current_time())

    @trio.lowlevel.enable_ki_protection
    def retire(self, via: Via) -> None:
        """Learn that a socket is lost."""
        self._enter(self._retire, via)

    @trio.lowlevel.enable_ki_protection
    def use_room(self) -> None:
        """Send what was refused, first of all. Called by a port's writer when it is this path's turn."""
        self._enter(self._sending.retry, trio.current_time())

    # What this side does.

    @trio.lowlevel.enable_ki_protection
    def touched(self) -> None:
        """Deliver and send what comes of a command to the core. Never waits.

        What comes of the first command is sent at once. If others follow soon, as from a task that sends one message
        after the other, these share packets and system calls. An answer to what has come meanwhile does not wait for
        others, unless a flush is due already: then it leaves with that, within a millisecond.
        """
        if not self._alarm.holds_back() and self._enter(_no_command) > 0:
            self._alarm.gather()

    @trio.lowlevel.enable_ki_protection
    def tell(self, command: Callable[_P, None], *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Call a command of the core that never raises; deliver and send what comes of it. Never waits."""
        self._enter(command, *args, **kwargs)

    @trio.lowlevel.enable_ki_protection
    def ask(self, question: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
        """Ask the core something that changes nothing in it. None: the path has ended, or the question has ended it."""
        answer = None
        if not self._ending.is_set():
            try:
                answer = question(*args, **kwargs)
            except Exception as bug:
                self._fail(bug)
        return answer

    @trio.lowlevel.enable_ki_protection
    def start_soon(self, task: Callable[..., Awaitable[object]], *args: object) -> None:
        """Run a task that belongs to the path: it is cancelled when the path ends. Raises ClosedResourceError."""
        if self._ending.is_set():
            raise trio.ClosedResourceError("this path has ended")
        if self._nursery is not None:  # else everything around is cancelled, and so would be the task
            self._nursery.start_soon(self._perform, task, *args, name=task)

    # What it owns.

    @trio.lowlevel.enable_ki_protection
    def add_socket(self, socket: UdpSocket) -> Port:
        """Own a socket, and read from it as long as the path lives. If the path has ended, frees it and raises."""
        port = Port(socket, self)
        self._start_or_free(port, port.serve)
        self._holdings.ports.append(port)
        return port

    @trio.lowlevel.enable_ki_protection
    def adopt(self, connection: Connection) -> None:
        """Own an open connection, and read from it until it or the path ends. If the path has ended, frees it, raises.

        Raises ClosedResourceError.
        """
        self._start_or_free(connection, self._serve, connection)
        self._holdings.connections[connection] = connection

    @trio.lowlevel.enable_ki_protection
    def own(self, belonging: Belonging) -> None:
        """Have something closed when the path has ended and its goodbyes have left; at once, if it has already."""
        if self.freed.is_set():
            belonging.close()
        else:
            self._holdings.others.append(belonging)

    @property
    def connections(self) -> int:
        """How many connections it has adopted that have not ended."""
        return len(self._holdings.connections)

    @trio.lowlevel.enable_ki_protection
    def release(self, via: Via) -> None:
        """Free an adopted connection before the path's own end. Harmless if there is none, or the end has begun."""
        if not self._ending.is_set() and self._holdings.release(via) and self._sending.give_up(via):
            self._alarm.ring_soon()

    @trio.lowlevel.enable_ki_protection
    def give_up_a_connection(self) -> bool:
        """Release the oldest connection that is not in use, to make room for another; say whether there was one."""
        before = self.connections
        self._enter(self._release_one_not_in_use)
        return self.connections < before

    def _start_or_free(self, belonging: Belonging, task: Callable[..., Awaitable[object]], *args: object) -> None:
        try:
            self.start_soon(task, *args)
        except trio.ClosedResourceError:
            belonging.close()
            raise

    @trio.lowlevel.enable_ki_protection
    async def _serve(self, connection: Connection) -> None:
        """Read from a connection. One that ends before the path is freed at once."""
        await connection.serve(self)
        self.release(connection)

    def _release_one_not_in_use(self) -> None:
        for via in self._holdings.connections:
            if not self._core.uses(via):
                self._retire(via)
                self.release(via)
                break

    def _retire(self, via: Via) -> None:
        self._sending.give_up(via)
        self._core.retire(via, trio.current_time())

    # The guard: how the world gets into the core, as long as the path has not ended.

    def _enter(self, command: Callable[_P, None], *args: _P.args, **kwargs: _P.kwargs) -> int:
        """Call, deliver, flush; say how many runs were sent. A bug ends this path, and no other."""
        if self._ending.is_set():
            return 0
        sent = 0
        try:
            command(*args, **kwargs)
            self._deliver()
            sent = self._flush()
            if self._core.closed:
                self._say_goodbye()
        except Exception as bug:
            self._fail(bug)
        return sent

    def _flush(self) -> int:
        losses = self._sending.losses
        sent = self._sending.flush(trio.current_time())
        if sent == MAX_RUNS_PER_FLUSH:
            self._alarm.ring_soon()  # others first, then the rest
        if self._sending.losses > losses:
            self._deliver()
            self._alarm.ring_soon()  # what comes of the failure
        self._alarm.ring_at(self._due())
        return sent

    def _due(self) -> float:
        due = self._core.next_timeout()
        return math.inf if due is None else due

    def _fail(self, bug: Exception) -> None:
        """End the path, and have `run()` raise the bug into this peer's scope."""
        if self._bug is None:
            self._bug = bug
            _logger.error("a bug ends a peer connection", exc_info=bug)
        self._say_goodbye()

    @trio.lowlevel.enable_ki_protection
    async def _perform(self, task: Callable[..., Awaitable[object]], *args: object) -> None:
        with self._guarding():
            await task(*args)

    @contextlib.contextmanager
    def _guarding(self) -> Iterator[None]:
        """Have a bug end this path, and no other; nor keep what has to be done after it from being done.

        What is to end more than a path, such as SystemExit, ends this one as well, and goes on.
        """
        try:
            yield
        except Exception as bug:
            self._fail(bug)
        except BaseException as error:
            if not is_only_cancelled(error):
                self._say_goodbye()
            raise

    # The path's own task.

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Be the path's one task of its own, and the parent of the others that belong to it. Ends after all of them.

        However that comes about, the path is freed by then. Raises the bug that has ended the path, if one has, or what
        one of its tasks has raised to end more than a path, such as SystemExit.
        """
        try:
            with self._tasks:
                async with UnwrappingNursery() as nursery:
                    self._nursery = nursery
                    try:
                        self.running.set()
                        await self._pump()
                    finally:
                        self._nursery = None
                        await self._flush_and_free()  # noqa: ASYNC102 - shields itself
        except trio.Cancelled:  # noqa: ASYNC103 - a bug of ours says more than that it was cancelled
            if self._bug is None:
                raise
        if self._bug is not None:
            raise self._bug

    async def _pump(self) -> None:
        """Fire timers, whether or not the sockets have room; flush when a flush is due."""
        with self._guarding():
            while True:
                await self._alarm.wait(self._due())
                self._enter(self._fire_timers)

    def _fire_timers(self) -> None:
        now = trio.current_time()
        if self._due() <= now:
            self._core.handle_timeout(now)

    # The end.

    @trio.lowlevel.enable_ki_protection
    async def aclose(self) -> None:
        """End this path, and wait until it has. Whoever else does so, and in whatever task: it ends once.

        Takes no longer than `close_timeout`. Cancelling it changes nothing: the goodbyes still leave.
        """
        self._say_goodbye()
        with trio.CancelScope(shield=True):  # bounded: `run()` frees within `close_timeout`
            await self.freed.wait()

    def _say_goodbye(self) -> None:
        """Have the core queue its goodbyes, and `run()` send them. From now on nothing enters the core."""
        if not self._ending.is_set():
            self._ending.set()
            self._tasks.cancel()  # its own tasks; never the user's body
            with self._guarding():
                self._core.close(trio.current_time())
                self._deliver()

    async def _flush_and_free(self) -> None:
        """Have the goodbyes leave, then free what it owns: the only place that does.

        In a task of ours, as Trio raises KeyboardInterrupt in the main task even while that waits under a shield.
        """
        with trio.CancelScope(shield=True):  # if everything around is cancelled, the body is on its way out as well
            await self._ending.wait()
        try:
            with trio.move_on_after(self._close_timeout, shield=True):
                with self._guarding():
                    await self._sending.send_all()
                with self._guarding():
                    await self._holdings.finish()
        finally:
            try:
                with self._guarding():
                    self._sending.end()
                with self._guarding():
                    self._holdings.free()
            finally:
                self._deliver = _no_command  # or the path and the objects on its surface would keep each other
                self.freed.set()


def _no_command() -> None:
    """Nothing to tell the core; only look what it has to say."""
