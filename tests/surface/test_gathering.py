"""Candidates of two whole peers: which sockets, which servers, and what the peer is told."""

import datetime
import re

import pytest
import trio

from trio_webrtc import Certificate, Configuration, IceServer, SessionDescription, open_peer_connection
from trio_webrtc.testing import DatagramSent, VirtualHost, serve_stun

from .conftest import RUNS, MakeWorld, World, negotiate


async def gathered(configuration: Configuration, host: VirtualHost) -> list[list[str]]:
    async with open_peer_connection(configuration, network=host) as peer:
        peer.create_data_channel("any")
        await peer.set_local_description()
        return [candidate.candidate.split() async for candidate in peer.local_candidates()]


async def test_several_stun_servers_are_asked_side_by_side_and_a_silent_one_delays_nothing(
    world: World, autojump_clock, nursery
):
    await nursery.start(serve_stun, world.network.add_host("10.0.0.3", name="stun.test"))
    silent = world.network.add_host("10.0.0.4").open_udp(("10.0.0.4", 3478))
    home = world.network.add_nat("198.51.100.7").add_host("192.168.0.2", "fd00::3")
    configuration = Configuration(ice_servers=[IceServer("stun:stun.test"), IceServer(["stun:10.0.0.4"])])
    async with open_peer_connection(configuration, network=home) as peer:
        peer.create_data_channel("any")
        start = trio.current_time()
        await peer.set_local_description()
        found = {}
        async for candidate in peer.local_candidates():
            found[candidate.candidate.split()[7]] = trio.current_time() - start
        assert found["host"] < 0.01
        assert found["srflx"] < 0.1
        assert peer.ice_gathering_state == "complete"
        assert trio.current_time() - start < 4.0
        await peer.wait_gathering_complete()
        assert re.search(r" 198\.51\.100\.7 \d+ typ srflx raddr 192\.168\.0\.2 ", peer.local_description.sdp)
    asked = {entry.to[0]: entry.time for entry in reversed(world.network.log) if isinstance(entry, DatagramSent)}
    assert max(asked["10.0.0.3"], asked["10.0.0.4"]) - start < 0.1
    silent.close()
    nursery.cancel_scope.cancel()


async def test_a_stun_server_without_an_address_is_left_out(world: World, autojump_clock):
    configuration = Configuration(ice_servers=[IceServer("stun:nowhere.test")])
    assert {words[7] for words in await gathered(configuration, world.left)} == {"host"}


async def test_the_interface_filter_decides_which_addresses_are_used(world: World, autojump_clock):
    configuration = Configuration(interface_filter=lambda interface: ":" in interface.address, ice_tcp=False)
    assert [words[4] for words in await gathered(configuration, world.left)] == ["fd00::1"]


async def test_ports_come_from_the_range(world: World, autojump_clock):
    configuration = Configuration(port_range=(40_000, 40_001))
    ports = {int(words[5]) for words in await gathered(configuration, world.left) if words[2].lower() == "udp"}
    assert ports <= {40_000, 40_001}


async def test_a_range_that_is_used_up_gathers_nothing_and_ends(world: World, autojump_clock):
    taken = [world.left.open_udp((address, 40_000)) for address in world.left.addresses]
    assert await gathered(Configuration(port_range=(40_000, 40_000)), world.left) == []
    for used in taken:
        used.close()


async def test_announced_hosts_stand_in_for_the_local_ones(world: World, autojump_clock):
    configuration = Configuration(announced_hosts=["203.0.113.5"])
    hosts = {words[4] for words in await gathered(configuration, world.left)}
    assert "203.0.113.5" in hosts
    assert "10.0.0.1" not in hosts


async def test_the_applications_credentials_and_certificate_are_used(world: World, autojump_clock):
    certificate = Certificate.generate(now=datetime.datetime.now(datetime.UTC), key="rsa-2048")
    own = Configuration(ice_credentials=("ours", "x" * 24), certificates=[certificate])
    async with world.meet(own) as (caller, callee, _, _):
        sdp = caller.local_description.sdp
        assert "a=ice-ufrag:ours\r\n" in sdp
        assert f"a=fingerprint:{certificate.fingerprints()[0]}\r\n" in sdp
        assert callee.remote_certificates == (certificate.der,)


