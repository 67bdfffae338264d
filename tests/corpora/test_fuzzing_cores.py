"""Every core against damaged inputs: nothing is raised, nothing grows without bound, and time brings it to rest."""

import random

from hypothesis import strategies as st

from trio_webrtc.core.contract import Received
from trio_webrtc.core.datachannel import ChannelParameters, DataChannels
from trio_webrtc.core.datachannel.establishment import ACK_MESSAGE, OpenMessage, PayloadProtocol
from trio_webrtc.core.ice import Agent, Credentials, parse_candidate
from trio_webrtc.core.jsep import LocalTransport, Negotiation
from trio_webrtc.core.peer import PeerCore, PeerSettings
from trio_webrtc.core.sctp import Association, SctpSettings
from trio_webrtc.core.sctp.packet import PacketWriter
from trio_webrtc.core.stun import Message, MessageClass, Method
from trio_webrtc.core.stun.message import ICE_CONTROLLED, PRIORITY, USE_CANDIDATE, USERNAME
from trio_webrtc.errors import InvalidDescriptionError, UsageError

from .associations import STATES, in_state
from .mutation import mutants, seeds_in
from .sessions import begun_session, connected_sessions, drain, new_session

HERE, THERE = ("192.0.2.1", 1), ("192.0.2.2", 2)
MAX_ANSWERS = 1_000


def let_time_pass(core, now, steps=5):
    """Fire some timers, and drain what a core has to say."""
    for _ in range(steps):
        if (due := core.next_timeout()) is None:
            return
        now = max(now, due)
        core.handle_timeout(now)
        empty(core, now)


def empty(core, now):
    answers = 0
    while core.poll_transmits(now) is not None:
        answers += 1
        assert answers < MAX_ANSWERS
    while core.poll_event() is not None:
        pass


def checking_agent(*, controlling):
    agent = Agent(
        controlling=controlling,
        credentials=Credentials("OURS", "PasswordOfOurOwnSidexx"),
        rng=random.Random(1),
    )
    agent.add_local_base("via", HERE, 0.0)
    agent.add_stun_server(("192.0.2.3", 3478), 0.0)
    agent.add_remote_candidate(parse_candidate("1 1 udp 1 192.0.2.2 2 typ host"), 0.0)
    agent.set_remote_credentials(Credentials("THEM", "PasswordOfTheOtherSide"), 0.0)
    return agent


def test_an_agent(fuzz, corpora_or_none):
    agent = checking_agent(controlling=True)
    request = Message(
        method=Method.BINDING,
        message_class=MessageClass.REQUEST,
        transaction_id=bytes(12),
        attributes={USERNAME: "OURS:THEM", PRIORITY: 1, ICE_CONTROLLED: 5, USE_CANDIDATE: None},
    )
    seeds = [request.encode(agent.local_credentials.key)]
    while (transmit := agent.poll_transmits(0.0)) is not None:
        own = Message.decode(transmit.data)
        seeds += [transmit.data, own.answer({}).encode(b"PasswordOfTheOtherSide"), own.refuse(487).encode()]
    seeds += seeds_in(corpora_or_none, "libwebrtc-fuzz/stun-corpus", "aiortc-vectors/aioice")

    def receive(batch, controlling):
        agent = checking_agent(controlling=controlling)
        agent.receive_datagrams([Received("via", THERE, data) for data in batch], 0.1)
        empty(agent, 0.1)
        let_time_pass(agent, 0.1)

    fuzz(receive, st.lists(mutants(seeds), min_size=1, max_size=4), st.booleans())


