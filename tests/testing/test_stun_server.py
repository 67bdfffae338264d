"""The STUN server of the test kit, asked by hand."""

import random

import trio

from trio_webrtc.core.stun.message import XOR_MAPPED_ADDRESS, Message, MessageClass, Method, TransactionIds
from trio_webrtc.testing import VirtualNetwork, serve_stun


def question(message_class=MessageClass.REQUEST):
    transaction_id = TransactionIds(random.Random(1)).new()
    return Message(method=Method.BINDING, message_class=message_class, transaction_id=transaction_id)


async def test_it_tells_the_asker_where_the_question_came_from_on_all_its_addresses(autojump_clock, nursery):
    network = VirtualNetwork(seed=1)
    server, asker = network.add_host("198.51.100.1", "2001:db8::1"), network.add_host("10.0.0.1", "2001:db8::2")
    await nursery.start(serve_stun, server)
    for at, address in zip(server.addresses, asker.addresses, strict=True):
        socket = asker.open_udp((address, 0))
        socket.send((at, 3478), question().encode(), None, None)
        await socket.wait_readable()
        (arrival,) = socket.receive()
        answer = Message.decode(arrival.data)
        assert answer.message_class is MessageClass.RESPONSE
        assert answer.get(XOR_MAPPED_ADDRESS) == socket.local_address
    nursery.cancel_scope.cancel()


async def test_it_is_silent_about_what_is_no_question_and_lives_on(autojump_clock, nursery):
    network = VirtualNetwork(seed=1)
    server, asker = network.add_host("198.51.100.1"), network.add_host("10.0.0.1")
    await nursery.start(serve_stun, server)
    socket = asker.open_udp(("10.0.0.1", 0))
    for datagram in (b"", b"noise", question(MessageClass.INDICATION).encode(), question().encode()):
        socket.send(("198.51.100.1", 3478), datagram, None, None)
    await trio.sleep(1)
    assert len(socket.receive()) == 1
    nursery.cancel_scope.cancel()


async def test_it_leaves_nothing_behind(autojump_clock):
    network = VirtualNetwork(seed=1)
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_stun, network.add_host("198.51.100.1", "2001:db8::1"))
        assert len(network.open_sockets) == 2
        nursery.cancel_scope.cancel()
    assert network.open_sockets == []
