"""A signalling server: WebSockets for whoever comes, and no client of it can end it.

What can go wrong with a client, from its first packet to what its handler raises, is that client's trouble: one line
in the log with its address and the reason, and a number in `get_stats()`.
"""

import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, final

import trio

from trio_webrtc.core.contract import Address
from trio_webrtc.errors import UsageError
from trio_webrtc.shell.accepting import FaultError, Guest, Reception, ReceptionLimits, RefusedError
from trio_webrtc.shell.descriptors import count_descriptors, descriptor_limit
from trio_webrtc.shell.unwrapping import UnwrappingNursery
from trio_webrtc.signaling.close_codes import FIRST_OWN_CODE, GOING_AWAY, NO_STATUS, NORMAL_CLOSURE
from trio_webrtc.signaling.entrance import Entrance, Health
from trio_webrtc.signaling.messages import MAX_MESSAGE_SIZE
from trio_webrtc.signaling.request import SignalingRequest
from trio_webrtc.signaling.sockets import ClientConnection, ListeningSocket, open_listening_sockets
from trio_webrtc.signaling.websocket import SessionSettings, WebSocketSignaling, open_websocket_session

DEFAULT_LIMITS: Final = ReceptionLimits()

_PEACEFUL: Final = frozenset((NORMAL_CLOSURE, GOING_AWAY, NO_STATUS))
"""Close codes about which nothing has to be said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalingServerStats:
    """How a signalling server is doing."""

    clients: int
    """Clients that got a WebSocket, and whose handler has not returned."""
    handshakes: int
    """Clients that have not yet asked for one, or not got it."""
    accepted: int
    """Connections that were ever accepted."""
    refused: Mapping[str, int]
    """How many of them were not served, or not to the end, by reason."""
    exhausted: bool
    """Whether nobody can be accepted at present, for lack of descriptors or memory."""
    descriptors_used: int | None
    """Descriptors that this process has open; None if the system does not tell."""
    descriptors_allowed: int | None
    """How many it may have; None if the system sets no limit."""


@trio.lowlevel.enable_ki_protection
async def serve_websocket_signaling(  # noqa: ASYNC128 - the server calls task_status.started()
    handler: Callable[[WebSocketSignaling], Awaitable[object]],
    host: str | None,
    port: int,
    *,
    ssl_context: ssl.SSLContext | None = None,
    subprotocol: str | None = None,
    limits: ReceptionLimits = DEFAULT_LIMITS,
    max_message_size: int = MAX_MESSAGE_SIZE,
    ping_interval: float = 20.0,
    ping_timeout: float = 20.0,
    close_timeout: float = 1.0,
    health_path: str | None = None,
    refuse: Callable[[SignalingRequest], int | None] | None = None,
    task_status: trio.TaskStatus["SignalingServer"] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve WebSockets for signalling (RFC 6455), and run `handler` for each client in a task of its own.

    To be started with `nursery.start()`, which gives a `SignalingServer`. Returns after its `aclose()`. Ending, in
    this way or by cancellation, cancels every handler and tells every client 1001 (going away), all at once and within
    `close_timeout` seconds.

    A handler's client is told 1000 when the handler returns, and 1011 when it raises. What it raises is written to the
    log, and goes no further. That a client has left does not cancel its handler: `receive()` tells.

    Args:
        handler: what to do for a client; gets the `WebSocketSignaling` to it.
        host: the address or name to listen at; None for all addresses of this host.
        port: the port to listen at; 0 for one that is free.
        ssl_context: to serve TLS (`wss://`), a context with the server's certificate.
        subprotocol: what is spoken over the WebSockets, for clients that ask (RFC 6455 §1.9).
        limits: how long a client may take for TCP, TLS, HTTP and the WebSocket's handshake together, how many may be
            about it, and how many clients there may be, in all and per address. A client too many is answered 503.
        max_message_size: characters in a message that is received, at most MAX_MESSAGE_SIZE; a larger one ends its
            sender with 1009.
        ping_interval: seconds between pings to a client.
        ping_timeout: seconds in which it has to answer one.
        close_timeout: seconds that the goodbye to a client may take.
        health_path: where to answer GET requests with `get_stats()` as JSON, such as "/healthz": 200 while there is
            room for another client, or else 503. None not to.
        refuse: looks at each request for a WebSocket, its path, its Origin (RFC 6455 §10.2), its Authorization, and
            gives the HTTP status with which to refuse it, such as 403; None to let it in.
        task_status: for `nursery.start()`.

    Raises:
        OSError: it cannot listen there, or a listening socket was lost.
        UsageError: the health path does not begin with "/", a duration or size is not positive, or max_message_size is
            too large.
    """
    if health_path is not None and not health_path.startswith("/"):
        raise UsageError(f'health_path={health_path!r}: a path begins with "/"')
    settings = SessionSettings(
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        close_timeout=close_timeout,
        max_message_size=max_message_size,
    )
    sockets = await open_listening_sockets(host, port)
    server = SignalingServer(handler, sockets, limits, settings)
    entrance = Entrance(
        ssl_context=ssl_context,
        subprotocol=subprotocol,
        max_message_size=max_message_size,
        health_path=health_path,
        health=server._tell_health,
        refuse=refuse,
    )
    await server._run(entrance, task_status)