def test_a_session_before_and_in_its_handshake(fuzz, context, corpora_or_none):
    seeds = [*handshake_of(context), *seeds_in(corpora_or_none, "openssl-dtls-fuzz")]

    def receive(batch, make, is_client):
        session = make(context, is_client=is_client)
        session.receive_datagrams(batch, 0.0)
        for _ in range(100):
            drain(session)
            if (due := session.next_timeout()) is None:
                break
            session.handle_timeout(due)
        assert session.next_timeout() is None
        while session.poll_event() is not None:
            pass

    stages = st.sampled_from([new_session, begun_session])
    fuzz(receive, st.lists(mutants(seeds), min_size=1, max_size=4), stages, st.booleans())


def test_a_session_that_is_up(fuzz, context, corpora_or_none):
    client, server = connected_sessions(context)
    seeds = [*handshake_of(context), *seeds_in(corpora_or_none, "openssl-dtls-fuzz")]
    client.send([b"something", b"something else"])
    seeds += drain(client)

    def receive(batch):
        for sender, receiver in ((client, server), (server, client)):
            receiver.receive_datagrams(batch, 0.0)
            receiver.poll_packets()
            drain(receiver)
            sender.send([b"are you there?"])
            receiver.receive_datagrams(drain(sender), 0.0)
            assert receiver.poll_packets() == [b"are you there?"]

    fuzz(receive, st.lists(mutants(seeds), min_size=1, max_size=4))


def handshake_of(context):
    """The datagrams of one handshake."""
    client, server = (new_session(context, is_client=role) for role in (True, False))
    server.start(0.0)
    client.start(0.0)
    datagrams = []
    for _ in range(3):
        for sender, receiver in ((client, server), (server, client)):
            sent = drain(sender)
            receiver.receive_datagrams(sent, 0.0)
            datagrams += sent
    return datagrams


def bodies_of_packets(corpora_or_none):
    """What follows the common header: of our own packets, and of those of others."""
    own = []
    for state in STATES:
        conversation = in_state(state)
        for association in (conversation.left, conversation.right):
            own += [packet[12:] for packet in association.poll_transmits(0.0, 10)]
    theirs = seeds_in(corpora_or_none, "libwebrtc-fuzz/sctp-packet-corpus")
    theirs += seeds_in(corpora_or_none, "aiortc-vectors/aiortc", wanted=lambda path: path.name.startswith("sctp"))
    connect = seeds_in(corpora_or_none, "usrsctp-fuzz/CORPUS_CONNECT")
    return [*own, *(data[12:] for data in theirs), *(data[1:] for data in connect)]


def packets_to(tag, bodies):
    writer = PacketWriter(source_port=5000, destination_port=5000, verification_tag=tag)
    return [writer.write(body) for body in bodies]


def test_an_association_in_every_state(fuzz, corpora_or_none):
    def receive(bodies, state, tagged):
        conversation = in_state(state)
        association = conversation.left
        association.receive_datagrams(packets_to(conversation.tag if tagged else 0, bodies), 0.0)
        assert len(association.poll_transmits(0.0, MAX_ANSWERS)) < MAX_ANSWERS
        for _ in range(5):
            if (due := association.next_timeout()) is not None:
                association.handle_timeout(due)
                assert len(association.poll_transmits(due, MAX_ANSWERS)) < MAX_ANSWERS
        while association.poll_event() is not None:
            pass

    bodies = st.lists(mutants(bodies_of_packets(corpora_or_none)), min_size=1, max_size=4)
    fuzz(receive, bodies, st.sampled_from(STATES), st.booleans())


