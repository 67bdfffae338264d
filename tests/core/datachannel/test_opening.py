"""How channels open: ids, early messages, and wishes that are refused (RFC 8832 §6)."""

from dataclasses import replace

import pytest

from trio_webrtc.core.datachannel import ChannelParameters, ChannelState, DataChannels
from trio_webrtc.core.datachannel.channels import MAX_EARLY_BYTES
from trio_webrtc.core.datachannel.establishment import OpenMessage, PayloadProtocol
from trio_webrtc.core.sctp import SctpSettings
from trio_webrtc.errors import UsageError

from .harness import ChannelsPair, connected


def wish(**fields: object) -> bytes:
    absent = {"label": "", "protocol": "", "ordered": True, "max_retransmits": None, "max_packet_life_time": None}
    return OpenMessage(**{**absent, "priority": 256, **fields}).encode()


def ask(pair: ChannelsPair, stream_id: int, payload: bytes) -> None:
    """Have the left side send an establishment message, whatever its channels think of that."""
    pair.a.association.send(stream_id, PayloadProtocol.ESTABLISHMENT, payload, now=pair.now)
    pair.settle()


def test_the_dtls_client_takes_even_ids_and_the_server_odd_ones():
    pair = connected()
    assert [pair.a.create().id for _ in range(3)] == [0, 2, 4]
    assert list(map(repr, (pair.b.create().id for _ in range(3)))) == ["1", "3", "5"]  # numbers, and not True


def test_channels_wait_for_their_ids_until_the_dtls_role_is_known():
    channels = DataChannels(max_channels=10)
    waiting = [channels.create(ChannelParameters(label=str(number)), None, 0.0) for number in range(2)]
    chosen = channels.create(ChannelParameters(label="chosen", negotiated=True), 1, 0.0)
    assert [channel.id for channel in waiting] == [None, None]
    channels.choose_ids(is_dtls_client=False)
    assert [channel.id for channel in (*waiting, chosen)] == [3, 5, 1]


def test_channels_created_before_the_association_open_with_it():
    pair = ChannelsPair()
    near = pair.a.create("early", protocol="sip", ordered=False, max_retransmits=2, priority=512)
    assert near.state is ChannelState.CONNECTING
    pair.connect()
    (far,) = pair.b.arrived
    assert near.state is far.state is ChannelState.OPEN
    assert far.parameters == near.parameters
    assert far.id == near.id == 0


def test_an_id_that_is_in_use_is_refused():
    pair = connected()
    pair.a.create(id=7, negotiated=True)
    with pytest.raises(UsageError, match="id 7 is in use"):
        pair.a.create(id=7, negotiated=True)


def test_there_are_no_more_channels_than_allowed():
    pair = connected(max_channels=2)
    pair.a.create("first"), pair.a.create("second")
    with pytest.raises(UsageError, match=r"2 data channels \(max_channels\)"):
        pair.a.create("third")
    pair.settle()
    ask(pair, 6, wish(label="one more"))
    assert [channel.parameters.label for channel in pair.b.arrived] == ["first", "second"]
    assert pair.b.refused == [(6, "there are 2 channels already")]


def test_negotiated_channels_carry_messages_without_an_open_message():
    pair = connected()
    near, far = (side.create("n", id=5, negotiated=True) for side in (pair.a, pair.b))
    pair.a.send(near, "to the right")
    pair.b.send(far, "to the left")
    pair.settle()
    assert (pair.a.take_all(near), pair.b.take_all(far)) == (["to the left"], ["to the right"])
    assert pair.a.arrived == pair.b.arrived == []


def test_messages_wait_for_the_negotiated_channel_that_they_belong_to():
    pair = connected()
    near = pair.a.create(id=5, negotiated=True)
    pair.a.send(near, "one", b"two")
    pair.settle()
    assert pair.b.take_all(pair.b.create(id=5, negotiated=True)) == ["one", b"two"]


