"""Later rounds: what stays, what may change, what is taken back."""

import pytest

from trio_webrtc.core.sdp import parse
from trio_webrtc.errors import InvalidDescriptionError, UsageError


def version(text):
    return parse(text).origin.session_version


def test_either_side_may_offer_again_and_nothing_changes(connected, negotiate):
    left, right = connected
    for offerer, answerer in ((left, right), (right, left), (right, left), (left, right)):
        negotiate(offerer, answerer)
        assert (left.applied.dtls_role, right.applied.dtls_role) == ("server", "client")
        assert left.applied.data_negotiated
        assert right.applied.data_negotiated
        assert not left.applied.remote_restarted
        assert not right.applied.remote_restarted


def test_the_version_rises_when_the_description_changes_and_only_then(left, right, negotiate):
    first, _ = negotiate(left, right)
    left.request_data()
    second, _ = negotiate(left, right)
    third, _ = negotiate(left, right)
    left.restart()
    fourth, _ = negotiate(left, right)
    assert [version(text) for text in (first, second, third, fourth)] == [1, 2, 2, 3]
    assert len({parse(text).origin.session_id for text in (first, second, third, fourth)}) == 1


def test_a_rolled_back_version_is_not_used_again_for_something_else(connected):
    left, _ = connected
    left.restart()
    abandoned = left.offers()
    left.sets_local("rollback")
    left.restart()
    assert version(left.offers()) > version(abandoned)


def test_a_restart_by_the_offerer_is_noticed_on_both_sides(connected, negotiate):
    left, right = connected
    left.restart()
    assert left.needed
    negotiate(left, right)
    assert not left.needed
    assert right.applied.remote.ufrag == "left2"
    assert left.applied.remote.ufrag == "right2"
    assert left.applied.remote_restarted


def test_the_answerer_hears_of_a_restart_with_the_offer(connected):
    left, right = connected
    left.restart()
    assert right.sets_remote("offer", left.offers()).remote_restarted
    assert not right.sets_local().remote_restarted


def test_a_restart_is_still_needed_after_a_round_that_did_not_bring_it(connected, negotiate):
    left, right = connected
    left.negotiation.request_restart()
    negotiate(left, right)
    assert left.needed


def test_a_restart_before_anything_was_agreed_needs_nothing(left):
    left.negotiation.request_restart()
    assert not left.needed


def test_sections_keep_their_order_when_the_answerer_offers(left, right, negotiate, browser_offer):
    left.answers(browser_offer)
    offer = parse(left.offers())
    assert [(media.kind, media.find("mid").value, media.port) for media in offer.media] == [
        ("audio", "0", 0),
        ("video", "1", 0),
        ("application", "2", 9),
    ]
    assert offer.find("group").value == "BUNDLE 2"


@pytest.mark.parametrize("taker", ["sets_local", "sets_remote"])
def test_an_offer_of_ours_can_be_rolled_back(connected, taker):
    left, _ = connected
    left.restart()
    left.offers()
    applied = getattr(left, taker)("rollback", "")
    assert left.state == "stable"
    assert applied.rolled_back
    assert applied.data_negotiated
    assert applied.local.ufrag == "left1"
    assert left.describe("pending-local") is None
    assert left.needed


@pytest.mark.parametrize("taker", ["sets_local", "sets_remote"])
def test_a_first_offer_of_the_peers_can_be_rolled_back_without_trace(left, right, browser_offer, taker):
    left.request_data()
    left.sets_remote("offer", browser_offer)
    applied = getattr(left, taker)("rollback", "")
    assert applied.rolled_back
    assert (applied.remote, applied.data_negotiated) == (None, False)
    assert left.needed
    assert len(parse(left.offers()).media) == 1


def test_rolling_back_a_restart_of_the_peers_returns_to_its_old_generation(connected):
    left, right = connected
    left.restart()
    right.sets_remote("offer", left.offers())
    applied = right.sets_remote("rollback", "")
    assert applied.remote.ufrag == "left1"
    assert applied.remote_restarted


def test_when_offers_cross_the_peers_replaces_ours(left, right):
    left.request_data()
    right.request_data()
    left.offers()
    answer = left.answers(right.offers())
    right.sets_remote("answer", answer)
    assert left.state == right.state == "stable"
    assert left.applied.dtls_role == "client"
    assert right.applied.data_negotiated


