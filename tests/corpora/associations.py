"""Associations in every state that there is."""

import random

from trio_webrtc.core.sctp import Association, SctpSettings


def new_association(seed=1):
    return Association(settings=SctpSettings(), rng=random.Random(seed), max_packet_size=1200, now=0.0)


class Conversation:
    """Two associations on their way through all states; the left one is the one to look at."""

    def __init__(self):
        self.left, self.right = new_association(1), new_association(2)
        self.tag = 0
        """What packets to the left one carry."""

    def to_right(self):
        self.right.receive_datagrams(self.left.poll_transmits(0.0, 100), 0.0)

    def to_left(self):
        self.left.receive_datagrams(self.right.poll_transmits(0.0, 100), 0.0)


def closed(c):
    """Not begun."""


def cookie_wait(c):
    c.left.connect(0.0)
    init = c.left.poll_transmits(0.0, 1)
    c.tag = int.from_bytes(init[0][16:20])
    c.right.receive_datagrams(init, 0.0)


def cookie_echoed(c):
    cookie_wait(c)
    c.to_left()


def established(c):
    cookie_echoed(c)
    c.to_right()
    c.to_left()
    assert c.left.is_established
    c.left.send(1, 51, bytes(3_000), now=0.0)
    c.left.send(2, 51, bytes(100), max_retransmits=0, now=0.0)
    c.left.poll_transmits(0.0, 100)
    c.left.reset_streams([3], 0.0)
    c.right.send(1, 51, bytes(3_000), now=0.0)
    c.left.receive_datagrams(c.right.poll_transmits(0.0, 1), 0.0)


def shutdown_pending(c):
    established(c)
    c.left.shutdown(0.0)


def shutdown_sent(c):
    cookie_echoed(c)
    c.to_right()
    c.to_left()
    c.left.shutdown(0.0)
    assert c.left.poll_transmits(0.0, 100)


def shutdown_received(c):
    cookie_echoed(c)
    c.to_right()
    c.to_left()
    c.left.send(1, 51, bytes(3_000), now=0.0)
    c.left.poll_transmits(0.0, 100)
    c.right.shutdown(0.0)
    c.to_left()


def shutdown_ack_sent(c):
    cookie_echoed(c)
    c.to_right()
    c.to_left()
    c.right.shutdown(0.0)
    c.to_left()
    c.left.poll_transmits(0.0, 100)


def ended(c):
    established(c)
    c.left.abort("", 0.0)
    c.left.poll_transmits(0.0, 100)


STATES = (
    closed,
    cookie_wait,
    cookie_echoed,
    established,
    shutdown_pending,
    shutdown_sent,
    shutdown_received,
    shutdown_ack_sent,
    ended,
)


def in_state(lead_to):
    conversation = Conversation()
    lead_to(conversation)
    return conversation
