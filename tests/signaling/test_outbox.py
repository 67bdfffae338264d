"""The outbox: what is said in which order, and what is not said any more."""

import pytest
import trio

from trio_webrtc import IceCandidate, SessionDescription
from trio_webrtc.signaling.outbox import Outbox
from trio_webrtc.subscriptions import Replay

OFFER = SessionDescription("offer", "a=ice-ufrag:one\r\n")
LATER_OFFER = SessionDescription("offer", "a=ice-ufrag:two\r\n")
ANSWER = SessionDescription("answer", "a=ice-ufrag:one\r\n")
FIRST, SECOND = (IceCandidate(f"candidate:{number} 1 udp 1 10.0.0.1 9 typ host", "0", 0, "one") for number in (1, 2))
END = IceCandidate("", "0", 0, "one")


class Gathering:
    """As much of a connection as an outbox sees."""

    def __init__(self) -> None:
        self.ice_gathering_state = "gathering"
        self.candidates: Replay[IceCandidate] = Replay()

    def local_candidates(self) -> trio.abc.ReceiveChannel[IceCandidate]:
        return self.candidates.subscribe()

    def complete(self) -> None:
        self.ice_gathering_state = "complete"
        self.candidates.end()


async def say(outbox: Outbox, said: list[SessionDescription | IceCandidate]) -> None:
    while True:
        said.append(await outbox.next())
        outbox.said(said[-1])


async def say_all(outbox: Outbox) -> list[SessionDescription | IceCandidate]:
    """Everything that is to be said by now."""
    said: list[SessionDescription | IceCandidate] = []
    with trio.move_on_after(1):
        await say(outbox, said)
    return said


@pytest.fixture
def gathering() -> Gathering:
    return Gathering()


@pytest.fixture
def outbox(gathering: Gathering) -> Outbox:
    return Outbox(gathering)


async def test_an_answer_is_said_before_an_offer_that_was_made_after_it(outbox, autojump_clock):
    outbox.put(ANSWER)
    outbox.put(LATER_OFFER)
    assert await say_all(outbox) == [ANSWER, LATER_OFFER]


async def test_an_offer_that_was_given_up_for_an_answer_is_not_said(outbox, autojump_clock):
    outbox.put(OFFER)
    outbox.put(ANSWER)
    assert await say_all(outbox) == [ANSWER]


async def test_of_two_offers_the_latter_is_said(outbox, autojump_clock):
    outbox.put(OFFER)
    outbox.put(LATER_OFFER)
    assert await say_all(outbox) == [LATER_OFFER]


async def test_a_description_is_held_until_it_was_said_even_if_saying_it_was_cancelled(outbox, autojump_clock):
    outbox.put(OFFER)
    assert await outbox.next() is OFFER
    assert outbox.holds_description
    assert await say_all(outbox) == [OFFER]
    assert not outbox.holds_description


async def test_candidates_follow_the_description_and_then_their_end(outbox, gathering, autojump_clock):
    gathering.candidates.append(FIRST)
    assert await say_all(outbox) == []
    outbox.put(OFFER)
    assert await say_all(outbox) == [OFFER, FIRST]
    gathering.candidates.append(SECOND)
    gathering.complete()
    assert await say_all(outbox) == [SECOND, END]
    assert await say_all(outbox) == []


async def test_candidates_in_the_description_are_not_told_again(outbox, gathering, autojump_clock):
    gathering.candidates.append(FIRST)
    outbox.put(SessionDescription("offer", f"a=ice-ufrag:one\r\na={FIRST.candidate}\r\n"))
    gathering.candidates.append(SECOND)
    assert (await say_all(outbox))[1:] == [SECOND]


async def test_nor_is_the_end_of_them(outbox, gathering, autojump_clock):
    gathering.candidates.append(FIRST)
    gathering.complete()
    outbox.put(SessionDescription("answer", f"a={FIRST.candidate}\r\na=end-of-candidates\r\n"))
    assert len(await say_all(outbox)) == 1


async def test_a_generation_that_was_given_up_does_not_end_the_candidates(outbox, gathering, autojump_clock):
    outbox.put(OFFER)
    gathering.candidates.append(FIRST)
    gathering.candidates.end()
    assert await say_all(outbox) == [OFFER, FIRST]


async def test_who_waits_for_candidates_gets_a_description_first(outbox, gathering, autojump_clock):
    said: list[SessionDescription | IceCandidate] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(say, outbox, said)
        await trio.sleep(1)
        gathering.candidates.append(FIRST)
        outbox.put(OFFER)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert said == [OFFER, FIRST]
