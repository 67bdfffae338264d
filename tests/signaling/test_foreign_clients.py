"""The signalling server, and the clients of people who have never heard of it."""

import asyncio
import json
import os
import ssl
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import trio
from trio_websocket import ConnectionClosed
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedOK, InvalidStatus

from trio_webrtc.shell.accepting import Guest, Reception, ReceptionLimits
from trio_webrtc.signaling.entrance import Entrance
from trio_webrtc.signaling.sockets import ClientConnection, open_listening_sockets

from .serving import running_server, url, wait_until_idle


def in_asyncio(function, *args):
    """What an asyncio program does, in a thread of its own."""
    return trio.to_thread.run_sync(asyncio.run, function(*args))


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_the_client_of_websockets_is_served(secure, tls):
    async def be_a_client(target: str, context: ssl.SSLContext | None) -> None:
        # It offers compression, splits messages as it likes, and pings.
        async with connect(target, ssl=context, subprotocols=["webrtc"], ping_interval=0.05) as websocket:
            assert websocket.subprotocol == "webrtc"
            for length in (0, 125, 126, 65_535, 65_536, 200_000):
                offer = {"type": "offer", "sdp": "v=0\r\n" + "x" * length}
                text = json.dumps(offer)
                await websocket.send([text[:10], text[10:60], text[60:]])
                assert json.loads(await websocket.recv()) == offer
            await asyncio.sleep(0.2)
            assert websocket.latency > 0
            await websocket.close(code=4321, reason="done")

    security = tls if secure else None
    async with running_server(tls=security, subprotocol="webrtc") as server:
        with trio.fail_after(30):
            await in_asyncio(be_a_client, url(server, security), tls.client if secure else None)
        await wait_until_idle(server)
        assert server.get_stats().refused == {}


async def test_the_client_of_websockets_understands_how_it_is_sent_away():
    async def be_refused(target: str) -> int:
        with pytest.raises(InvalidStatus) as caught:
            async with connect(target):
                pass
        return caught.value.response.status_code

    async def be_dismissed(target: str, message: str | bytes) -> tuple[int, str]:
        async with connect(target) as websocket:
            await websocket.send(message)
            await websocket.wait_closed()
            return websocket.close_code, websocket.close_reason

    def refuse(request):
        return None if request.target == "/" else 404

    async with running_server(refuse=refuse) as server:
        assert await in_asyncio(be_refused, url(server, path="/elsewhere")) == 404
        assert (await in_asyncio(be_dismissed, url(server), b"binary"))[0] == 1003
        assert (await in_asyncio(be_dismissed, url(server), "no JSON"))[0] == 1007
        assert (await in_asyncio(be_dismissed, url(server), '{"type": "answer"}'))[0] == 1008
        assert (await in_asyncio(be_dismissed, url(server), '"' + "x" * 300_000))[0] == 1009


async def test_the_client_of_websockets_is_told_of_the_servers_end():
    connected = trio.Event()

    async def handler(signaling):
        connected.set()
        await trio.sleep_forever()

    async def be_a_client(target: str) -> int:
        async with connect(target) as websocket:
            with pytest.raises(ConnectionClosedOK):  # which 1001 is
                await websocket.recv()
            return websocket.close_code

    codes = []
    async with running_server(handler) as server:

        async def collect() -> None:
            codes.append(await in_asyncio(be_a_client, url(server)))

        async with trio.open_nursery() as clients:
            clients.start_soon(collect)
            await connected.wait()
            await server.aclose()
    assert codes == [1001]


# -- the Autobahn testsuite --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def wstest(require) -> str:
    """The Autobahn testsuite's program, which wants Python 2."""
    program = os.environ.get("TRIO_WEBRTC_WSTEST")
    if program == "none":
        pytest.skip("the Autobahn testsuite wants Python 2, which the machine cannot have")
    return require(program, "TRIO_WEBRTC_WSTEST does not name the Autobahn testsuite's wstest")


async def echo_anything(entrance: Entrance, connection: ClientConnection, guest: Guest) -> None:
    """What the testsuite wants to talk to: it sends no signalling."""
    client = await entrance.let_in(connection, guest)
    async with trio.open_nursery() as nursery:
        websocket = await client.shake_hands(nursery)
        try:
            while True:
                await websocket.send_message(await websocket.get_message())
        except ConnectionClosed:
            pass
        await websocket.aclose()


async def test_autobahn_finds_the_server_to_keep_to_rfc_6455(wstest, tmp_path: Path, nursery):
    """All cases but those of limits and speed (9), and of compression, which is not offered (12 and 13)."""
    entrance = Entrance(
        ssl_context=None,
        subprotocol=None,
        max_message_size=1024 * 1024,
        health_path=None,
        health=lambda: pytest.fail("nobody asks"),
        refuse=None,
    )
    (socket,) = await open_listening_sockets("127.0.0.1", 0)
    reception = Reception[ClientConnection](name="echo", limits=ReceptionLimits())
    nursery.start_soon(reception.serve, socket, partial(echo_anything, entrance))
    specification = {
        "outdir": str(tmp_path),
        "servers": [{"agent": "trio-webrtc", "url": "ws://{}:{}".format(*socket.local_address)}],
        "cases": ["*"],
        "exclude-cases": ["9.*", "12.*", "13.*"],
        "exclude-agent-cases": {},
    }
    (tmp_path / "specification.json").write_text(json.dumps(specification))
    command = [wstest, "-m", "fuzzingclient", "-s", str(tmp_path / "specification.json")]
    with trio.fail_after(300):
        await trio.run_process(command, cwd=tmp_path, capture_stdout=True, capture_stderr=True)
    results = json.loads((tmp_path / "index.json").read_text())["trio-webrtc"]
    behaviour = Counter(result["behavior"] for result in results.values())
    print(dict(behaviour))
    assert len(results) == 247
    # Not strict: what came in one read with an error, and before it, is not echoed before the connection is failed.
    acceptable = {"OK", "NON-STRICT", "INFORMATIONAL"}
    assert {result["behavior"] for result in results.values()} <= acceptable
    assert {result["behaviorClose"] for result in results.values()} <= acceptable - {"NON-STRICT"}
    assert behaviour["NON-STRICT"] <= 12
    socket.close()
