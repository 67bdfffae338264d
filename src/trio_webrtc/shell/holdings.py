"""What a path owns, and frees at its end: ports, connections, and whatever else ends with it."""

from contextlib import ExitStack
from typing import Protocol

from trio_webrtc.core.contract import Via
from trio_webrtc.shell.port import Port, Receiver
from trio_webrtc.shell.sending import Way
from trio_webrtc.shell.unwrapping import UnwrappingNursery


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


class Holdings:
    """One path's belongings, until `free()`."""

    def __init__(self) -> None:
        self.ports: list[Port] = []
        self.connections: dict[Via, Connection] = {}
        """The oldest first."""
        self.others: list[Belonging] = []

    def release(self, via: Via) -> bool:
        """Free a connection before all else; say whether it was there."""
        connection = self.connections.pop(via, None)
        if connection is not None:
            connection.close()
        return connection is not None

    async def finish(self) -> None:
        """Let what the connections have taken leave, and tell their other ends that this was all."""
        async with UnwrappingNursery() as nursery:
            for connection in self.connections.values():
                nursery.start_soon(connection.finish)

    def free(self) -> None:
        """Free everything, each thing whatever becomes of the others, and raise what went wrong with any."""
        with ExitStack() as last_first:
            for belonging in (*self.others, *self.ports, *self.connections.values()):
                last_first.callback(belonging.close)
        self.connections.clear()
        self.others.clear()
