"""Messages that nobody reads: a server holds as many of them as its peers' configurations allow, and no more."""

import gc
import sys
from contextlib import AsyncExitStack
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Final

import pytest
import trio

from trio_webrtc import Configuration, DataChannel, SctpSettings
from trio_webrtc.core.peer import PeerCore

from .conftest import Site, connect

THRIFTY: Final = Configuration(
    sctp=SctpSettings(receive_buffer=100_000, max_message_size=20_000), max_message_size=20_000, high_water_mark=50_000
)
LEADING_AWAY: Final = (type, ModuleType, FunctionType, BuiltinFunctionType)
CHANNELS: Final = 3


def bytes_held_by(core: PeerCore) -> int:
    """The size of all bytes that can be reached from a core without leaving the protocols."""
    total, seen, left = 0, set(), [core]
    while left:
        thing = left.pop()
        kind = type(thing)
        is_elsewhere = kind.__module__.startswith(("trio_webrtc.shell", "trio."))
        if id(thing) in seen or is_elsewhere or issubclass(kind, LEADING_AWAY):
            continue
        seen.add(id(thing))
        if isinstance(thing, bytes | bytearray):
            total += sys.getsizeof(thing)
        left += gc.get_referents(thing)
    return total


@pytest.mark.parametrize("size", [10, 1000, 20_000])
@pytest.mark.parametrize("reader", ["handlers", "peers"])
async def test_of_messages_that_are_not_read_a_server_holds_what_each_peers_configuration_allows(
    site: Site, autojump_clock, reader: str, size: int
):
    """All send as fast as they can, on several channels: to handlers that read nothing, or these to such peers."""

    async def flood(channel: DataChannel) -> None:
        while True:
            await channel.send(bytes(size))

    allowed = THRIFTY.sctp.receive_buffer  # of ours, or what the peer lets be under way
    if reader == "peers":
        allowed += CHANNELS * (THRIFTY.high_water_mark + size)
    async with site.serve() as server, AsyncExitStack() as stack:
        peers = [
            await stack.enter_async_context(connect(server, site.add_guest(), transport, configuration=THRIFTY))
            for transport in ("udp", "tcp") * 2
        ]
        assert max(bytes_held_by(joined.peer._core) for joined in peers) < 2000, "nothing is under way"
        async with trio.open_nursery() as nursery:
            for joined in peers:
                sender = joined.client if reader == "handlers" else joined.peer
                for _ in range(CHANNELS):
                    nursery.start_soon(flood, sender.create_data_channel("flood"))
            await trio.sleep(5)
            nursery.cancel_scope.cancel()
        held = [bytes_held_by(joined.peer._core) for joined in peers]
        assert max(held) <= allowed
        assert min(held) >= 30_000, "the windows are shut"
