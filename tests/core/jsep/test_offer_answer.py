"""One round of offer and answer between two of us."""

import pytest

from trio_webrtc.core.sdp import parse
from trio_webrtc.errors import UsageError


def test_both_sides_learn_of_each_other(left, right, negotiate):
    left.request_data()
    negotiate(left, right)
    for side, other, role in ((left, right, "server"), (right, left, "client")):
        assert side.state == "stable"
        assert side.applied.data_negotiated
        assert side.applied.dtls_role == role
        assert side.applied.local == side.transport
        remote = side.applied.remote
        assert (remote.ufrag, remote.password) == (other.transport.ufrag, other.transport.password)
        assert remote.fingerprints == other.fingerprints
        assert remote.max_message_size == 262144
        assert remote.sctp_port == 5000
        assert remote.trickle
        assert remote.mid == "0"
        assert not remote.lite
        assert not side.applied.remote_restarted
        assert not side.applied.rolled_back


def test_before_the_answer_nothing_is_agreed(left, right):
    left.request_data()
    offer = left.offers()
    assert left.state == "have-local-offer"
    assert (left.applied.remote, left.applied.dtls_role, left.applied.data_negotiated) == (None, None, False)
    applied = right.sets_remote("offer", offer)
    assert right.state == "have-remote-offer"
    assert applied.remote.ufrag == "left1"
    assert (applied.local, applied.dtls_role, applied.data_negotiated) == (None, None, False)


@pytest.mark.parametrize(("setup", "role"), [("actpass", "client"), ("active", "server"), ("passive", "client")])
def test_the_answer_takes_the_dtls_role_that_is_left(left, right, setup, role):
    left.request_data()
    applied = right.sets_remote("offer", left.offers().replace("setup:actpass", f"setup:{setup}"))
    assert applied.dtls_role is None
    assert right.sets_local().dtls_role == role


def test_a_passive_answer_makes_the_offerer_the_client(left, right):
    left.request_data()
    answer = right.answers(left.offers().replace("setup:actpass", "setup:active"))
    assert "a=setup:passive\r\n" in answer
    assert left.sets_remote("answer", answer).dtls_role == "client"


def test_the_offer_has_all_that_jsep_asks_for(left):
    left.request_data()
    left.fingerprints = ("sha-256 AB:CD", "sha-512 01:23")
    offer = parse(left.offers())
    assert offer.origin.username == "-"
    assert 0 <= offer.origin.session_id < 1 << 63
    assert [str(found) for found in offer.attributes] == ["ice-options:trickle ice2", "group:BUNDLE 0"]
    (media,) = offer.media
    assert (media.kind, media.port, media.protocol) == ("application", 9, "UDP/DTLS/SCTP")
    assert media.formats == ("webrtc-datachannel",)
    assert str(media.connection) == "IN IP4 0.0.0.0"
    assert [str(found) for found in media.attributes] == [
        "ice-ufrag:left1",
        "ice-pwd:left-1-password-of-length",
        "fingerprint:sha-256 AB:CD",
        "fingerprint:sha-512 01:23",
        "setup:actpass",
        "mid:0",
        "sctp-port:5000",
        "max-message-size:262144",
    ]


def test_what_differs_between_agents_is_announced(left, right):
    left.request_data()
    left.lite, left.sctp_port, left.max_message_size = True, 5001, 0
    remote = right.sets_remote("offer", left.offers()).remote
    assert remote.lite
    assert remote.sctp_port == 5001
    assert remote.max_message_size == 0


def test_set_local_without_arguments_offers_or_answers_as_fits(left, right):
    left.request_data()
    left.sets_local()
    assert left.state == "have-local-offer"
    right.sets_remote(*left.describe("pending-local"))
    right.sets_local()
    assert right.state == "stable"
    left.sets_remote(*right.describe("current-local"))
    assert left.applied.data_negotiated


def test_what_was_created_can_be_set_though_candidates_came_meanwhile(left, right):
    left.request_data()
    left.candidates = ("candidate:1 1 udp 2130706431 192.0.2.1 4000 typ host",)
    offer = left.create_offer()
    left.candidates += ("candidate:2 1 udp 2130706431 192.0.2.2 4000 typ host",)
    left.sets_local("offer", offer)
    assert left.state == "have-local-offer"
    right.sets_remote("offer", offer)
    right.sets_local("answer", right.create_answer())
    assert right.state == "stable"


def test_what_is_set_must_be_what_was_created(left, right):
    left.request_data()
    offer = left.create_offer()
    for wrong in (offer.replace("max-message-size:262144", "max-message-size:1"), "v=0", right.create_offer()):
        with pytest.raises(UsageError):
            left.sets_local("offer", wrong)
    assert left.state == "stable"
    with pytest.raises(UsageError, match="create_answer"):
        right.sets_remote("offer", offer)
        right.sets_local("answer", offer)


