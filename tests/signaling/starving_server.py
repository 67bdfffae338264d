"""A signalling server that may have few descriptors. Prints where it listens; its log goes to stderr."""

import logging
import resource
import sys

import trio

from trio_webrtc.shell.accepting import ReceptionLimits
from trio_webrtc.signaling import SignalingServer, WebSocketSignaling, serve_websocket_signaling

DESCRIPTORS = 60


async def echo(signaling: WebSocketSignaling) -> None:
    async for message in signaling:
        await signaling.send(message)


async def main() -> None:
    limits = ReceptionLimits(deadline=600, max_waiting_per_address=1000)
    async with trio.open_nursery() as nursery:

        async def serve(*, task_status: trio.TaskStatus[SignalingServer]) -> None:
            await serve_websocket_signaling(echo, "127.0.0.1", 0, limits=limits, task_status=task_status)

        server = await nursery.start(serve)
        print(server.addresses[0][1], flush=True)
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        await trio.to_thread.run_sync(sys.stdin.read)
        await server.aclose()


logging.basicConfig(level=logging.INFO, format="%(message)s")
trio.run(main)
