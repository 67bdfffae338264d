"""The echo example's Python side: its self-test, its client against its server, and how Ctrl-C ends it."""

import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import AsyncExitStack

import pytest
import trio

import echo_client
from trio_webrtc import CloseReason, SessionDescription, open_peer_connection
from trio_webrtc.signaling import Bye, negotiate, open_websocket_signaling

from .echo_server_process import EXAMPLES, open_echo_server

PATIENCE = 30.0


async def run_example(*arguments: str) -> str:
    """Run a program of examples/ to its end; gives what it printed."""
    with trio.fail_after(PATIENCE):
        finished = await trio.run_process(
            [sys.executable, *arguments], cwd=EXAMPLES, capture_stdout=True, stderr=subprocess.STDOUT, check=False
        )
    printed = finished.stdout.decode()
    assert finished.returncode == 0, printed
    return printed


async def test_the_self_test_measures_and_exits_with_zero():
    printed = await run_example("echo_server.py", "--self-test")
    assert printed.count("round trip: ") == printed.count("throughput: ") == 2  # by POST and by WebSocket
    assert {"peer 1: gone", "peer 2: gone"} <= set(printed.splitlines())


async def test_the_client_measures_a_server_that_runs_elsewhere():
    async with open_echo_server() as server:
        for number, url in enumerate((server.url, server.signalling_url), start=1):
            assert "throughput: " in await run_example("echo_client.py", url)
            await server.wait_printed(f"peer {number}: gone")


async def test_a_port_that_is_taken_is_told_in_one_line():
    async with open_echo_server() as server:
        port = server.url.rpartition(":")[2]
        command = [sys.executable, str(EXAMPLES / "echo_server.py"), "--port", port, "--signalling-port", "0"]
        finished = await trio.run_process(command, capture_stderr=True, check=False)
    assert finished.returncode == 1
    assert finished.stderr.decode().startswith(f"Cannot serve on 127.0.0.1, ports {port} and 0: ")
    assert finished.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"type": "offer", "sdp": "v=0"}', b'{"type": "answer", "sdp": ""}']
)
async def test_an_offer_that_is_none_is_turned_down_and_the_server_goes_on(body):
    def post() -> int:
        with pytest.raises(urllib.error.HTTPError) as refusal, urllib.request.urlopen(f"{server.url}/offer", body):
            pass
        refusal.value.close()
        return refusal.value.code

    async with open_echo_server() as server:
        assert await trio.to_thread.run_sync(post) == 400
        code, printed = await server.interrupt()
    assert code == 0
    assert "Traceback" not in printed


async def test_a_websocket_that_is_lost_takes_no_echo_with_it():
    async with open_echo_server() as server, open_peer_connection() as peer:
        channel = peer.create_data_channel("talk")
        with trio.fail_after(PATIENCE):
            async with (
                open_websocket_signaling(server.signalling_url) as signaling,
                negotiate(peer, signaling, polite=False),
            ):
                await channel.send("hello")
                assert await channel.receive() == "hello"
            await channel.send("still there?")
            assert await channel.receive() == "still there?"


async def test_what_is_no_offer_is_answered_by_a_bye_and_the_server_goes_on():
    async with open_echo_server() as server:
        with trio.fail_after(PATIENCE):
            async with open_websocket_signaling(server.signalling_url) as signaling:
                await signaling.send(SessionDescription("offer", "v=0"))
                assert isinstance(await signaling.receive(), Bye)
            assert "throughput: " in await run_example("echo_client.py", server.signalling_url)
            code, printed = await server.interrupt()
    assert code == 0
    assert "Traceback" not in printed


@pytest.mark.parametrize("way", ["post", "websocket"])
async def test_ctrl_c_closes_every_peer_with_its_alerts_before_the_server_exits(way: str):
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(open_echo_server())
        stack.enter_context(trio.fail_after(PATIENCE))
        peer = await stack.enter_async_context(open_peer_connection())
        channel = peer.create_data_channel("talk")
        if way == "post":
            await echo_client.exchange_descriptions(server.url, peer)
        else:
            signaling = await stack.enter_async_context(open_websocket_signaling(server.signalling_url))
            await stack.enter_async_context(negotiate(peer, signaling, polite=False))
        await channel.send("hello")
        assert await channel.receive() == "hello"

        before = trio.current_time()
        code, printed = await server.interrupt()
        assert await peer.wait_closed() is CloseReason.REMOTE
        assert trio.current_time() - before < 2.0
        assert code == 0
        assert printed.splitlines()[-1] == "peer 1: gone"
        assert "Traceback" not in printed