@final
class SignalingServer:
    """A signalling server that is running; made by `serve_websocket_signaling()`."""

    def __init__(
        self,
        handler: Callable[[WebSocketSignaling], Awaitable[object]],
        sockets: Sequence[ListeningSocket],
        limits: ReceptionLimits,
        settings: SessionSettings,
    ) -> None:
        self.addresses: tuple[Address, ...] = tuple(socket.local_address for socket in sockets)
        """Where it listens, with the ports that it was given."""
        self._handler = handler
        self._sockets = sockets
        self._limits = limits
        self._settings = settings
        self._reception = Reception[ClientConnection](name=f"signalling server {self._name()}", limits=limits)
        self._tasks = trio.CancelScope()
        self._run_task: trio.lowlevel.Task | None = None
        self._ended = trio.Event()

    def __repr__(self) -> str:
        return f"<SignalingServer {self._name()}>"

    def _name(self) -> str:
        return ", ".join(f"{host} port {port}" for host, port in self.addresses)

    def get_stats(self) -> SignalingServerStats:
        """How it is doing. Counts this process's descriptors, which takes longer the more there are."""
        reception = self._reception.stats
        return SignalingServerStats(
            clients=reception.connections,
            handshakes=reception.waiting,
            accepted=reception.accepted,
            refused=reception.refused,
            exhausted=reception.exhausted,
            descriptors_used=count_descriptors(),
            descriptors_allowed=descriptor_limit(),
        )

    @trio.lowlevel.enable_ki_protection
    async def aclose(self) -> None:
        """End it: nobody is accepted any more, handlers are cancelled, every client is told 1001.

        Returns when `serve_websocket_signaling()` is about to; if called in a handler, at once, since that handler is
        cancelled, too. Harmless when it has ended. Cancelling it changes nothing.
        """
        self._tasks.cancel()
        if not self._is_own_task():
            await self._ended.wait()
        await trio.lowlevel.checkpoint()

    def _is_own_task(self) -> bool:
        """Whether the calling task is a descendant of the server's."""
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        while task is not None and task is not self._run_task:
            task = task.parent_nursery.parent_task if task.parent_nursery is not None else None
        return task is not None

    @trio.lowlevel.enable_ki_protection
    async def _run(self, entrance: Entrance, task_status: trio.TaskStatus["SignalingServer"]) -> None:
        async def attend(connection: ClientConnection, guest: Guest) -> None:
            await self._attend(entrance, connection, guest)

        self._run_task = trio.lowlevel.current_task()
        try:
            with self._tasks:
                async with UnwrappingNursery() as nursery:
                    for socket in self._sockets:
                        nursery.start_soon(self._reception.serve, socket, attend)
                    task_status.started(self)
        finally:
            for socket in self._sockets:
                socket.close()
            self._ended.set()

    @trio.lowlevel.enable_ki_protection
    async def _attend(self, entrance: Entrance, connection: ClientConnection, guest: Guest) -> None:
        client = await entrance.let_in(connection, guest)
        if client is None:
            return
        async with open_websocket_session(
            client.shake_hands,
            client.stream,
            client.transport,
            remote_address=guest.remote_address,
            settings=self._settings,
            flooded=client.stream.flooded,
        ) as signaling:
            await self._handle(signaling)
            code, reason = signaling.close_code, signaling.close_reason
        if code is not None and code < FIRST_OWN_CODE and code not in _PEACEFUL:
            raise RefusedError(f"ended with {code}", repr(reason))

    @trio.lowlevel.disable_ki_protection
    async def _handle(self, signaling: WebSocketSignaling) -> None:
        """Run what is the application's, where a Ctrl-C may land."""
        try:
            await self._handler(signaling)
        except Exception as error:
            if signaling._is_lost:
                raise
            raise FaultError(error) from None  # a database that is lost, perhaps, but not this client

    def _tell_health(self) -> Health:
        stats = self.get_stats()
        most = self._limits.max_connections
        is_well = not stats.exhausted and (most is None or stats.clients < most)
        return Health(is_well, asdict(stats))
