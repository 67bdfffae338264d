"""Peers with two addresses each: the way in use dies without a word, and another one is taken."""

import pytest
import trio

from trio_webrtc.testing import VirtualNetwork

from .conftest import RUNS, World

ADDRESSES = ("10.0.0.1", "10.0.1.1"), ("10.0.0.2", "10.0.1.2")


@pytest.mark.parametrize("run", range(max(1, RUNS // 4)))
async def test_another_way_is_found_before_the_connection_fails_and_nothing_is_lost(run, autojump_clock):
    network = VirtualNetwork(seed=run, latency=0.02, loss=0.05)
    left, right = (network.add_host(*addresses) for addresses in ADDRESSES)
    numbers = [str(number) for number in range(150)]
    async with World(network, left, right).meet() as (caller, callee, near, far):

        async def send(channel):
            for number in numbers:
                await channel.send(number)
                await trio.sleep(0.2)

        async def expect(channel):
            assert [await channel.receive() for _ in numbers] == numbers

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for channel in (near, far):
                    nursery.start_soon(send, channel)
                    nursery.start_soon(expect, channel)
                await trio.sleep(5)
                pair = caller.selected_candidate_pair
                network.cut_addresses(pair.local.host, pair.remote.host)
                await trio.sleep(15)
                for peer in (caller, callee):
                    other = peer.selected_candidate_pair
                    assert {other.local.host, other.remote.host} != {pair.local.host, pair.remote.host}
                    assert peer.connection_state == "connected"
