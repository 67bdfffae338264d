"""NATs of a virtual network, seen through sockets on both of their sides."""

import pytest
import trio

from trio_webrtc.testing import (
    ADDRESS_RESTRICTED,
    FULL_CONE,
    PORT_RESTRICTED,
    SYMMETRIC,
    Dependence,
    Fate,
    NatKind,
    VirtualNetwork,
)

ALL_KINDS = [FULL_CONE, ADDRESS_RESTRICTED, PORT_RESTRICTED, SYMMETRIC]
LATENCY = 0.01
NAT = "203.0.113.1"


class Scene:
    """A host behind a NAT, and another outside with an address and a half."""

    def __init__(self, kind=PORT_RESTRICTED, *, seed=1, **options):
        self.network = VirtualNetwork(seed=seed, latency=LATENCY)
        self.nat = self.network.add_nat(NAT, kind, **options)
        self.inside = self.nat.add_host("192.168.0.2").open_udp(("192.168.0.2", 5000))
        outside = self.network.add_host("198.51.100.1", "198.51.100.2")
        self.first = outside.open_udp(("198.51.100.1", 1000))
        self.other_port = outside.open_udp(("198.51.100.1", 2000))
        self.other_address = outside.open_udp(("198.51.100.2", 1000))


async def arrives(sender, to, receiver):
    """Send something; return where it seems to come from, or None if it does not arrive."""
    sender.send(to, b"?", None, None)
    await trio.sleep(1)
    arrivals = receiver.receive()
    return arrivals[0].from_ if arrivals else None


async def seen_from(sender, receiver):
    return await arrives(sender, receiver.local_address, receiver)


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_a_host_outside_sees_the_nat_and_its_answer_comes_back(kind, autojump_clock):
    scene = Scene(kind)
    mapped = await seen_from(scene.inside, scene.first)
    assert mapped[0] == NAT
    assert await arrives(scene.first, mapped, scene.inside) == scene.first.local_address


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_only_a_symmetric_nat_appears_differently_to_everybody(kind, autojump_clock):
    scene = Scene(kind)
    mapped = {await seen_from(scene.inside, to) for to in (scene.first, scene.other_port, scene.other_address)}
    assert len(mapped) == (3 if kind is SYMMETRIC else 1)


@pytest.mark.parametrize(
    ("kind", "other_port_may", "other_address_may"),
    [
        (FULL_CONE, True, True),
        (ADDRESS_RESTRICTED, True, False),
        (PORT_RESTRICTED, False, False),
        (SYMMETRIC, False, False),
    ],
)
async def test_who_may_answer_is_a_matter_of_the_kind(kind, other_port_may, other_address_may, autojump_clock):
    scene = Scene(kind)
    mapped = await seen_from(scene.inside, scene.first)
    assert (await arrives(scene.other_port, mapped, scene.inside) is not None) == other_port_may
    assert (await arrives(scene.other_address, mapped, scene.inside) is not None) == other_address_may
    assert scene.network.counters[Fate.FILTERED] == 2 - other_port_may - other_address_may


async def test_mapping_and_filtering_combine_freely(autojump_clock):
    scene = Scene(NatKind(Dependence.ADDRESS_DEPENDENT, Dependence.ENDPOINT_INDEPENDENT))
    mapped = await seen_from(scene.inside, scene.first)
    assert await seen_from(scene.inside, scene.other_port) == mapped
    assert await seen_from(scene.inside, scene.other_address) != mapped
    assert await arrives(scene.other_address, mapped, scene.inside)


async def test_nobody_gets_in_before_somebody_has_gone_out(autojump_clock):
    scene = Scene(FULL_CONE, preserve_ports=True)
    assert await arrives(scene.first, (NAT, 5000), scene.inside) is None
    assert await arrives(scene.first, ("192.168.0.2", 5000), scene.inside) is None
    assert scene.network.counters == {Fate.NOBODY_THERE: 2}


async def test_a_nat_decides_when_a_datagram_arrives_and_not_when_it_is_sent(autojump_clock):
    scene = Scene(PORT_RESTRICTED)
    mapped = await seen_from(scene.inside, scene.other_address)
    scene.first.send(mapped, b"on its way", None, None)
    await trio.sleep(LATENCY / 2)
    scene.inside.send(scene.first.local_address, b"opens the way", None, None)
    await trio.sleep(LATENCY)
    assert [arrival.data for arrival in scene.inside.receive()] == [b"on its way"]


async def test_a_mapping_that_nothing_is_sent_through_is_forgotten(autojump_clock):
    scene = Scene(FULL_CONE, mapping_lifetime=30)
    mapped = await seen_from(scene.inside, scene.first)
    await trio.sleep(28.9)
    assert await arrives(scene.first, mapped, scene.inside)
    assert await arrives(scene.first, mapped, scene.inside) is None, "what comes in keeps it open"
    assert scene.nat.mappings == []
    assert await seen_from(scene.inside, scene.first) != mapped


async def test_a_mapping_that_is_used_is_kept_and_with_it_only_the_permissions_that_are_used(autojump_clock):
    scene = Scene(PORT_RESTRICTED, mapping_lifetime=30)
    mapped = await seen_from(scene.inside, scene.first)
    assert await seen_from(scene.inside, scene.other_port) == mapped
    for _ in range(5):
        await trio.sleep(20)
        assert await seen_from(scene.inside, scene.first) == mapped
    assert await arrives(scene.first, mapped, scene.inside)
    assert await arrives(scene.other_port, mapped, scene.inside) is None


