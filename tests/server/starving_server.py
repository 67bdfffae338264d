"""A server that may have few descriptors. Answers an offer on each line, and echoes; its log goes to stderr."""

import json
import logging
import resource
import sys

import trio

from trio_webrtc import DataChannel, ListenAddress, ServerLimits, SessionDescription, WebRtcServer, open_webrtc_server

DESCRIPTORS = 60
LISTEN = (ListenAddress("udp", "127.0.0.1"), ListenAddress("tcp", "127.0.0.1"))
LIMITS = ServerLimits(first_check_timeout=600, max_waiting_connections_per_address=1000)


async def attend(server: WebRtcServer, offer: SessionDescription) -> None:
    async with server.open_peer_connection() as peer, trio.open_nursery() as nursery:
        await peer.set_remote_description(offer)
        await peer.set_local_description()
        await peer.wait_gathering_complete()
        print(json.dumps(peer.local_description.as_dict()), flush=True)
        async for channel in peer.incoming_data_channels:
            nursery.start_soon(echo, channel)


async def echo(channel: DataChannel) -> None:
    try:
        async for message in channel:
            await channel.send(message)
    except trio.BrokenResourceError:
        pass


async def main() -> None:
    async with open_webrtc_server(*LISTEN, limits=LIMITS) as server, trio.open_nursery() as nursery:
        print(server.addresses[1].port, flush=True)
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            nursery.start_soon(attend, server, SessionDescription.from_dict(json.loads(line)))
        nursery.cancel_scope.cancel()


logging.basicConfig(level=logging.INFO, format="%(message)s")
trio.run(main)
