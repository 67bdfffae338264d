"""Debian's coturn as the STUN server, asked by real sockets; what stands between them and it is played."""

import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from trio_webrtc import Configuration, IceServer, PeerConnection, open_peer_connection
from trio_webrtc.core.contract import Address
from trio_webrtc.shell.host import HostNetwork
from trio_webrtc.shell.network import Interface
from trio_webrtc.shell.udp import KernelUdpSocket

STARTING_TIME = 10.0


class InsideNetwork(HostNetwork):
    """The host's network as it looks from behind a NAT: its own address is one that nobody outside knows."""

    def __init__(self, inside: str) -> None:
        self._inside = inside

    def interfaces(self) -> list[Interface]:
        return [Interface("inside", self._inside)]

    def open_udp(self, address: Address) -> KernelUdpSocket:
        bound = super().open_udp(("127.0.0.1", address[1]))
        bound.local_address = (self._inside, bound.local_address[1])
        return bound


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def open_coturn(program: str, folder: Path) -> AsyncIterator[int]:
    """Run coturn for STUN alone on a free port of the loopback; gives the port, and ends it by its process."""
    port = free_port()
    options = ["--stun-only", "--no-auth", "--no-cli", "--no-tls", "--no-dtls", "--no-tcp", "--no-rfc5780"]
    files = [f"--pidfile={folder / 'pid'}", f"--userdb={folder / 'db'}", "--log-file=stdout"]
    process = await trio.lowlevel.open_process(
        [program, "-n", *options, *files, "--listening-ip=127.0.0.1", f"--listening-port={port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield port
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


@pytest.fixture
async def stun_server(require, tmp_path):
    """The URL of a running coturn."""
    program = require(shutil.which("turnserver"), "coturn is not installed")
    async with open_coturn(program, tmp_path) as port:
        url = f"stun:127.0.0.1:{port}"
        with trio.fail_after(STARTING_TIME):
            while not await finds_itself(url):
                await trio.sleep(0.1)
        yield url


async def finds_itself(url: str) -> bool:
    async with open_peer_connection(behind(url), network=InsideNetwork("10.1.1.1")) as peer:
        peer.create_data_channel("any")
        await peer.set_local_description()
        with trio.move_on_after(1.0):
            await peer.wait_gathering_complete()
            return "typ srflx" in peer.local_description.sdp
    return False


def behind(url: str) -> Configuration:
    return Configuration(ice_servers=[IceServer(url)])


async def described(peer: PeerConnection):
    await peer.set_local_description()
    await peer.wait_gathering_complete()
    return peer.local_description


async def test_coturn_tells_how_the_outside_sees_us(stun_server):
    async with open_peer_connection(behind(stun_server), network=InsideNetwork("10.1.1.1")) as peer:
        peer.create_data_channel("any")
        (line,) = [line for line in (await described(peer)).sdp.splitlines() if "typ srflx" in line]
        words = line.split()
        assert words[4] == "127.0.0.1"
        assert words[words.index("raddr") + 1] == "10.1.1.1"
        assert words[words.index("rport") + 1] == words[5]


async def test_peers_that_know_each_other_by_coturn_alone_connect(stun_server):
    with trio.fail_after(20):
        async with (
            open_peer_connection(behind(stun_server), network=InsideNetwork("10.1.1.1")) as caller,
            open_peer_connection(behind(stun_server), network=InsideNetwork("10.2.2.2")) as callee,
        ):
            near = caller.create_data_channel("through")
            await callee.set_remote_description(await described(caller))
            await caller.set_remote_description(await described(callee))
            await near.send(b"x" * 100_000)
            far = await callee.incoming_data_channels.receive()
            assert await far.receive() == b"x" * 100_000
            assert caller.selected_candidate_pair.remote.host == "127.0.0.1"
