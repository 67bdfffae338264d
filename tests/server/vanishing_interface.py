"""Run in network and mount namespaces of its own: a server on wildcards loses an interface, and gets it back.

Its peers are this same program in network namespaces at the other ends of two pairs of virtual interfaces (veth(4)),
and echo. Prints what a test wants to see; exits with 77 where the machine does not allow that.
"""

import json
import logging
import subprocess
import sys
from typing import NamedTuple

import trio

from trio_webrtc import (
    Configuration,
    DataChannel,
    IceSettings,
    ListenAddress,
    PeerConnection,
    SessionDescription,
    WebRtcServer,
    open_peer_connection,
    open_webrtc_server,
)

SIDES = {"left": 1, "right": 2}
LISTEN = (ListenAddress("udp", "0.0.0.0", 5000), ListenAddress("tcp", "0.0.0.0", 5000))
IMPATIENT = Configuration(ice=IceSettings(lite_silence=1.5), linger=0.2, close_timeout=0.2)
ATTENTIVE = Configuration(ice=IceSettings(consent_interval=0.5))


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def build_network() -> None:
    # Where ip(8) keeps names.
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True, capture_output=True)
    ip("link", "set", "lo", "up")
    for side in SIDES:
        ip("netns", "add", side)
        ip("-n", side, "link", "set", "lo", "up")
        add_interface(side)
    ip("route", "add", "default", "via", "10.9.2.2")  # as hosts have one, the last resort when an interface has gone


def add_interface(side: str) -> None:
    number = SIDES[side]
    ip("link", "add", f"to-{side}", "type", "veth", "peer", "name", "back", "netns", side)
    ip("address", "add", f"10.9.{number}.1/24", "dev", f"to-{side}")
    ip("link", "set", f"to-{side}", "up")
    ip("-n", side, "address", "add", f"10.9.{number}.2/24", "dev", "back")
    ip("-n", side, "link", "set", "back", "up")


def remove_interface(side: str) -> None:
    ip("link", "delete", f"to-{side}")


def only(transport: str, description: SessionDescription) -> SessionDescription:
    lines = description.sdp.split("\r\n")
    kept = [line for line in lines if not line.startswith("a=candidate:") or f" {transport} " in line.lower()]
    return SessionDescription(description.type, "\r\n".join(kept))


# -- a client --------------------------------------------------------------------------------------------------------


async def echo_for_ever(transport: str) -> None:
    """Offer a channel, take the answer, and return what comes."""
    async with open_peer_connection(ATTENTIVE) as client:
        channel = client.create_data_channel("echo")
        await client.set_local_description()
        await client.wait_gathering_complete()
        print(json.dumps(client.local_description.as_dict()), flush=True)
        answer = SessionDescription.from_dict(json.loads(await trio.to_thread.run_sync(sys.stdin.readline)))
        await client.set_remote_description(only(transport, answer))
        async for message in channel:
            await channel.send(message)


# -- the server ------------------------------------------------------------------------------------------------------


class Guest(NamedTuple):
    """The server's end of a connection."""

    peer: PeerConnection
    channel: DataChannel


class Host:
    """The server, and the tasks that look after its peers."""

    def __init__(self, server: WebRtcServer, nursery: trio.Nursery) -> None:
        self._server = server
        self._nursery = nursery

    async def meet(self, side: str, transport: str) -> Guest:
        """Have a client come from a side."""
        with trio.fail_after(10):
            return await self._nursery.start(self._attend, side, transport)

    async def _attend(self, side: str, transport: str, *, task_status: trio.TaskStatus[Guest]) -> None:
        command = ["ip", "netns", "exec", side, sys.executable, __file__, transport]
        client = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            async with self._server.open_peer_connection() as peer:
                await peer.set_remote_description(await self._offer_of(client))
                await peer.set_local_description()
                await peer.wait_gathering_complete()
                await client.stdin.send_all(json.dumps(peer.local_description.as_dict()).encode() + b"\n")
                task_status.started(Guest(peer, await peer.incoming_data_channels.receive()))
                await peer.wait_closed()
        finally:
            client.kill()

    async def _offer_of(self, client: trio.Process) -> SessionDescription:
        line = b""
        while not line.endswith(b"\n"):
            line += await client.stdout.receive_some()
        return SessionDescription.from_dict(json.loads(line))

    async def meet_all(self, side: str) -> list[Guest]:
        return [await self.meet(side, transport) for transport in ("udp", "tcp")]


async def all_echo(guests: list[Guest]) -> None:
    with trio.fail_after(2):
        for peer, channel in guests:
            await channel.send("still there?")
            assert await channel.receive() == "still there?"
            assert peer.connection_state == "connected"


async def lose_an_interface() -> None:
    async with open_webrtc_server(*LISTEN, configuration=IMPATIENT) as server, trio.open_nursery() as nursery:
        host = Host(server, nursery)
        left, right = await host.meet_all("left"), await host.meet_all("right")
        await all_echo(left + right)
        print("both sides are served")

        remove_interface("left")
        for _, channel in left:
            await channel.send(bytes(20_000))
        await all_echo(right)
        print("one side is gone, the other is served")
        with trio.fail_after(10):
            async for state in left[0].peer.connection_states():
                if state == "disconnected":
                    break
        more = await host.meet_all("right")
        await all_echo(right + more)
        assert len(server.addresses) == 2
        print("newcomers are served")

        add_interface("left")
        again = await host.meet_all("left")
        await all_echo(right + more + again)
        print("both sides are served again")
        await server.aclose()
        nursery.cancel_scope.cancel()
    print("gone")


def main() -> None:
    if sys.argv[1:]:
        trio.run(echo_for_ever, sys.argv[1])
        return
    try:
        build_network()
    except (OSError, subprocess.CalledProcessError) as error:
        print(error, getattr(error, "stderr", ""))
        sys.exit(77)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    trio.run(lose_an_interface)


if __name__ == "__main__":
    main()
