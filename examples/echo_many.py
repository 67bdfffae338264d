"""An echo server that meets all of its peers on one UDP and one TCP port.

    python examples/echo_many.py [--host HOST] [--port PORT] [--announce HOST] [--signalling-port PORT]
    python examples/echo_client.py ws://127.0.0.1:8081

These are the ports that a firewall has to let pass; peers that UDP does not get through to connect by TCP. They
negotiate over a WebSocket. Whatever ends the server tells every peer first, and frees the ports last.
"""

import argparse
import signal
import sys

import trio

from trio_webrtc import (
    ConnectionFailedError,
    DataChannel,
    ListenAddress,
    PeerConnection,
    WebRtcServer,
    open_webrtc_server,
)
from trio_webrtc.signaling import Signaling, SignalingServer, negotiate, serve_websocket_signaling

CONNECT_TIMEOUT = 30.0
"""Seconds that a peer has from its WebSocket until it is connected."""


async def serve_echo(
    listen: list[ListenAddress], signalling_host: str, signalling_port: int, *, task_status: trio.TaskStatus[str]
) -> None:
    """Meet whoever comes, until cancelled. Tells where it listens."""

    async def meet(signaling: Signaling) -> None:
        await echo_over(server, signaling)

    async with open_webrtc_server(*listen) as server, trio.open_nursery() as nursery:
        door: SignalingServer = await nursery.start(serve_websocket_signaling, meet, signalling_host, signalling_port)
        places = ", ".join(f"{place.transport} port {place.port}" for place in server.addresses)
        task_status.started(f"Signalling on port {door.addresses[0][1]}, peers on {places}.")


async def echo_over(server: WebRtcServer, signaling: Signaling) -> None:
    """Negotiate with one peer, and echo until it is gone. What goes wrong is this peer's trouble."""
    try:
        async with server.open_peer_connection() as peer, negotiate(peer, signaling, polite=True):
            with trio.fail_after(CONNECT_TIMEOUT):
                await peer.wait_connected()
            print(f"another peer: {server.get_stats().peers} now")
            await echo_to_peer(peer)
    except (ConnectionFailedError, trio.TooSlowError) as error:
        print(f"never connected: {error or 'too slow'}")
    finally:
        print(f"a peer less: {server.get_stats().peers} now")


async def echo_to_peer(peer: PeerConnection) -> None:
    """Echo on every channel that the peer opens, until it is gone."""
    async with trio.open_nursery() as channels:
        async for channel in peer.incoming_data_channels:
            channels.start_soon(echo, channel)


async def echo(channel: DataChannel) -> None:
    """Send back what comes, until either side closes the channel."""
    async with channel:
        try:
            async for message in channel:
                await channel.send(message)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer is gone: there is nobody left to echo to


async def run_until_interrupted(listen: list[ListenAddress], signalling_host: str, signalling_port: int) -> None:
    """Serve until Ctrl-C or SIGTERM, which cancels the server's scope and with it every peer's."""
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            print(await nursery.start(serve_echo, listen, signalling_host, signalling_port))
            print("Ctrl-C tells every peer, and ends the server.")
            await anext(signals)
        nursery.cancel_scope.cancel()


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description="Echo over WebRTC data channels, for many peers on two ports.")
    parser.add_argument("--host", default="0.0.0.0", help="local address to listen at (default: %(default)s)")
    parser.add_argument("--port", default=5000, type=int, help="of UDP and TCP, 0 for any (default: %(default)s)")
    parser.add_argument("--announce", action="append", default=[], help="address by which peers get here, if another")
    parser.add_argument("--signalling-port", default=8081, type=int, help="of the WebSocket (default: %(default)s)")
    arguments = parser.parse_args()
    listen = [
        ListenAddress(transport, arguments.host, arguments.port, announced_hosts=arguments.announce)
        for transport in ("udp", "tcp")
    ]
    complaint = None
    try:
        trio.run(run_until_interrupted, listen, arguments.host, arguments.signalling_port)
    except* OSError as errors:  # most likely a port is taken
        reason: BaseException = errors
        while isinstance(reason, BaseExceptionGroup):
            reason = reason.exceptions[0]
        complaint = str(reason)
    sys.exit(complaint)


if __name__ == "__main__":
    main()
