"""The echo server's client in Python: measures round trips and throughput over one data channel.

    python examples/echo_client.py ws://127.0.0.1:8081
    python examples/echo_client.py http://127.0.0.1:8080

With a `ws` URL it negotiates over a WebSocket, where candidates follow as they are found; with an `http` URL it offers
as JSON by `POST /offer`, with all candidates, and the response is the answer.
"""

import argparse
import json
import statistics
import urllib.request

import trio

from trio_webrtc import DataChannel, PeerConnection, SessionDescription, open_peer_connection
from trio_webrtc.signaling import negotiate, open_websocket_signaling

PINGS = 200
SECONDS = 2.0
MESSAGE_SIZE = 65_536
TIMEOUT = 30.0


async def measure(url: str) -> None:
    """Connect to the echo server at `url`, measure, print what was found, and say goodbye."""
    async with open_peer_connection() as peer:
        channel = peer.create_data_channel("measurement")
        if url.startswith("ws"):
            async with open_websocket_signaling(url) as signaling, negotiate(peer, signaling, polite=False):
                await measure_channel(peer, channel)
        else:
            await exchange_descriptions(url, peer)
            await measure_channel(peer, channel)


async def measure_channel(peer: PeerConnection, channel: DataChannel) -> None:
    """Measure as soon as there is a connection."""
    with trio.fail_after(TIMEOUT):
        await peer.wait_connected()
    round_trips = await measure_round_trips(channel)
    median, high = statistics.median(round_trips), statistics.quantiles(round_trips, n=20)[-1]
    print(f"round trip: {median * 1e3:.2f} ms median, 95 of 100 within {high * 1e3:.2f} ms")
    echoed, seconds = await measure_throughput(channel)
    print(f"throughput: {echoed / seconds / 1e6:.1f} MB/s each way ({echoed / 1e6:.1f} MB in {seconds:.2f} s)")


async def exchange_descriptions(url: str, peer: PeerConnection) -> None:
    """Offer by HTTP, and take the answer."""
    await peer.set_local_description()
    await peer.wait_gathering_complete()  # no trickling: the offer carries every candidate
    assert peer.local_description is not None
    await peer.set_remote_description(await exchange(url, peer.local_description))


async def exchange(url: str, offer: SessionDescription) -> SessionDescription:
    """Post the offer, and give back the answer that came in response."""
    request = urllib.request.Request(
        url.rstrip("/") + "/offer",
        data=json.dumps(offer.as_dict()).encode(),
        headers={"Content-Type": "application/json"},
    )

    def post() -> SessionDescription:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # UDP would not pass a proxy either
        with direct.open(request, timeout=TIMEOUT) as response:
            return SessionDescription.from_dict(json.load(response))

    return await trio.to_thread.run_sync(post, abandon_on_cancel=True)


async def measure_round_trips(channel: DataChannel) -> list[float]:
    """Send small messages one after the other; gives the seconds that each took to come back."""
    round_trips = []
    for number in range(PINGS):
        start = trio.current_time()
        await channel.send(f"ping {number}")
        if await channel.receive() != f"ping {number}":
            raise RuntimeError("an echo came back changed")
        round_trips.append(trio.current_time() - start)
    return round_trips


async def measure_throughput(channel: DataChannel) -> tuple[int, float]:
    """Send as fast as the channel takes it; gives the bytes that came back and the seconds it took."""
    message = bytes(min(MESSAGE_SIZE, channel.max_message_size or MESSAGE_SIZE))
    start = trio.current_time()

    async def send() -> None:
        while trio.current_time() < start + SECONDS:
            await channel.send(message)
        await channel.send("end")

    echoed = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        while (echo := await channel.receive()) != "end":
            echoed += len(echo)
    return echoed, trio.current_time() - start


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description="Measure an echo server over a WebRTC data channel.")
    parser.add_argument("url", nargs="?", default="ws://127.0.0.1:8081", help="the server (default: %(default)s)")
    trio.run(measure, parser.parse_args().url)


if __name__ == "__main__":
    main()