def test_an_offer_of_nothing_is_legal_and_leads_nowhere(left, right, negotiate):
    offer, answer = negotiate(left, right)
    assert "m=" not in offer + answer
    assert left.state == right.state == "stable"
    assert not left.applied.data_negotiated
    assert left.applied.remote is None
    left.request_data()
    assert left.needed
    negotiate(left, right)
    assert left.applied.data_negotiated
    assert right.applied.data_negotiated


def test_the_four_descriptions_are_where_w3c_has_them(left, right):
    left.request_data()
    offer = left.offers()
    assert left.describe("pending-local") == ("offer", offer)
    assert left.describe("current-local") is None
    right.sets_remote("offer", offer)
    assert right.describe("pending-remote") == ("offer", offer)
    right.sets_local()
    assert right.describe("pending-remote") is right.describe("pending-local") is None
    assert right.describe("current-remote") == ("offer", offer)
    kind, answer = right.describe("current-local")
    assert kind == "answer"
    left.sets_remote("answer", answer)
    assert left.describe("current-local") == ("offer", offer)
    assert left.describe("current-remote") == ("answer", answer)


def test_provisional_answers_may_be_repeated_and_are_followed_by_one_that_is_final(left, right):
    left.request_data()
    right.sets_remote("offer", left.offers())
    for _ in range(2):
        applied = right.sets_local("pranswer")
        assert right.state == "have-local-pranswer"
        assert (applied.dtls_role, applied.data_negotiated) == ("client", True)
        kind, text = right.describe("pending-local")
        assert kind == "pranswer"
        applied = left.sets_remote("pranswer", text)
        assert left.state == "have-remote-pranswer"
        assert (applied.dtls_role, applied.data_negotiated) == ("server", True)
    right.sets_local()
    left.sets_remote("answer", right.describe("current-local")[1])
    assert left.state == right.state == "stable"
    assert left.describe("current-remote")[0] == right.describe("current-local")[0] == "answer"


STEPS = {
    "set an offer": lambda side, offer, answer: side.sets_local("offer"),
    "set an answer": lambda side, offer, answer: side.sets_local("answer"),
    "set a pranswer": lambda side, offer, answer: side.sets_local("pranswer"),
    "take an offer": lambda side, offer, answer: side.sets_remote("offer", offer),
    "take an answer": lambda side, offer, answer: side.sets_remote("answer", answer),
    "take a pranswer": lambda side, offer, answer: side.sets_remote("pranswer", answer),
    "roll back": lambda side, offer, answer: side.sets_local("rollback"),
    "roll back the peer's": lambda side, offer, answer: side.sets_remote("rollback", ""),
    "create an offer": lambda side, offer, answer: side.create_offer(),
    "create an answer": lambda side, offer, answer: side.create_answer(),
}

# RFC 9429 §3.2, Figure 2; and W3C's leave for the peer's offer to replace ours.
ALLOWED = {
    "stable": {"set an offer", "take an offer", "create an offer"},
    "have-local-offer": {
        "set an offer",
        "take an offer",
        "take an answer",
        "take a pranswer",
        "roll back",
        "roll back the peer's",
        "create an offer",
    },
    "have-remote-offer": {
        "take an offer",
        "set an answer",
        "set a pranswer",
        "roll back",
        "roll back the peer's",
        "create an answer",
    },
    "have-local-pranswer": {"set an answer", "set a pranswer", "create an answer"},
    "have-remote-pranswer": {"take an answer", "take a pranswer"},
    "closed": set(),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("state", ALLOWED)
def test_each_state_allows_what_it_allows_and_is_kept_by_what_it_refuses(left, right, state, step):
    left.request_data()
    right.request_data()
    offer = right.offers()
    answer = _answer_to_left(left)
    match state:
        case "have-local-offer":
            left.sets_local("offer")
        case "have-remote-offer":
            left.sets_remote("offer", offer)
        case "have-local-pranswer":
            left.sets_remote("offer", offer)
            left.sets_local("pranswer")
        case "have-remote-pranswer":
            left.sets_local("offer")
            left.sets_remote("pranswer", answer)
        case "closed":
            left.negotiation.close()
    assert left.state == state
    if step in ALLOWED[state]:
        STEPS[step](left, offer, answer)
    else:
        with pytest.raises(UsageError, match=state):
            STEPS[step](left, offer, answer)
        assert left.state == state


def _answer_to_left(left):
    third = type(left)("third")
    return third.answers(left.create_offer())


@pytest.mark.parametrize("verb", ["sets_local", "sets_remote"])
def test_unknown_types_are_refused(left, verb):
    with pytest.raises(UsageError, match="'bid'"):
        getattr(left, verb)("bid", "v=0")
