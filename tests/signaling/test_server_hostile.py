"""The hostile matrix: whatever clients do, the next good one is served at once, and nothing of them is left."""

import gc
import logging

import pytest
import trio

from trio_webrtc.shell.accepting import ReceptionLimits

from ..surface.quiescence import descriptors, tasks
from .mischief import MISCHIEF, STAYING, close_and_then_go_on, come_and_stay_silent
from .serving import DEADLINE, PATIENCE, RawClient, assert_serves, running_server, wait_until_idle

TIMES = 20
"""How often each kind of client comes, all at one time."""


def limits_for(misbehave) -> ReceptionLimits:
    """A short deadline for those who stay until it is over; for others none that a busy machine could miss."""
    return ReceptionLimits(deadline=DEADLINE if misbehave in STAYING else PATIENCE)


@pytest.fixture(params=["plain", "tls"])
def security(request, tls):
    """None, or both sides of TLS."""
    return tls if request.param == "tls" else None


@pytest.mark.parametrize("misbehave", MISCHIEF, ids=lambda client: client.__name__)
async def test_whatever_clients_do_the_next_one_is_served_and_nothing_is_left(misbehave, security, caplog):
    """F1, F3, F4, B12: a bare `serve_websocket` dies of some of these, with everybody on it."""
    caplog.set_level(logging.INFO, logger="trio_webrtc")
    async with running_server(tls=security, close_timeout=0.2, limits=limits_for(misbehave)) as server:
        await assert_serves(server, security)
        await wait_until_idle(server)
        before = descriptors(), tasks()
        with trio.fail_after(2 * PATIENCE):
            async with trio.open_nursery() as nursery:
                for _ in range(TIMES):
                    nursery.start_soon(misbehave, server.addresses[0], security)
        await assert_serves(server, security)
        await wait_until_idle(server)
        gc.collect()
        assert (descriptors(), tasks()) == before
        assert server.get_stats().accepted == TIMES + 2
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_every_client_sent_away_is_one_log_line_with_its_address_and_the_reason(caplog):
    caplog.set_level(logging.INFO, logger="trio_webrtc")
    for misbehave in MISCHIEF:
        caplog.clear()
        async with running_server(close_timeout=0.2, limits=limits_for(misbehave)) as server:
            await misbehave(server.addresses[0], None)
            await wait_until_idle(server)
            ((reason, count),) = server.get_stats().refused.items() or [("nothing", 1)]
        lines = [record.message for record in caplog.records if "127.0.0.1 port" in record.message.partition(": ")[2]]
        print(f"{misbehave.__name__}: {reason}, {lines}")
        assert count == 1
        assert len(lines) == (misbehave is not close_and_then_go_on)
        assert all(line.isprintable() and len(line) < 400 for line in lines)


async def test_a_thousand_silent_clients_at_once_keep_nobody_out(security):
    """F8: there is a place for who comes last, and all descriptors come back."""
    async with running_server(tls=security, limits=ReceptionLimits(deadline=DEADLINE)) as server:
        before = descriptors()
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for _ in range(1000):
                    nursery.start_soon(come_and_stay_silent, server.addresses[0], security)
                await trio.sleep(DEADLINE / 2)
                await assert_serves(server, security)
        await assert_serves(server, security)
        await wait_until_idle(server)
        assert descriptors() == before


async def test_a_thousand_good_clients_at_once_are_all_served(security):
    limits = ReceptionLimits(deadline=60, max_waiting_per_address=1000)
    context = security.client if security is not None else None
    served = 0

    async def be_served(server):
        nonlocal served
        client = await RawClient.connect(server.addresses[0], context)
        await client.say(
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        )
        answer = await client.stream.receive_some()
        served += answer.startswith(b"HTTP/1.1 101 ")
        client.end()
        await client.hear_everything()
        client.tcp.socket.close()

    async with running_server(tls=security, limits=limits) as server:
        before = descriptors()
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for _ in range(1000):
                    nursery.start_soon(be_served, server)
        assert served == 1000
        await wait_until_idle(server)
        assert descriptors() == before
        await assert_serves(server, security)
