"""A port on a wildcard has a way for each of its local addresses, as long as somebody uses it."""

import gc

import pytest

from trio_webrtc.shell.port import Port
from trio_webrtc.testing import VirtualNetwork


class Silence:
    """Takes what a port reads."""

    def receive(self, batch) -> None:
        pass

    def retire(self, via) -> None:
        pass


@pytest.fixture
def port():
    return Port(VirtualNetwork(seed=1).add_host("10.0.0.1").open_udp(("0.0.0.0", 5000)), Silence())


def test_a_way_in_use_is_the_same_whenever_it_is_asked_for(port):
    """A peer's addresses are known by it."""
    ways = [port.via(), port.via("10.0.0.1"), port.via("10.0.0.2")]
    gc.collect()
    assert [port.via(), port.via("10.0.0.1"), port.via("10.0.0.2")] == ways


def test_ways_that_nobody_uses_are_forgotten_however_many_local_addresses_are_asked(port):
    """A whole prefix may lead to a host (ip-route(8): type local), and strangers choose from all of it."""
    for number in range(5000):
        port.via(f"10.{number >> 8}.{number & 255}.1")
    gc.collect()
    assert not port._vias