async def test_ports_are_preserved_where_they_are_free(autojump_clock):
    scene = Scene(preserve_ports=True)
    neighbour = scene.nat.add_host("192.168.0.3").open_udp(("192.168.0.3", 5000))
    assert await seen_from(scene.inside, scene.first) == (NAT, 5000)
    taken = await seen_from(neighbour, scene.first)
    assert taken[0] == NAT
    assert taken[1] != 5000


async def test_ports_are_drawn_from_the_seed(autojump_clock):
    drawn = [await seen_from(scene.inside, scene.first) for scene in (Scene(seed=1), Scene(seed=1), Scene(seed=2))]
    assert drawn[0] == drawn[1] != drawn[2]


async def test_after_rebinding_a_host_is_seen_elsewhere_and_the_old_port_leads_nowhere(autojump_clock):
    scene = Scene(FULL_CONE)
    mapped = await seen_from(scene.inside, scene.first)
    scene.first.send(mapped, b"on its way", None, None)
    scene.nat.rebind()
    await trio.sleep(1)
    assert scene.inside.receive() == []
    assert await arrives(scene.first, mapped, scene.inside) is None
    assert await seen_from(scene.inside, scene.first) != mapped


@pytest.mark.parametrize("hairpinning", [True, False])
async def test_neighbours_reach_each_other_by_the_nats_address_only_with_hairpinning(hairpinning, autojump_clock):
    scene = Scene(FULL_CONE, hairpinning=hairpinning)
    neighbour = scene.nat.add_host("192.168.0.3").open_udp(("192.168.0.3", 6000))
    mapped = await seen_from(scene.inside, scene.first)
    seen = await arrives(neighbour, mapped, scene.inside)
    assert (seen is not None) == hairpinning
    if hairpinning:  # RFC 4787 REQ-9a: with an external source address
        assert seen == await seen_from(neighbour, scene.first)
    assert await seen_from(neighbour, scene.inside) == neighbour.local_address


async def test_hosts_behind_different_nats_may_have_the_same_address(autojump_clock):
    scene = Scene()
    elsewhere = scene.network.add_nat("203.0.113.2")
    double = elsewhere.add_host("192.168.0.2")
    socket = double.open_udp(("192.168.0.2", 5000))
    assert (await seen_from(socket, scene.first))[0] == "203.0.113.2"
    assert (await seen_from(scene.inside, scene.first))[0] == NAT
    hosts = scene.network.hosts
    links = [scene.network.link(host, hosts[0]) for host in hosts[1:]]
    assert len({link.random.random() for link in links}) == len(links) == 2
    assert set(scene.network.open_sockets) >= {socket, scene.inside}


async def test_a_nat_behind_a_nat_translates_twice_and_lets_in_what_both_let_in(autojump_clock):
    scene = Scene(FULL_CONE)
    home = scene.nat.add_nat("192.168.0.9", PORT_RESTRICTED)
    deep = home.add_host("10.0.0.2").open_udp(("10.0.0.2", 5000))
    assert (await seen_from(deep, scene.inside))[0] == "192.168.0.9"
    mapped = await seen_from(deep, scene.first)
    assert mapped[0] == NAT
    assert await arrives(scene.first, mapped, deep) == scene.first.local_address
    assert await arrives(scene.other_port, mapped, deep) is None
    assert home.mappings[0].outside == scene.nat.mappings[0].inside


async def test_an_address_is_taken_once_in_each_realm():
    scene = Scene()
    for take in (scene.network.add_host, scene.network.add_nat):
        with pytest.raises(ValueError, match=NAT):
            take(NAT)
    with pytest.raises(ValueError, match=r"192\.168\.0\.2"):
        scene.nat.add_nat("192.168.0.2")
    scene.nat.add_host(NAT)  # foolish, but possible


async def test_names_are_found_from_inside_and_private_ones_not_from_outside(autojump_clock):
    network = VirtualNetwork(seed=1)
    public = network.add_host("198.51.100.1", name="public.test")
    private = network.add_nat(NAT).add_host("192.168.0.2", name="private.test")
    assert await private.resolve("public.test", 1) == [("198.51.100.1", 1)]
    assert await private.resolve("private.test", 1) == [("192.168.0.2", 1)]
    with pytest.raises(OSError, match=r"private\.test"):
        await public.resolve("private.test", 1)


async def test_what_is_of_the_other_family_or_multicast_does_not_leave_a_nat(autojump_clock):
    network = VirtualNetwork(seed=1)
    private = network.add_nat(NAT).add_host("192.168.0.2", "fd00::2")
    public = network.add_host("198.51.100.1", "fd00::1")
    group = ("224.0.0.251", 5353)
    member = public.open_multicast(group, public.interfaces()[0])
    six = public.open_udp(("fd00::1", 1000))
    assert await arrives(private.open_udp(("fd00::2", 1000)), ("fd00::1", 1000), six) is None
    assert await arrives(private.open_udp(("192.168.0.2", 1000)), group, member) is None


async def test_ways_between_two_addresses_are_cut_while_the_hosts_others_go_on(autojump_clock):
    network = VirtualNetwork(seed=1)
    one, other = network.add_host("10.0.0.1", "10.0.1.1"), network.add_host("10.0.0.2", "10.0.1.2")
    first, second = (one.open_udp((address, 1000)) for address in one.addresses)
    far = other.open_udp(("0.0.0.0", 1000))
    network.cut_addresses("10.0.0.1", "10.0.0.2")
    assert await arrives(first, ("10.0.0.2", 1000), far) is None
    assert await arrives(first, ("10.0.1.2", 1000), far)
    assert await arrives(second, ("10.0.0.2", 1000), far)
    assert network.counters == {Fate.CUT: 1, Fate.CARRIED: 2}
    network.heal_addresses("10.0.0.2", "10.0.0.1")
    assert await arrives(first, ("10.0.0.2", 1000), far)
