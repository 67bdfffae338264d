"""DTLS sessions in every stage that there is."""

from trio_webrtc.core.contract import split_run
from trio_webrtc.core.dtls import Session


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
