"""Opens the TCP connections that a core asks for (RFC 6544 §7.1)."""

import contextlib
from typing import Final, NamedTuple, Protocol

import trio

from trio_webrtc.core.contract import Address, Via
from trio_webrtc.core.ice import ConnectionWanted
from trio_webrtc.shell.network import Network
from trio_webrtc.shell.path import Path
from trio_webrtc.shell.tcp import TcpConnection

CONNECT_TIMEOUT: Final = 10.0
"""Seconds after which a connection that has not come up is given up."""


class ActiveVia(NamedTuple):
    """The `via` of an active TCP candidate: connections can be opened from there, and nothing else comes or goes."""

    host: str


class ConnectingCore(Protocol):
    """What connecting needs of a core."""

    def add_connection(self, via: Via, base_via: Via, remote_address: Address, now: float) -> None:
        """Use a connection that was asked for."""

    def report_connection_failure(self, base_via: Via, remote_address: Address, error: str, now: float) -> None:
        """Learn that there is none to be had."""


@trio.lowlevel.enable_ki_protection
async def connect(path: Path, core: ConnectingCore, network: Network, wanted: ConnectionWanted) -> None:
    """Open one connection for the path. To be run by `path.start_soon`; cancelling leaves nothing behind."""
    base_via, remote = wanted.base_via, wanted.remote_address
    assert isinstance(base_via, ActiveVia)
    error = f"no connection in {CONNECT_TIMEOUT:.0f} s"
    with trio.move_on_after(CONNECT_TIMEOUT):
        try:
            socket = await network.connect_tcp(base_via.host, remote)
        except OSError as failure:
            error = failure.strerror or str(failure)
        else:
            connection = TcpConnection(socket)
            with contextlib.suppress(trio.ClosedResourceError):  # the path has ended meanwhile
                path.adopt(connection)
                path.tell(core.add_connection, connection, base_via, remote, trio.current_time())
            return
    path.tell(core.report_connection_failure, base_via, remote, error, trio.current_time())