def test_data_channels(fuzz):
    opening = OpenMessage(
        label="chat", protocol="p", ordered=True, max_retransmits=None, max_packet_life_time=None, priority=256
    )
    ppids = st.sampled_from([*PayloadProtocol, 0, 52, 54])
    payloads = mutants([opening.encode(), ACK_MESSAGE, "текст".encode(), b"\0"])
    messages = st.lists(st.tuples(st.integers(0, 5), ppids, payloads), max_size=8)

    def receive(sent, resets):
        left, right = (
            Association(settings=SctpSettings(), rng=random.Random(seed), max_packet_size=1200, now=0.0)
            for seed in (1, 2)
        )
        channels = DataChannels(max_channels=4)
        channels.choose_ids(is_dtls_client=True)
        channels.attach(right)
        mine = channels.create(ChannelParameters(label="mine"), None, 0.0)
        left.connect(0.0)

        def exchange():
            for _ in range(10):
                right.receive_datagrams(left.poll_transmits(0.0, 100), 0.0)
                channels.process(0.0)
                left.receive_datagrams(right.poll_transmits(0.0, 100), 0.0)

        exchange()
        for stream, ppid, data in sent:
            if data and left.accepts_messages:
                left.send(stream, ppid, data, now=0.0)
        exchange()
        left.reset_streams(resets, 0.0)
        exchange()
        while channels.poll_event() is not None:
            pass
        while channels.take(mine, 0.0) is not None:
            pass
        assert right.is_established

    fuzz(receive, messages, st.sets(st.integers(0, 5)))


OURS = LocalTransport(ufrag="ours", password="p" * 22, fingerprints=("sha-256 AA:BB",))
DESCRIPTION = (
    "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=ice-options:trickle\r\n"
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=setup:actpass\r\n"
    "a=ice-ufrag:them\r\na=ice-pwd:passwordoftheotherside\r\na=fingerprint:sha-256 " + ":".join(["4A"] * 32) + "\r\n"
    "a=sctp-port:5000\r\na=max-message-size:262144\r\na=candidate:1 1 udp 1 192.0.2.2 2 typ host\r\n"
)
DESCRIPTIONS = ("browser-sdp", "mozilla-sdp", "sdp-transform", "jsep-rfc9429", "libwebrtc-fuzz/sdp-corpus")


def test_a_negotiation(fuzz, corpora_or_none):
    seeds = [DESCRIPTION.encode(), *seeds_in(corpora_or_none, *DESCRIPTIONS)]

    def negotiate(steps):
        negotiation = Negotiation(rng=random.Random(1))
        negotiation.request_data()
        for kind, data in steps:
            text = data.decode("utf-8", "surrogateescape")
            before = negotiation.signaling_state
            try:
                match kind:
                    case "ours":
                        negotiation.set_local(None, None, OURS)
                    case "candidate":
                        negotiation.parse_candidate("0", None, text[:200], None)
                    case _:
                        negotiation.set_remote(kind, text)
            except (InvalidDescriptionError, UsageError):
                assert negotiation.signaling_state is before

    kinds = st.sampled_from(["offer", "answer", "pranswer", "rollback", "ours", "candidate"])
    fuzz(negotiate, st.lists(st.tuples(kinds, mutants(seeds)), min_size=1, max_size=5))


def test_a_peers_description_and_its_datagrams(fuzz, context, corpora_or_none):
    """The whole core: the description comes by signalling, and the datagrams from an address that is not proved."""
    descriptions = [DESCRIPTION.encode(), *seeds_in(corpora_or_none, "browser-sdp")]
    datagrams = [*handshake_of(context), *seeds_in(corpora_or_none, "libwebrtc-fuzz/stun-corpus"), b"\x80" + bytes(20)]

    def receive(description, batch):
        peer = PeerCore(settings=PeerSettings(dtls_context=context), rng=random.Random(1), now=0.0)
        peer.add_local_base("via", HERE, local_preference=1, announced=(), now=0.0)
        try:
            peer.set_remote_description("offer", description.decode("utf-8", "surrogateescape"), 0.0)
            peer.set_local_description(None, None, 0.0)
        except InvalidDescriptionError:
            pass
        peer.receive_datagrams([Received("via", THERE, data) for data in batch], 0.0)
        empty(peer, 0.0)
        let_time_pass(peer, 0.0)
        peer.close(60.0)
        empty(peer, 60.0)
        assert peer.next_timeout() is None

    fuzz(receive, mutants(descriptions), st.lists(mutants(datagrams), max_size=3))
