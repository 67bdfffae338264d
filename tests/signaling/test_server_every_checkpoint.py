"""A signalling server that is cancelled at any step: nothing stays, and whoever had a WebSocket is told."""

from functools import partial

import pytest
import trio
from websockets.frames import Opcode

from trio_webrtc.signaling import serve_websocket_signaling

from ..lifecycle.checkpoints import cancel_at_step, library_steps
from ..surface.quiescence import descriptors, nothing_stays_behind, tasks
from .serving import ForeignClient, echo

HELLO = '{"bye":"hello"}'

EXPECTED = [[], ["no answer"], ["no goodbye"], ["welcome", 1001], ["welcome", HELLO, 1001]]
"""What a client may see: no server, or the end before it has its WebSocket, or else a goodbye."""


async def visit(address, ssl_context, outcome: list[str | int], done: trio.Event) -> None:
    """Connect, say something, hear it, and stay until the server ends; what came of it is the outcome."""
    client = None
    try:
        client = await ForeignClient.open(address, ssl_context)
        if client.response is None:
            outcome.append("no answer")
            return
        assert client.response.status_code == 101
        outcome.append("welcome")
        await client.send_text(HELLO)
        while outcome[-1:] != [1001]:
            frame = await client.hear()
            is_close = frame.opcode is Opcode.CLOSE
            outcome.append(int.from_bytes(frame.data[:2], "big") if is_close else frame.data.decode())
            done.set()
    except (OSError, trio.BrokenResourceError, EOFError):
        outcome.append("no goodbye")
    finally:
        done.set()
        if client is not None:
            client.tcp.socket.close()


async def cancel_server_at(chosen: int | None, security) -> tuple[int, list[str | int]]:
    """How many steps the server took, and what its client saw."""
    outcome: list[str | int] = []
    serve = partial(serve_websocket_signaling, echo, "127.0.0.1", 0, ssl_context=security.server if security else None)
    with trio.fail_after(5):
        async with trio.open_nursery() as outer:
            done = trio.Event()
            with cancel_at_step(library_steps(), chosen) as instrument:
                async with trio.open_nursery() as nursery:
                    server = await nursery.start(serve)
                    context = security.client if security is not None else None
                    outer.start_soon(visit, server.addresses[0], context, outcome, done)
                    await done.wait()
                    await server.aclose()
    return instrument.steps, outcome


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_a_server_cancelled_at_any_step_leaves_nothing_and_says_goodbye(secure, tls):
    security = tls if secure else None
    steps, outcome = await cancel_server_at(None, security)
    assert outcome == ["welcome", HELLO, 1001]
    assert steps > 20
    outcomes = []
    with nothing_stays_behind():
        before = tasks(), descriptors()
        for step in range(steps + 10):
            _, outcome = await cancel_server_at(step, security)
            outcomes.append(outcome)
            assert outcome in EXPECTED, f"cancelled at step {step}"
            assert (tasks(), descriptors()) == before, f"cancelled at step {step}"
    assert all(expected in outcomes for expected in ([], ["welcome", 1001], ["welcome", HELLO, 1001]))
