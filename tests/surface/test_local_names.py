"""Peers that signal names of the local network instead of addresses, as browsers do (RFC 6762)."""

import ipaddress
import struct

import pytest
import trio

from trio_webrtc import Configuration, IceCandidate, PeerConnection, SessionDescription, open_peer_connection
from trio_webrtc.core.contract import split_run
from trio_webrtc.core.mdns import GROUP_IPV4, GROUP_IPV6, PORT
from trio_webrtc.testing import VirtualHost

from .conftest import MakeWorld, World

GROUPS = {4: (GROUP_IPV4, PORT), 6: (GROUP_IPV6, PORT)}


def read_question(data: bytes) -> tuple[str, int] | None:
    """The name and the type that a query asks for."""
    if data[2] & 0x80:
        return None
    name, _, rest = data[12:].partition(b"\0")
    labels = []
    while name:
        labels.append(name[1 : 1 + name[0]].decode())
        name = name[1 + name[0] :]
    return ".".join(labels), struct.unpack("!HH", rest)[0]


async def respond(host: VirtualHost, names: dict[str, str], *, version: int = 4, deaf_for: int = 0) -> None:
    """A responder on one host that knows some names, and answers to the group as Chromium's does."""
    interface = next(found for found in host.interfaces() if (":" in found.address) == (version == 6))
    member = host.open_multicast(GROUPS[version], interface)
    try:
        while True:
            await member.wait_readable()
            for arrival in member.receive():
                for datagram in split_run(arrival.data, arrival.segment_size):
                    question = read_question(datagram)
                    deaf_for -= question is not None
                    if question is not None and deaf_for < 0 and (answer := answer_from(names, *question)) is not None:
                        member.send(GROUPS[version], answer, None, None)
    finally:
        member.close()


def answer_from(names: dict[str, str], name: str, type_: int) -> bytes | None:
    """What a responder answers that knows these names."""
    address = ipaddress.ip_address(names.get(name, "0.0.0.0"))
    if name not in names or type_ != (28 if address.version == 6 else 1):
        return None
    encoded = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    record = encoded + struct.pack("!HHIH", type_, 0x8001, 120, len(address.packed)) + address.packed
    return struct.pack("!6H", 0, 0x8400, 0, 1, 0, 0) + record


async def hidden(peer: PeerConnection, names: dict[str, str]) -> SessionDescription:
    """What a peer describes, with names in the place of its addresses."""
    await peer.wait_gathering_complete()
    described = peer.local_description
    sdp = described.sdp
    for name, address in names.items():
        sdp = sdp.replace(f" {address} ", f" {name} ")
    return SessionDescription(described.type, sdp)


NAMES = {
    "3c6e0b8a-9c15-424a-8d69-1d3c1cbd5ba1.local": "10.0.0.2",
    "e4da3b7f-bbce-4345-9777-2b0674a318d5.local": "fd00::2",
}


async def connect(world: World, names: dict[str, str], configuration: Configuration | None = None):
    """The right side hides, and cannot be heard before it is called: its own checks are of no help."""
    async with (
        open_peer_connection(configuration, network=world.left) as caller,
        open_peer_connection(network=world.right) as callee,
    ):
        caller.create_data_channel("any")
        await caller.set_local_description()
        await caller.wait_gathering_complete()
        without_candidates = "\r\n".join(
            line for line in caller.local_description.sdp.split("\r\n") if not line.startswith("a=candidate")
        )
        await callee.set_remote_description(SessionDescription("offer", without_candidates))
        await callee.set_local_description()
        await caller.set_remote_description(await hidden(callee, names))
        await caller.wait_connected()
        assert caller.selected_candidate_pair.remote.type == "host"
        return caller.selected_candidate_pair.remote.host


@pytest.mark.parametrize("version", [4, 6])
async def test_a_name_is_resolved_by_asking_the_local_network(world: World, version, autojump_clock, nursery):
    nursery.start_soon(lambda: respond(world.right, NAMES, version=version))
    await trio.testing.wait_all_tasks_blocked()
    assert await connect(world, NAMES) in NAMES.values()
    assert len(world.network.open_sockets) == 1


async def test_a_responder_on_both_families_is_no_trouble(world: World, autojump_clock, nursery):
    for version in GROUPS:
        nursery.start_soon(lambda version=version: respond(world.right, NAMES, version=version))
    await trio.testing.wait_all_tasks_blocked()
    assert await connect(world, NAMES) in NAMES.values()


async def test_a_question_that_is_lost_is_asked_again(world: World, autojump_clock, nursery):
    nursery.start_soon(lambda: respond(world.right, NAMES, deaf_for=8))
    await trio.testing.wait_all_tasks_blocked()
    assert await connect(world, NAMES) in NAMES.values()


async def test_a_name_that_nobody_knows_leaves_nothing_behind(world: World, autojump_clock):
    async with open_peer_connection(network=world.left) as peer:
        peer.create_data_channel("any")
        await peer.set_local_description()
        await peer.wait_gathering_complete()
        own_sockets = len(world.network.open_sockets)
        async with open_peer_connection(network=world.right) as answerer:
            await answerer.set_remote_description(peer.local_description)
            await answerer.set_local_description()
            await peer.set_remote_description(await hidden(answerer, NAMES))
        await trio.testing.wait_all_tasks_blocked()
        assert len(world.network.open_sockets) == own_sockets + 2
        await trio.sleep(6.0)
        assert len(world.network.open_sockets) == own_sockets
        await peer.add_ice_candidate(IceCandidate("candidate:1 1 udp 2113937151 nobody.local 50281 typ host", "0", 0))
        await trio.testing.wait_all_tasks_blocked()
        assert len(world.network.open_sockets) == own_sockets + 2, "it can be asked again"


async def test_a_name_that_comes_when_the_connection_ends_is_not_asked_for(world: World, autojump_clock):
    line = "candidate:1 1 udp 2113937151 nobody.local 50281 typ host"
    with trio.CancelScope() as leaving:
        async with world.meet() as (caller, _, _, _):
            # As if it had come in the very turn of the event loop in which the scope is left.
            caller._core.add_remote_candidate(line, "0", 0, None, trio.current_time())
            leaving.cancel()
    assert not world.network.open_sockets


async def test_the_application_may_forbid_asking(make_world: MakeWorld, autojump_clock, nursery):
    world = make_world()
    asked: list[str] = []

    async def overhear():
        member = world.right.open_multicast(GROUPS[4], world.right.interfaces()[0])
        nursery.start_soon(lambda: note(member))

    async def note(member):
        await member.wait_readable()
        asked.append("something")

    await overhear()
    configuration = Configuration(resolve_local_names=False)
    with trio.move_on_after(10):
        await connect(world, NAMES, configuration)
    assert not asked
