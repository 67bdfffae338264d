"""Run in network and mount namespaces of its own: an interface goes away under a connection, and comes back.

The peer is this same program in a second network namespace, at the other end of a pair of virtual interfaces (veth(4)),
and echoes. Prints what a test wants to see; exits with 77 where the machine does not allow that.
"""

import json
import subprocess
import sys

import trio

from trio_webrtc import Configuration, DataChannel, PeerConnection, SessionDescription, open_peer_connection
from trio_webrtc.core.ice import IceSettings

NAMESPACE = "echoing"
IMPATIENT = Configuration(ice=IceSettings(consent_interval=0.5, consent_silence=1.0, consent_lifetime=4.0))


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def build_network() -> None:
    subprocess.run(
        ["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True, capture_output=True
    )  # where ip(8) keeps names
    ip("link", "set", "lo", "up")
    ip("netns", "add", NAMESPACE)
    ip("link", "add", "near", "type", "veth", "peer", "name", "far", "netns", NAMESPACE)
    ip("address", "add", "10.9.0.1/24", "dev", "near")
    ip("link", "set", "near", "up")
    ip("-n", NAMESPACE, "address", "add", "10.9.0.2/24", "dev", "far")
    ip("-n", NAMESPACE, "link", "set", "far", "up")


async def described(peer: PeerConnection) -> SessionDescription:
    await peer.set_local_description()
    await peer.wait_gathering_complete()
    return peer.local_description


async def echo_for_ever() -> None:
    """Answer every line, which is an offer, and echo on the channel."""
    async with open_peer_connection(IMPATIENT) as peer, trio.open_nursery() as nursery:

        async def echo() -> None:
            channel = await peer.incoming_data_channels.receive()
            async for message in channel:
                await channel.send(message)
            nursery.cancel_scope.cancel()

        nursery.start_soon(echo)
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            await peer.set_remote_description(SessionDescription.from_dict(json.loads(line)))
            print(json.dumps((await described(peer)).as_dict()), flush=True)


class Story:
    """What is tried, from the side that loses its interface."""

    def __init__(self, peer: PeerConnection, process: trio.Process) -> None:
        self.peer, self._process = peer, process
        self._answers = b""
        self.sent = self.returned = 0

    async def negotiate(self) -> None:
        offer = json.dumps((await described(self.peer)).as_dict())
        await self._process.stdin.send_all(offer.encode() + b"\n")
        while b"\n" not in self._answers:
            self._answers += await self._process.stdout.receive_some()
        line, _, self._answers = self._answers.partition(b"\n")
        await self.peer.set_remote_description(SessionDescription.from_dict(json.loads(line)))

    async def send(self, channel: DataChannel) -> None:
        while True:
            await channel.send(str(self.sent))
            self.sent += 1
            await trio.sleep(0.01)

    async def receive(self, channel: DataChannel) -> None:
        while True:
            assert await channel.receive() == str(self.returned)
            self.returned += 1

    async def wait_state(self, state: str) -> None:
        with trio.fail_after(15):
            async for found in self.peer.connection_states():
                if found == state:
                    print(state)
                    return

    async def wait_echoed(self) -> None:
        goal = self.sent
        with trio.fail_after(15):
            while self.returned < goal:
                await trio.sleep(0.01)
        print("all echoed")


async def lose_the_interface() -> None:
    process = await trio.lowlevel.open_process(
        ["ip", "netns", "exec", NAMESPACE, sys.executable, __file__, "echo"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    async with open_peer_connection(IMPATIENT) as peer, trio.open_nursery() as nursery:
        channel = peer.create_data_channel("echo")
        story = Story(peer, process)
        await story.negotiate()
        await story.wait_state("connected")
        await channel.wait_open()
        nursery.start_soon(story.send, channel)
        nursery.start_soon(story.receive, channel)
        await trio.sleep(0.5)
        await story.wait_echoed()

        ip("link", "set", "near", "down")
        await story.wait_state("disconnected")
        ip("link", "set", "near", "up")
        await story.wait_state("connected")
        await story.wait_echoed()

        ip("link", "set", "near", "down")
        await story.wait_state("failed")
        ip("link", "set", "near", "up")
        peer.restart_ice()
        await story.negotiate()
        await story.wait_state("connected")
        await story.wait_echoed()
        nursery.cancel_scope.cancel()
    with trio.fail_after(10):
        await process.wait()
    print("gone")


def main() -> None:
    if sys.argv[1:] == ["echo"]:
        trio.run(echo_for_ever)
        return
    try:
        build_network()
    except (OSError, subprocess.CalledProcessError) as error:
        print(error, getattr(error, "stderr", ""))
        sys.exit(77)
    trio.run(lose_the_interface)


if __name__ == "__main__":
    main()
