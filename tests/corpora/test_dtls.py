"""What OpenSSL's fuzzers found worth sending to a DTLS client and server, sent to ours in each stage of a handshake."""

import pytest

from trio_webrtc.core.contract import MalformedPacketError
from trio_webrtc.core.dtls.records import split_records

from .frugal import check_is_frugal, files_of
from .sessions import begun_session, connected_sessions, drain, new_session

MAX_DATAGRAM = 65_507


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