async def test_without_verification_any_certificate_connects(world: World, autojump_clock):
    trusting = Configuration(verify_remote_certificate=False)
    async with (
        open_peer_connection(trusting, network=world.left) as caller,
        open_peer_connection(network=world.right) as callee,
    ):
        channel = caller.create_data_channel("any")
        await caller.set_local_description()
        await caller.wait_gathering_complete()
        await callee.set_remote_description(caller.local_description)
        await callee.set_local_description()
        await callee.wait_gathering_complete()
        answer = callee.local_description
        lines = answer.sdp.split("\r\n")
        forged = ["a=fingerprint:sha-256 " + ":".join(["AA"] * 32) if "a=fingerprint" in x else x for x in lines]
        await caller.set_remote_description(type(answer)("answer", "\r\n".join(forged)))
        await channel.wait_open()


async def test_a_restart_of_ice_goes_on_while_data_flows(make_world: MakeWorld, autojump_clock):
    world = make_world()
    async with world.meet() as (caller, callee, near, far):

        async def stream():
            for number in range(200):
                await near.send(str(number))
                await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream)
            before = caller.local_description.sdp
            caller.restart_ice()
            await negotiate(caller, callee)
            assert _ufrag(before) != _ufrag(caller.local_description.sdp)
            assert [await far.receive() for _ in range(200)] == [str(number) for number in range(200)]
        assert caller.connection_state == callee.connection_state == "connected"


def _ufrag(sdp: str) -> str:
    return next(line for line in sdp.splitlines() if line.startswith("a=ice-ufrag"))


async def test_peers_on_the_kernels_sockets_meet():
    with trio.fail_after(10):
        async with open_peer_connection() as caller, open_peer_connection() as callee:
            near = caller.create_data_channel("real")
            await negotiate(caller, callee)
            await near.send(b"x" * 100_000)
            far = await callee.incoming_data_channels.receive()
            assert await far.receive() == b"x" * 100_000


async def test_a_family_that_the_host_lacks_is_no_trouble(autojump_clock, make_world: MakeWorld):
    network = make_world().network
    one, other = network.add_host("10.1.0.1"), network.add_host("10.1.0.2", "fd00::a")
    async with open_peer_connection(network=one) as caller, open_peer_connection(network=other) as callee:
        channel = caller.create_data_channel("ipv4 only")
        await negotiate(caller, callee)
        await channel.wait_open()
        assert caller.selected_candidate_pair.remote.host == "10.1.0.2"


AUDIO_ONLY = "\r\n".join(
    [
        *("v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0"),
        *("m=audio 9 UDP/TLS/RTP/SAVPF 111", "c=IN IP4 0.0.0.0", "a=mid:0", "a=rtpmap:111 opus/48000/2", "a=rtcp-mux"),
        *("a=ice-ufrag:abcd", "a=ice-pwd:abcdefghijklmnopqrstuvwx", "a=setup:actpass"),
        *("a=fingerprint:sha-256 " + ":".join(["00"] * 32), ""),
    ]
)


@pytest.mark.parametrize("offer", [None, SessionDescription("offer", AUDIO_ONLY)])
async def test_gathering_is_complete_at_once_where_there_is_nothing_to_gather_for(
    world: World, autojump_clock, offer: SessionDescription | None
):
    async with open_peer_connection(network=world.left) as peer:
        if offer is not None:
            await peer.set_remote_description(offer)
        await peer.set_local_description()
        with trio.fail_after(1):
            await peer.wait_gathering_complete()


@pytest.mark.parametrize("run", range(RUNS))
async def test_candidates_after_a_restart_are_of_the_new_generation_also_while_data_is_being_sent(
    world: World, autojump_clock, run: int
):
    async with world.meet() as (caller, _, near, _):
        before = {candidate.username_fragment async for candidate in caller.local_candidates()}
        caller.restart_ice()
        near.send_nowait("a flush is due now")
        await caller.set_local_description()
        after = {candidate.username_fragment async for candidate in caller.local_candidates()}
        assert before.isdisjoint(after)
