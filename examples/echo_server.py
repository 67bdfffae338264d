"""An echo server: it serves a page, and whatever the page sends over a WebRTC data channel comes back as it was.

    python examples/echo_server.py [--host HOST] [--port PORT] [--signalling-port PORT]
    python examples/echo_server.py --self-test

A browser gets the page from `/`. To find each other, the two negotiate over a WebSocket, on a port of its own that
`/signalling` tells; or, in a single exchange, the browser posts its offer to `/offer`, and the answer is the response.
From then on they talk over UDP. Every peer lives in the server's nursery: whatever ends the server closes every peer
first, each with its goodbye, before the program exits.
"""

import argparse
import itertools
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

import echo_client
from trio_webrtc import (
    ConnectionFailedError,
    DataChannel,
    PeerConnection,
    SessionDescription,
    UsageError,
    WebRtcError,
    open_peer_connection,
)
from trio_webrtc.signaling import ReceptionLimits, Signaling, negotiate, serve_websocket_signaling

HERE = Path(__file__).parent
MAX_PEERS = 100
"""By each of the two ways to come."""

CONNECT_TIMEOUT = 30.0
"""Seconds that a peer has from its offer until it is connected."""


@dataclass(frozen=True)
class Urls:
    """Where a server is."""

    page: str
    signalling: str


