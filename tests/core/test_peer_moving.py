"""A peer whose address changes under a connection, as that of a telephone or behind a NAT that has forgotten."""

from dataclasses import replace

import pytest

from trio_webrtc.core.contract import Received

from .test_peer import PeerPair

ELSEWHERE = ("198.51.100.7", 7777)


@pytest.fixture
def pair() -> PeerPair:
    return PeerPair()


def move(pair: PeerPair) -> None:
    """From now on the left peer looks to the right one as if it were elsewhere, and is reached there only."""
    home, left, right = pair.a.address, pair.left.take_transmits, pair.right.take_transmits

    def from_elsewhere(now: float) -> list[Received]:
        return [received._replace(from_=ELSEWHERE) for received in left(now)]

    def to_elsewhere(now: float) -> list[Received]:
        return [received._replace(via=home) for received in right(now) if received.via == ELSEWHERE]

    pair.left = replace(pair.left, take_transmits=from_elsewhere)
    pair.right = replace(pair.right, take_transmits=to_elsewhere)


@pytest.mark.parametrize("offerer", ["a", "b"])
def test_a_peer_is_followed_to_its_new_address_and_nothing_is_lost(pair, offerer):
    near, far = pair.create(pair.a), pair.create(pair.b)
    pair.negotiate(getattr(pair, offerer))
    assert pair.spend(5, lambda: bool(pair.a.arrived and pair.b.arrived))
    assert pair.a.core.agent.controlling is (offerer == "a")
    sent: dict[str, list[bytes]] = {"a": [], "b": []}
    received: dict[str, list[bytes]] = {"a": [], "b": []}
    for step in range(60):
        if step == 20:
            move(pair)
        for side, peer, channel, other in (("a", pair.a, near, pair.b), ("b", pair.b, far, pair.a)):
            sent[side].append(f"{side}{step}".encode())
            peer.core.channels.send(channel, sent[side][-1], pair.now)
            received[side] += other.take_all(other.arrived[0], pair.now)
        pair.spend(0.5)
    pair.spend(5)
    for side, other in (("a", pair.b), ("b", pair.a)):
        received[side] += other.take_all(other.arrived[0], pair.now)
    assert received == sent
    assert pair.b.core.agent.selected_pair.remote_address == ELSEWHERE
    assert pair.b.core.agent.selected_pair.remote.type == "prflx"
    assert pair.a.states[-1] == pair.b.states[-1] == "connected"
    assert "failed" not in pair.a.states + pair.b.states
