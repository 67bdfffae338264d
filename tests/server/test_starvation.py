"""A server without descriptors, in a process of its own, keeps its peers, does not spin, and is soon back."""

import json
import os
import resource
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from trio_webrtc import DataChannel, SessionDescription, open_peer_connection

from .aiming import using
from .conftest import only

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class StarvingServer:
    """The process, and what the test has to say to it."""

    def __init__(self) -> None:
        script = Path(__file__).parent / "starving_server.py"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, str(script)], encoding="utf-8", **pipes)
        self.address = ("127.0.0.1", int(self.process.stdout.readline()))

    def cpu_seconds(self) -> float:
        """What it has used of a processor so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _answer(self, offer: SessionDescription) -> SessionDescription:
        self.process.stdin.write(json.dumps(offer.as_dict()) + "\n")
        self.process.stdin.flush()
        return SessionDescription.from_dict(json.loads(self.process.stdout.readline()))

    @asynccontextmanager
    async def join(self, transport: str) -> AsyncIterator[DataChannel]:
        """Connect, with a channel on which everything comes back."""
        async with open_peer_connection(using("127.0.0.1")) as client:
            channel = client.create_data_channel("echo")
            await client.set_local_description()
            await client.wait_gathering_complete()
            answer = await trio.to_thread.run_sync(self._answer, client.local_description)
            await client.set_remote_description(only(transport, answer))
            await channel.wait_open()
            yield channel

    def finish(self) -> str:
        """End it; what it wrote into its log."""
        _, log = self.process.communicate(timeout=20)
        assert self.process.returncode == 0, log
        return log


@pytest.fixture
def starving_server(require):
    require(sys.platform == "linux", "this system has no /proc")
    require(resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 300, "too few descriptors for a crowd")
    server = StarvingServer()
    yield server
    server.process.kill()
    server.process.wait()


async def echoes(channel: DataChannel) -> None:
    await channel.send("still there?")
    assert await channel.receive() == "still there?"


async def test_without_descriptors_it_keeps_its_peers_does_not_spin_and_is_back_within_a_second(starving_server):
    """F2, F7, F8: once they have run out, accept(2) fails at once and for ever, and the listener is readable."""
    server = starving_server
    async with server.join("udp") as by_udp, server.join("tcp") as by_tcp:
        crowd = [socket.create_connection(server.address) for _ in range(100)]
        await trio.sleep(0.5)
        used, began = server.cpu_seconds(), time.monotonic()
        await trio.sleep(3)
        share = (server.cpu_seconds() - used) / (time.monotonic() - began)
        print(f"{share:.1%} of a core without descriptors")
        assert share < 0.05
        with trio.fail_after(1):
            await echoes(by_udp)
            await echoes(by_tcp)
        with trio.fail_after(5):
            async with server.join("udp") as newcomer:  # who needs none
                await echoes(newcomer)
        for silent in crowd:
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            silent.close()
        began = time.monotonic()
        async with server.join("tcp") as newcomer:
            await echoes(newcomer)
            print(f"served {time.monotonic() - began:.2f} s after there was room again")
            assert time.monotonic() - began < 1
        await echoes(by_tcp)
    log = await trio.to_thread.run_sync(server.finish)
    assert log.count("accepts nothing until there is room again (Too many open files)") == 1
    assert log.count("accepts again") == 1
    assert "Traceback" not in log