def test_a_crossing_offer_that_is_broken_leaves_ours_pending(left, browser_offer):
    left.request_data()
    left.offers()
    with pytest.raises(InvalidDescriptionError):
        left.sets_remote("offer", browser_offer.replace("ice-pwd", "ice-word"))
    assert left.state == "have-local-offer"


def test_the_peer_may_take_data_away_and_bring_it_back(connected, negotiate):
    left, right = connected
    gone = left.create_offer().replace("m=application 9", "m=application 0").replace("a=group:BUNDLE 0\r\n", "")
    right.answers(gone)
    assert not right.applied.data_negotiated
    assert right.applied.remote is None
    right.request_data()
    assert not right.needed  # it was refused; asking for ever would not help
    offer = parse(right.offers())
    assert len(offer.media) == 1
    assert offer.media[0].find("mid").value == "1"


def test_an_answer_that_rejects_data_is_understood(left, right):
    left.request_data()
    answer = right.answers(left.offers())
    applied = left.sets_remote("answer", answer.replace("m=application 9", "m=application 0"))
    assert left.state == "stable"
    assert not applied.data_negotiated
    assert applied.remote is None
    assert applied.dtls_role is None
    assert not left.needed


def test_a_changed_fingerprint_is_told(connected, negotiate):
    left, right = connected
    right.fingerprints = ("sha-256 " + ":".join(["EE"] * 32),)
    negotiate(left, right)
    assert left.applied.remote_identity_changed
    negotiate(left, right)
    assert not left.applied.remote_identity_changed


def test_the_dtls_roles_cannot_be_swapped_while_the_association_goes_on(connected):
    left, right = connected
    for side in connected:
        side.negotiation.keep_identity()
    offer = left.offers()
    with pytest.raises(InvalidDescriptionError, match="DTLS client"):
        right.sets_remote("offer", offer.replace("setup:actpass", "setup:active"))
    answer = right.answers(offer)
    with pytest.raises(InvalidDescriptionError, match="DTLS server"):
        left.sets_remote("answer", answer.replace("setup:active", "setup:passive"))
    assert left.state == "have-local-offer"
    left.sets_remote("answer", answer)


def test_the_dtls_roles_may_be_swapped_before_there_is_an_association(connected):
    """Nobody can know to have a role by an answer that was lost."""
    left, right = connected
    offer = left.offers()
    left.sets_remote("answer", right.answers(offer).replace("setup:active", "setup:passive"))
    assert left.applied.dtls_role == "client"


def test_an_answer_that_restarts_ice_may_write_another_dtls_role(connected, negotiate):
    left, right = connected
    left.restart()
    answer = right.answers(left.offers())
    left.sets_remote("answer", answer.replace("setup:active", "setup:passive"))
    assert left.state == "stable"
    offer = right.offers()
    assert "a=setup:active\r\n" in left.answers(offer)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda offer: offer[: offer.index("m=")].replace("a=group:BUNDLE 0\r\n", ""), "1 media sections, found 0"),
        (lambda offer: offer.replace("m=application 9", "m=audio 9"), "to be application as before"),
        (lambda offer: offer.replace("mid:0", "mid:7").replace("BUNDLE 0", "BUNDLE 7"), "the mid '0' as before"),
    ],
)
def test_a_later_offer_keeps_the_sections_there_are(connected, change, expected):
    left, right = connected
    with pytest.raises(InvalidDescriptionError, match=expected):
        right.sets_remote("offer", change(left.offers()))
    assert right.state == "stable"


def test_a_later_offer_may_add_sections_which_are_rejected(connected):
    left, right = connected
    offer = left.create_offer() + "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:9\r\n"
    answer = parse(right.answers(offer))
    assert [media.port for media in answer.media] == [9, 0]
    assert right.applied.data_negotiated


def test_negotiation_is_needed_once_data_is_requested_and_until_it_was_offered(left, right):
    assert not left.needed
    left.request_data()
    assert left.needed
    offer = left.offers()
    assert not left.needed
    left.sets_remote("answer", right.answers(offer))
    assert not left.needed


def test_nothing_is_needed_once_closed(left):
    left.request_data()
    left.negotiation.close()
    assert not left.needed
    assert left.state == "closed"


def test_the_answerer_needs_no_negotiation_for_data_that_it_was_offered(connected):
    _, right = connected
    right.request_data()
    assert not right.needed


def test_an_old_offer_cannot_be_set_again(connected):
    left, _ = connected
    with pytest.raises(UsageError):
        left.sets_local("offer", left.describe("current-local")[1])