async def serve_echo(
    host: str, port: int, signalling_port: int, *, task_status: trio.TaskStatus[Urls] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve the page, and everybody who asks for an echo, until cancelled. Tells its addresses when it listens."""
    url_host = f"[{host}]" if ":" in host else host
    config = Config()
    config.bind = [f"{url_host}:{port}"]
    config.loglevel = "WARNING"
    names = (f"peer {number}" for number in itertools.count(1))

    async def serve_signalled_peer(signaling: Signaling) -> None:
        await negotiate_and_echo(next(names), signaling)

    async with trio.open_nursery() as nursery:
        limits = ReceptionLimits(max_connections=MAX_PEERS)
        signalling = await nursery.start(
            partial(serve_websocket_signaling, serve_signalled_peer, host, signalling_port, limits=limits)
        )
        signalling_port = signalling.addresses[0][1]
        pages = await nursery.start(serve, web_application(nursery, names, signalling_port), config)
        task_status.started(Urls(pages[0], f"ws://{url_host}:{signalling_port}"))


def web_application(peers: trio.Nursery, names: Iterator[str], signalling_port: int) -> Starlette:
    """The HTTP side: the page, and `/offer`, which hands each offer over to the nursery that its peer will live in."""

    async def answer_offer(request: Request) -> Response:
        if len(peers.child_tasks) > MAX_PEERS + 1:  # two of them are servers
            return PlainTextResponse("too many peers are connected", status_code=503)
        try:
            offer = SessionDescription.from_dict(await request.json())
            answer: SessionDescription = await peers.start(serve_peer, next(names), offer)
        except (ValueError, WebRtcError) as error:  # no JSON, or no offer
            return PlainTextResponse(str(error), status_code=400)
        return JSONResponse(answer.as_dict())

    def page(request: Request) -> Response:
        # Isolated from other origins, the page gets the browser's finer clock.
        isolation = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
        return FileResponse(HERE / "echo.html", headers=isolation)

    def script(request: Request) -> Response:
        return FileResponse(HERE / request.url.path.removeprefix("/"))

    def tell_signalling(request: Request) -> Response:
        return JSONResponse({"port": signalling_port})

    return Starlette(
        routes=[
            Route("/", page),
            Route("/echo.js", script),
            Route("/negotiation.js", script),
            Route("/signalling", tell_signalling),
            Route("/offer", answer_offer, methods=["POST"]),
        ]
    )


async def negotiate_and_echo(name: str, signaling: Signaling) -> None:
    """Let a client of the signalling server negotiate, and echo until the peer is gone, with or without its WebSocket.

    What goes wrong is this peer's trouble: the signalling server sees to that.
    """
    try:
        async with open_peer_connection() as peer, negotiate(peer, signaling, polite=True):
            await echo_to_peer(name, peer)
    finally:
        print(f"{name}: gone")


async def serve_peer(name: str, offer: SessionDescription, *, task_status: trio.TaskStatus[SessionDescription]) -> None:
    """Answer one offer, and echo until the peer is gone. Leaving the scope is the goodbye.

    What goes wrong before the answer is told to whoever made the offer; what goes wrong later is this peer's trouble.
    """
    answered = False
    try:
        async with open_peer_connection() as peer:
            await peer.set_remote_description(offer)
            await peer.set_local_description()
            await peer.wait_gathering_complete()  # no trickling: the answer carries every candidate
            assert peer.local_description is not None
            task_status.started(peer.local_description)
            answered = True
            await echo_to_peer(name, peer)
    except Exception as error:
        if not answered:
            raise
        print(f"{name}: failed ({error!r})")
    finally:
        if answered:
            print(f"{name}: gone")


async def echo_to_peer(name: str, peer: PeerConnection) -> None:
    """Echo on every channel that the peer opens, until it is gone."""
    try:
        with trio.fail_after(CONNECT_TIMEOUT):
            await peer.wait_connected()
    except (ConnectionFailedError, trio.TooSlowError) as error:
        print(f"{name}: never connected ({error or 'too slow'})")
        return
    print(f"{name}: connected")
    async with trio.open_nursery() as channels:
        async for channel in peer.incoming_data_channels:
            print(f"{name}: channel {channel.label!r} opened")
            channels.start_soon(echo, channel)


async def echo(channel: DataChannel) -> None:
    """Send back what comes, until either side closes the channel."""
    async with channel:
        try:
            async for message in channel:
                await channel.send(message)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer is gone: there is nobody left to echo to
        except UsageError as error:  # the peer sent a message larger than it takes itself
            print(f"channel {channel.label!r} closed: {error}")


async def run_until_interrupted(host: str, port: int, signalling_port: int) -> None:
    """Serve until Ctrl-C or SIGTERM, which cancels the server's scope and with it every peer's."""
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            urls = await nursery.start(serve_echo, host, port, signalling_port)
            print(f"Other programs find the signalling at {urls.signalling}.")
            print(f"Open {urls.page} in a browser. Ctrl-C closes every peer and ends the server.")
            await anext(signals)
        nursery.cancel_scope.cancel()


async def self_test() -> None:
    """Let the client of `echo_client.py` measure this server, both in one process."""
    async with trio.open_nursery() as nursery:
        urls = await nursery.start(serve_echo, "127.0.0.1", 0, 0)
        for url in (urls.page, urls.signalling):
            await echo_client.measure(url)
        nursery.cancel_scope.cancel()


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description="Echo over WebRTC data channels, for browsers and other peers.")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve the page on (default: %(default)s)")
    parser.add_argument("--port", default=8080, type=int, help="port of the page, 0 for any (default: %(default)s)")
    parser.add_argument(
        "--signalling-port", default=8081, type=int, help="port of the signalling, 0 for any (default: %(default)s)"
    )
    parser.add_argument("--self-test", action="store_true", help="connect to itself, measure, and exit")
    arguments = parser.parse_args()
    complaint = None
    try:
        if arguments.self_test:
            trio.run(self_test)
        else:
            trio.run(run_until_interrupted, arguments.host, arguments.port, arguments.signalling_port)
    except* OSError as errors:  # most likely the port is taken
        reason: BaseException = errors
        while isinstance(reason, BaseExceptionGroup):
            reason = reason.exceptions[0]
        ports = f"ports {arguments.port} and {arguments.signalling_port}"
        complaint = f"Cannot serve on {arguments.host}, {ports}: {reason}"
    sys.exit(complaint)


if __name__ == "__main__":
    main()
