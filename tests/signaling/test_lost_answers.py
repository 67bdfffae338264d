"""negotiate(): an answer that nobody has heard does no lasting harm, whichever side gave it and whatever comes next."""

import pytest
import trio

from trio_webrtc import DataChannel, PeerConnection, SessionDescription, open_peer_connection
from trio_webrtc.signaling import Signaling, SignalingMessage, negotiate, open_memory_signaling

from ..surface.conftest import World

PATIENCE = 100.0


class LosingAnswers(Signaling):
    """One end of signalling that breaks when an answer is to go out."""

    def __init__(self, whole: Signaling) -> None:
        self._whole = whole

    async def send(self, value: SignalingMessage) -> None:
        if isinstance(value, SessionDescription) and value.type == "answer":
            await self._whole.aclose(1006)
            raise trio.BrokenResourceError
        await self._whole.send(value)

    async def receive(self) -> SignalingMessage:
        return await self._whole.receive()

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        await self._whole.aclose(code, reason)

    def reconnections(self):
        return self._whole.reconnections()

    close_code = close_reason = remote_address = None


async def meet(left: PeerConnection, right: PeerConnection, channel: DataChannel, *, left_is_polite: bool) -> None:
    """Negotiate by new signalling, until they are connected."""
    one, other = open_memory_signaling()
    async with negotiate(left, one, polite=left_is_polite), negotiate(right, other, polite=not left_is_polite):
        with trio.fail_after(PATIENCE):
            await left.wait_connected()
            await channel.wait_open()


@pytest.mark.parametrize("answerer_is_polite", [True, False])
async def test_an_answer_that_is_lost_with_the_signalling_is_made_up_for(
    world: World, autojump_clock, answerer_is_polite: bool
):
    """The answerer has taken a DTLS role by it of which the other side knows nothing, and which that may take now."""
    async with (
        open_peer_connection(network=world.left) as answerer,
        open_peer_connection(network=world.right) as offerer,
    ):
        channel = offerer.create_data_channel("right")
        one, other = open_memory_signaling()
        async with (
            negotiate(answerer, LosingAnswers(one), polite=answerer_is_polite) as here,
            negotiate(offerer, other, polite=not answerer_is_polite) as there,
        ):
            with trio.fail_after(PATIENCE):
                await here.signaling_lost.wait()
                await there.signaling_lost.wait()
        answerer.create_data_channel("left")  # with an id by the role that it had
        await meet(answerer, offerer, channel, left_is_polite=answerer_is_polite)


@pytest.mark.parametrize("leaver_is_polite", [True, False])
async def test_whoever_leaves_between_an_offer_and_its_answer_answers_the_next(
    world: World, autojump_clock, monkeypatch: pytest.MonkeyPatch, leaver_is_polite: bool
):
    async with (
        open_peer_connection(network=world.left) as leaver,
        open_peer_connection(network=world.right) as stayer,
    ):
        channel = stayer.create_data_channel("right")
        describe, leaving = PeerConnection.set_local_description, trio.CancelScope()

        async def leave_instead(self: PeerConnection, description: SessionDescription | None = None) -> None:
            if self is leaver:
                leaving.cancel()
            await describe(self, description)

        monkeypatch.setattr(PeerConnection, "set_local_description", leave_instead)
        with leaving:
            await meet(leaver, stayer, channel, left_is_polite=leaver_is_polite)
        assert leaver.signaling_state == "have-remote-offer"
        monkeypatch.undo()
        await meet(leaver, stayer, channel, left_is_polite=leaver_is_polite)


@pytest.mark.parametrize("pause", [0, 1])
async def test_an_offer_the_other_way_makes_up_for_a_lost_answer_also_by_hand(world: World, autojump_clock, pause: int):
    async with (
        open_peer_connection(network=world.left) as answerer,
        open_peer_connection(network=world.right) as offerer,
    ):
        channel = offerer.create_data_channel("right")
        await offerer.set_local_description()
        await answerer.set_remote_description(offerer.local_description)
        await answerer.set_local_description()  # nobody hears of it
        await trio.sleep(pause)
        answerer.restart_ice()
        await answerer.set_local_description()
        await answerer.wait_gathering_complete()
        await offerer.set_remote_description(answerer.local_description)
        await offerer.set_local_description()
        await offerer.wait_gathering_complete()
        await answerer.set_remote_description(offerer.local_description)
        with trio.fail_after(PATIENCE):
            await answerer.wait_connected()
            await channel.wait_open()