def test_what_waits_for_negotiated_channels_is_bounded():
    pair = connected()
    near = pair.a.create(id=5, negotiated=True)
    pair.a.send(near, *[bytes([number]) * 10_000 for number in range(20)])
    pair.settle()
    kept = pair.b.take_all(pair.b.create(id=5, negotiated=True))
    assert [message[0] for message in kept] == list(range(MAX_EARLY_BYTES // 10_128))
    assert pair.a.channels.unacknowledged(near) == 0
    assert pair.b.association.state.link.receiver.window == SctpSettings().receive_buffer


def test_what_came_early_is_forgotten_with_its_stream():
    pair = connected()
    near = pair.a.create(id=5, negotiated=True)
    pair.a.send(near, "stale")
    pair.settle()
    pair.a.close(near)
    pair.settle()
    assert pair.b.take_all(pair.b.create(id=5, negotiated=True)) == []
    assert pair.b.association.state.link.receiver.window == SctpSettings().receive_buffer


def test_an_open_message_for_a_live_channel_closes_it():
    pair = connected()
    near, far = pair.open()
    ask(pair, near.id, wish())
    assert far.error == "the peer opened the channel a second time"
    assert near.state is far.state is ChannelState.CLOSED
    assert pair.b.arrived == [far]


def test_an_open_message_with_an_id_of_ours_is_refused():
    pair = connected()
    ask(pair, 1, wish())
    assert [stream_id for stream_id, _ in pair.b.refused] == [1]
    assert pair.b.arrived == []


def test_a_malformed_open_message_is_refused_and_its_stream_can_be_used_afterwards():
    pair = connected()
    ask(pair, 0, wish()[:-1])
    ask(pair, 0, wish(label="better"))
    assert [stream_id for stream_id, _ in pair.b.refused] == [0]
    assert [channel.parameters.label for channel in pair.b.arrived] == ["better"]


def test_messages_on_a_stream_that_is_being_refused_are_dropped():
    pair = connected()
    pair.a.association.send(0, PayloadProtocol.ESTABLISHMENT, b"\x03", now=pair.now)
    pair.a.association.send(0, PayloadProtocol.STRING, b"lost", now=pair.now)
    pair.a.association.send(0, PayloadProtocol.ESTABLISHMENT, wish(), now=pair.now)
    pair.settle()
    assert len(pair.b.refused) == 1
    assert pair.b.arrived == []
    assert pair.b.association.state.link.receiver.window == SctpSettings().receive_buffer


def test_a_refused_id_is_not_given_away_before_its_stream_is_reset():
    pair = connected()
    pair.a.association.send(1, PayloadProtocol.ESTABLISHMENT, wish(), now=pair.now)
    pair.drain()
    pair.deliver()
    with pytest.raises(UsageError, match="id 1 is in use"):
        pair.b.create(id=1, negotiated=True)
    assert pair.b.create().id == 3
    pair.settle()
    assert pair.b.create().id == 1


def test_other_establishment_messages_are_ignored():
    pair = connected()
    for payload in (b"\x00", b"\x01", b"\x04", b"\xff", b"\x02"):
        ask(pair, 0, payload)
    assert pair.b.arrived == pair.b.refused == []
    assert pair.a.association.is_established


def test_an_id_beyond_what_the_peer_accepts_closes_the_channel():
    pair = connected(right_settings=SctpSettings(streams=10))
    before = pair.a.create(id=9, negotiated=True)
    beyond = pair.a.create(id=10, negotiated=True)
    assert before.state is ChannelState.OPEN
    assert beyond.state is ChannelState.CLOSED
    assert beyond.error == "stream 10 is beyond what the peer accepts"


def test_channels_with_too_high_an_id_close_when_the_association_comes_up():
    pair = ChannelsPair(right_settings=SctpSettings(streams=10))
    beyond = pair.a.create(id=10, negotiated=True)
    pair.connect()
    assert beyond.state is ChannelState.CLOSED
    assert pair.a.create(id=9, negotiated=True).state is ChannelState.OPEN


def test_an_open_message_on_a_stream_without_a_way_back_is_refused():
    pair = connected(settings=SctpSettings(streams=10))
    left, right = (side.association.state.link for side in (pair.a, pair.b))
    left.terms = replace(left.terms, outbound_streams=100)  # as a peer may have it that adds streams (RFC 6525 §4.5)
    right.receiver.inbound_streams = 100
    ask(pair, 50, wish())
    assert pair.b.refused == [(50, "the stream does not exist in the other direction")]
    assert pair.b.arrived == []


def test_messages_follow_an_open_message_at_once():
    pair = connected()
    near = pair.a.create("chat")
    pair.a.send(near, "already here")
    pair.drain()
    pair.deliver()
    (far,) = pair.b.arrived
    assert pair.b.take_all(far) == ["already here"]


@pytest.mark.parametrize("acknowledged", [False, True])
def test_an_unordered_channel_is_ordered_until_the_peer_has_answered(acknowledged):
    pair = connected()
    near = pair.a.create("chat", ordered=False)
    pair.drain()
    if acknowledged:
        pair.settle()
    else:
        pair.lose_all()
    pair.a.send(near, "message")
    pair.drain()
    pair.deliver()
    arrived = [pair.b.take_all(channel) for channel in pair.b.arrived]
    assert arrived == ([["message"]] if acknowledged else [])
    pair.settle()
    assert [pair.b.take_all(channel) for channel in pair.b.arrived] == ([[]] if acknowledged else [["message"]])


def test_a_negotiated_unordered_channel_is_unordered_from_the_start():
    pair = connected()
    near, far = (side.create(id=5, negotiated=True, ordered=False) for side in (pair.a, pair.b))
    pair.a.send(near, "first")
    pair.drain()
    pair.lose_all()
    pair.a.send(near, "second")
    pair.drain()
    pair.deliver()
    assert pair.b.take_all(far) == ["second"]
