import random

import pytest
import trio

from trio_webrtc.shell.gathering import RESOLVE_TIMEOUT, GatheringSettings, choose_interfaces, gather
from trio_webrtc.shell.host import HOST_NETWORK
from trio_webrtc.shell.interfaces import list_interfaces
from trio_webrtc.shell.network import Interface
from trio_webrtc.shell.path import Path, open_path
from trio_webrtc.testing import VirtualNetwork

from .recording_core import RecordingCore


class SlowNames:
    """A host whose resolver takes its time."""

    def __init__(self, host, delay):
        self.interfaces, self.open_udp, self._resolve, self._delay = host.interfaces, host.open_udp, host.resolve, delay

    async def resolve(self, host, port):
        await trio.sleep(self._delay)
        return await self._resolve(host, port)


async def gathered(network, *, wait=10.0, **settings):
    core = RecordingCore()
    async with open_path(Path(core, deliver=core.deliver, close_timeout=1.0)) as path:
        path.start_soon(gather, path, core, network, GatheringSettings(**settings), random.Random(1))
        await trio.sleep(wait)
    return core


def hosts_of(core):
    return [address[0] for _, address, _, _ in core.bases]


async def test_every_useful_address_gets_a_socket_and_loopback_none(autojump_clock):
    host = VirtualNetwork(seed=1).add_host("127.0.0.1", "10.0.0.1", "::1", "fd00::1", "fe80::1%eth0", "192.0.2.1")
    core = await gathered(host)
    assert sorted(hosts_of(core)) == ["10.0.0.1", "192.0.2.1", "fd00::1"]
    assert core.bases_ended


async def test_where_nothing_else_is_loopback_is_used(autojump_clock):
    host = VirtualNetwork(seed=1).add_host("127.0.0.1", "::1")
    assert sorted(hosts_of(await gathered(host))) == ["127.0.0.1", "::1"]


async def test_where_nothing_else_can_be_bound_loopback_is_used(autojump_clock):
    host = VirtualNetwork(seed=1).add_host("127.0.0.1", "10.0.0.1")
    open_udp = host.open_udp

    def open_loopback_only(address):
        if address[0] != "127.0.0.1":
            raise OSError("the interface is down")
        return open_udp(address)

    host.open_udp = open_loopback_only
    assert hosts_of(await gathered(host)) == ["127.0.0.1"]


async def test_the_filter_decides_alone(autojump_clock):
    host = VirtualNetwork(seed=1).add_host("127.0.0.1", "10.0.0.1", "10.0.0.2")
    core = await gathered(host, interface_filter=lambda interface: interface.address in ("127.0.0.1", "10.0.0.2"))
    assert hosts_of(core) == ["127.0.0.1", "10.0.0.2"]


async def test_a_host_without_usable_addresses_ends_gathering_at_once(autojump_clock):
    host = VirtualNetwork(seed=1).add_host("10.0.0.1")
    core = await gathered(host, interface_filter=lambda interface: False, stun_hosts=[("10.0.0.1", 3478)])
    assert core.bases == core.stun_servers == []
    assert core.bases_ended


async def test_local_preferences_are_unique_and_interleave_the_families(autojump_clock):
    host = VirtualNetwork(seed=1).add_host("10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2")
    core = await gathered(host)
    assert hosts_of(core) == ["fd00::1", "10.0.0.1", "fd00::2", "10.0.0.2"]
    assert [preference for _, _, preference, _ in core.bases] == [65535, 65534, 65533, 65532]


async def test_ports_come_from_the_range_and_taken_ones_are_passed_over(autojump_clock):
    host = VirtualNetwork(seed=1).add_host("10.0.0.1")
    host.open_udp(("10.0.0.1", 5000))
    host.open_udp(("10.0.0.1", 5002))
    core = await gathered(host, port_range=(5000, 5002))
    assert [address for _, address, _, _ in core.bases] == [("10.0.0.1", 5001)]
    host.open_udp(("10.0.0.1", 5001))
    core = await gathered(host, port_range=(5000, 5002))
    assert core.bases == []
    assert core.bases_ended


async def test_announced_hosts_replace_those_of_their_family(autojump_clock):
    host = VirtualNetwork(seed=1).add_host("10.0.0.1", "fd00::1")
    core = await gathered(host, announced_hosts=["203.0.113.5", "203.0.113.6"])
    assert {address[0]: announced for _, address, _, announced in core.bases} == {
        "10.0.0.1": ("203.0.113.5", "203.0.113.6"),
        "fd00::1": (),
    }


async def test_slow_names_delay_neither_host_candidates_nor_other_servers(autojump_clock):
    network = VirtualNetwork(seed=1)
    host = network.add_host("10.0.0.1")
    network.add_host("192.0.2.7", "fd00::7", "192.0.2.8", name="stun.example")
    core = await gathered(SlowNames(host, RESOLVE_TIMEOUT - 1), wait=0.001, stun_hosts=[("stun.example", 3478)])
    assert len(core.bases) == 1
    core = await gathered(
        SlowNames(host, RESOLVE_TIMEOUT - 1), stun_hosts=[("unknown.example", 3478), ("stun.example", 3478)]
    )
    assert sorted(core.stun_servers) == [("192.0.2.7", 3478), ("fd00::7", 3478)]
    assert core.bases_ended


async def test_a_name_that_nobody_answers_for_is_given_up(autojump_clock):
    network = VirtualNetwork(seed=1)
    host = network.add_host("10.0.0.1", name="me.example")
    slow = SlowNames(host, 3600)
    assert not (await gathered(slow, wait=RESOLVE_TIMEOUT - 0.1, stun_hosts=[("me.example", 1)])).bases_ended
    core = await gathered(slow, wait=RESOLVE_TIMEOUT + 0.1, stun_hosts=[("me.example", 1)])
    assert core.bases_ended
    assert core.stun_servers == []


async def test_sockets_are_freed_whenever_gathering_is_cut_short(autojump_clock):
    network = VirtualNetwork(seed=1)
    host = network.add_host("10.0.0.1", "fd00::1")
    for wait in (0, 0.001, 1):
        await gathered(SlowNames(host, 3600), wait=wait, stun_hosts=[("10.0.0.1", 1)])
        assert network.open_sockets == []


async def test_a_bug_in_the_core_while_gathering_comes_out_as_itself(autojump_clock, caplog):
    network = VirtualNetwork(seed=1)
    core = RecordingCore()
    core.bug_in = "add_local_base"
    with pytest.raises(ZeroDivisionError):
        async with open_path(Path(core, deliver=core.deliver, close_timeout=1.0)) as path:
            path.start_soon(gather, path, core, network.add_host("10.0.0.1"), GatheringSettings(), random.Random(1))
            await trio.sleep_forever()
    assert network.open_sockets == []


def test_wildcards_and_groups_are_no_addresses_to_bind_to():
    odd = [Interface("odd", address) for address in ("0.0.0.0", "224.0.0.1", "ff02::1%odd")]
    assert choose_interfaces(odd) == [[], []]


async def test_this_host_has_addresses_that_can_be_bound():
    interfaces = list_interfaces()
    assert "127.0.0.1" in {interface.address for interface in interfaces}
    core = await gathered(HOST_NETWORK, wait=0.05)
    assert core.bases
    assert core.bases_ended
