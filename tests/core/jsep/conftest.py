"""Two sides that negotiate, and short ways to say what they do."""

import random

import pytest

from trio_webrtc.core.jsep import LocalTransport, Negotiation, Which

FINGERPRINT = "sha-256 " + ":".join(["AB"] * 32)


class Side:
    """A negotiation and the transport that its owner would hand in: `restart` gives it new credentials."""

    def __init__(self, name: str) -> None:
        self.name, self.generation = name, 1
        self.fingerprints = (f"sha-256 {':'.join([name[0].encode().hex().upper()] * 32)}",)
        self.lite, self.max_message_size, self.sctp_port = False, 262144, 5000
        self.candidates: tuple[str, ...] = ()
        self.ended = False
        self.negotiation = Negotiation(rng=random.Random(name))
        self.applied = None

    @property
    def transport(self):
        return LocalTransport(
            ufrag=f"{self.name}{self.generation}",
            password=f"{self.name}-{self.generation}-password-of-length",
            fingerprints=self.fingerprints,
            lite=self.lite,
            candidates=self.candidates,
            end_of_candidates=self.ended,
            max_message_size=self.max_message_size,
            sctp_port=self.sctp_port,
        )

    @property
    def state(self):
        return self.negotiation.signaling_state.value

    @property
    def needed(self):
        return self.negotiation.negotiation_needed

    def restart(self):
        self.negotiation.request_restart()
        self.generation += 1

    def request_data(self):
        self.negotiation.request_data()

    def sets_local(self, type_=None, sdp=None):
        self.applied = self.negotiation.set_local(type_, sdp, self.transport)
        return self.applied

    def sets_remote(self, type_, sdp):
        self.applied = self.negotiation.set_remote(type_, sdp)
        return self.applied

    def create_offer(self):
        return self.negotiation.create_offer(self.transport)

    def create_answer(self):
        return self.negotiation.create_answer(self.transport)

    def describe(self, which):
        return self.negotiation.describe(Which(which), self.candidates, self.ended)

    def offers(self):
        """Set an offer and return its text."""
        self.sets_local("offer")
        return self.describe("pending-local")[1]

    def answers(self, offer):
        """Take an offer, set the answer, and return its text."""
        self.sets_remote("offer", offer)
        if self.applied.remote_restarted:
            self.generation += 1
        self.sets_local("answer")
        return self.describe("current-local")[1]


@pytest.fixture
def left():
    """The side that usually offers."""
    return Side("left")


@pytest.fixture
def right():
    """The side that usually answers."""
    return Side("right")


@pytest.fixture
def negotiate():
    """One whole round: `negotiate(offerer, answerer)` returns the texts of offer and answer."""

    def negotiate(offerer, answerer):
        offer = offerer.offers()
        answer = answerer.answers(offer)
        offerer.sets_remote("answer", answer)
        return offer, answer

    return negotiate


@pytest.fixture
def connected(left, right, negotiate):
    """Both sides, with data channels agreed on."""
    left.request_data()
    negotiate(left, right)
    return left, right


@pytest.fixture
def browser_offer():
    """A browser's offer of audio, video and data, all bundled, as captured ones look."""
    return BROWSER_OFFER


_TRANSPORT = f"""\
c=IN IP4 0.0.0.0
a=ice-ufrag:sTb5
a=ice-pwd:8vj6I5v5wGxnIY360GrTXjvM
a=ice-options:trickle
a=fingerprint:{FINGERPRINT}
a=setup:actpass
"""

BROWSER_OFFER = f"""\
v=0
o=- 5401646585420642882 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1 2
a=msid-semantic: WMS
m=audio 9 UDP/TLS/RTP/SAVPF 111 63
{_TRANSPORT}a=mid:0
a=sendrecv
a=rtcp-mux
a=rtpmap:111 opus/48000/2
m=video 9 UDP/TLS/RTP/SAVPF 96
{_TRANSPORT}a=mid:1
a=sendrecv
a=rtpmap:96 VP8/90000
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
{_TRANSPORT}a=mid:2
a=sctp-port:5000
a=max-message-size:262144
"""
