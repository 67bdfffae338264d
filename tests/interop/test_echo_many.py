"""The example for many peers, and its clients by UDP and TCP."""

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

import echo_client
from trio_webrtc import CloseReason, open_peer_connection
from trio_webrtc.signaling import negotiate, open_websocket_signaling

from .example_process import EXAMPLES, ExampleProcess, open_example

PATIENCE = 30.0
WHERE = re.compile(r"Signalling on port (\d+), peers on udp port (\d+), tcp port (\d+)\.")
ANY_PORTS = ("--host", "127.0.0.1", "--port", "0", "--signalling-port", "0")


@asynccontextmanager
async def open_echo_many() -> AsyncIterator[tuple[ExampleProcess, str, tuple[int, int]]]:
    """The running example, the URL of its signalling, and its two ports."""
    async with open_example("echo_many.py", *ANY_PORTS) as program:
        with trio.fail_after(PATIENCE):
            signalling, udp, tcp = map(int, WHERE.search(await program.wait_printed("Ctrl-C ")).groups())
        yield program, f"ws://127.0.0.1:{signalling}", (udp, tcp)


async def test_all_clients_are_met_on_the_same_two_ports():
    async with open_echo_many() as (program, url, ports):

        async def visit() -> None:
            async with (
                open_peer_connection() as peer,
                open_websocket_signaling(url) as signaling,
                negotiate(peer, signaling, polite=False),
                peer.create_data_channel("greeting") as channel,
            ):
                await channel.send("hello")
                assert await channel.receive() == "hello"
                assert peer.selected_candidate_pair.remote.port in ports

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as visitors:
                for _ in range(8):
                    visitors.start_soon(visit)
            await program.wait_printed("a peer less: 0 now")
            await echo_client.measure(url)
        code, printed = await program.interrupt()
    assert code == 0
    assert "Traceback" not in printed


async def test_ctrl_c_closes_every_peer_with_its_alerts():
    async with (
        open_echo_many() as (program, url, _),
        open_peer_connection() as peer,
        open_websocket_signaling(url) as signaling,
        negotiate(peer, signaling, polite=False),
        peer.create_data_channel("greeting") as channel,
    ):
        with trio.fail_after(PATIENCE):
            await channel.send("hello")
            assert await channel.receive() == "hello"
            code, printed = await program.interrupt()
            assert await peer.wait_closed() is CloseReason.REMOTE
        assert code == 0
        assert printed.splitlines()[-1] == "a peer less: 0 now"


async def test_a_port_that_is_taken_is_told_in_one_line():
    async with open_echo_many() as (_, _, (udp, _)):
        command = [sys.executable, str(EXAMPLES / "echo_many.py"), "--host", "127.0.0.1", "--port", str(udp)]
        finished = await trio.run_process(command, capture_stderr=True, check=False, stdout=subprocess.DEVNULL)
    assert finished.returncode == 1
    assert f"udp 127.0.0.1 port {udp}" in finished.stderr.decode()
    assert finished.stderr.count(b"\n") == 1
