"""What OpenSSL's fuzzers found worth sending to a DTLS client and server, sent to ours in each stage of a handshake."""

import datetime

import pytest

from trio_webrtc.core.contract import MalformedPacketError, split_run
from trio_webrtc.core.dtls import Certificate, Context, Session
from trio_webrtc.core.dtls.records import split_records

from .frugal import check_is_frugal, files_of

MAX_DATAGRAM = 65_507
BIRTHDAY = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def context():
    return Context(Certificate.generate(now=BIRTHDAY))


@pytest.fixture(scope="module")
def batches(corpora):
    """Each file as one datagram, and as one datagram for each of its records as far as they have true headers."""
    return [(path.name, cut(path.read_bytes()[:MAX_DATAGRAM])) for path in files_of(corpora / "openssl-dtls-fuzz")]


def cut(stream):
    datagrams, start = [stream], 0
    while start + 13 < len(stream):
        end = start + 13 + int.from_bytes(stream[start + 11 : start + 13])
        datagrams.append(stream[start:end])
        start = end
    return datagrams


def drain(session):
    datagrams = []
    while (run := session.poll_run(0.0)) is not None:
        datagrams += split_run(*run)
    return datagrams


def new_session(context, *, is_client):
    fingerprints = context.certificate.fingerprints()
    return Session(context, is_client=is_client, remote_fingerprints=fingerprints, now=0.0)


def begun_session(context, *, is_client):
    """A client that has said ClientHello, or a server that has answered one."""
    client, server = (new_session(context, is_client=role) for role in (True, False))
    client.start(0.0)
    hello = drain(client)
    if is_client:
        return client
    server.start(0.0)
    server.receive_datagrams(hello, 0.0)
    drain(server)
    return server


def connected_sessions(context):
    client, server = (new_session(context, is_client=role) for role in (True, False))
    server.start(0.0)
    client.start(0.0)
    for _ in range(3):
        server.receive_datagrams(drain(client), 0.0)
        client.receive_datagrams(drain(server), 0.0)
    assert client.is_up
    assert server.is_up
    return client, server


def survive(session, batch):
    """Take a batch, and time; whatever has become of the session by then, it ends."""
    session.receive_datagrams(batch, 0.0)
    assert sum(map(len, drain(session))) < 100_000
    session.poll_packets()
    now = 0.0
    for _ in range(100):
        if (now := session.next_timeout()) is None:
            break
        session.handle_timeout(now)
        drain(session)
    assert session.next_timeout() is None
    while session.poll_event() is not None:
        pass


def test_every_file_is_cut_into_records_or_is_malformed(batches):
    def split(batch):
        for datagram in batch:
            try:
                split_records(datagram)
            except MalformedPacketError:
                pass

    for name, batch in batches:
        check_is_frugal(name, lambda: None, lambda _, batch=batch: split(batch))


@pytest.mark.parametrize("is_client", [True, False])
@pytest.mark.parametrize("make", [new_session, begun_session])
def test_a_session_that_is_not_up_survives_every_file(context, batches, make, is_client):
    for name, batch in batches:
        check_is_frugal(
            name, lambda: make(context, is_client=is_client), lambda session, batch=batch: survive(session, batch)
        )


def test_a_session_that_is_up_takes_no_harm_from_any_file(context, batches):
    client, server = connected_sessions(context)
    for name, batch in batches:
        for session in (client, server):
            check_is_frugal(
                name, lambda session=session: session, lambda it, batch=batch: it.receive_datagrams(batch, 0.0)
            )
            drain(session)
    for sender, receiver in ((client, server), (server, client)):
        sender.send([b"are you there?"])
        receiver.receive_datagrams(drain(sender), 0.0)
        assert receiver.poll_packets() == [b"are you there?"]


def test_what_breaks_one_session_leaves_another_alone(context, batches):
    client, server = connected_sessions(context)
    for name, batch in batches:
        begun_session(context, is_client=False).receive_datagrams(batch, 0.0)
        client.send([name.encode()])
        server.receive_datagrams(drain(client), 0.0)
        assert server.poll_packets() == [name.encode()]
        assert server.is_up
