"""Reading the request before a WebSocket: whatever comes, there is an answer, or a head that trio-websocket takes."""

import random
from collections.abc import Sequence

import h11
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request

from trio_webrtc.shell.accepting import RefusedError
from trio_webrtc.signaling.request import (
    MAX_HEAD_SIZE,
    MAX_READ,
    Answer,
    SignalingRequest,
    UnansweredError,
    check_wants_websocket,
    encode_handshake,
    read_request,
)

from .mischief import HANDSHAKE

ADDRESS = ("192.0.2.1", 4000)


class Wire(trio.abc.ReceiveStream):
    """Bytes that arrive in pieces, and then the end."""

    def __init__(self, data: bytes, cuts: Sequence[int] = ()) -> None:
        self.taken = 0
        self._data = data
        self._cuts = sorted({*cuts, len(data)})

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        end = next((cut for cut in self._cuts if cut > self.taken), self.taken)
        piece = self._data[self.taken : min(end, self.taken + max_bytes)]
        self.taken += len(piece)
        return piece

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def read(data: bytes, cuts: Sequence[int] = ()) -> SignalingRequest:
    return trio.run(read_request, Wire(data, cuts), ADDRESS)


@given(st.data())
def test_a_request_is_read_however_it_is_cut(data):
    request = read(HANDSHAKE, data.draw(st.lists(st.integers(1, len(HANDSHAKE)), max_size=5)))
    assert (request.method, request.target, request.remote_address) == ("GET", "/", ADDRESS)
    assert request.header("HOST") == "127.0.0.1"
    assert request.header("origin") is None
    check_wants_websocket(request)


@given(st.binary(max_size=300) | st.binary(max_size=100).map(lambda junk: HANDSHAKE[:-2] + junk + HANDSHAKE[-4:]))
def test_whatever_comes_is_a_request_or_is_refused(junk):
    """No other exception: one that nobody catches is what ends a bare `serve_websocket`."""
    refusal = None
    try:
        check_wants_websocket(read(junk))
    except RefusedError as error:
        refusal = error
    if isinstance(refusal, UnansweredError):
        assert refusal.answer.encode().startswith(b"HTTP/1.1 4")
    elif refusal is not None:
        assert refusal.reason == "no request"


HEADER = st.tuples(
    st.sampled_from([b"Host", b"Connection", b"Upgrade", b"Sec-WebSocket-Protocol", b"Sec-WebSocket-Extensions", b"X"]),
    st.sampled_from([b"upgrade", b"websocket", b"h2c, websocket", b"keep-alive, Upgrade"])
    | st.binary(max_size=20).map(lambda value: value.translate(None, bytes(range(33)) + b"\x7f")),
)


@given(headers=st.lists(HEADER, max_size=6), seed=st.integers(0, 2**32))
def test_of_every_request_that_is_let_in_wsproto_reads_a_head_that_it_takes(headers, seed):
    lines = [*HANDSHAKE.split(b"\r\n")[1:-2], *(b"%s: %s" % header for header in headers)]
    random.Random(seed).shuffle(lines)
    try:
        request = read(b"\r\n".join([b"GET /x?y HTTP/1.1", *lines, b"", b""]))
        check_wants_websocket(request)
    except RefusedError:
        return
    offered = request.tokens("sec-websocket-protocol")
    server = WSConnection(ConnectionType.SERVER)
    server.receive_data(encode_handshake(request, subprotocol="chat" if "chat" in offered else None))
    (event,) = server.events()
    assert isinstance(event, Request)
    assert event.target == "/x?y"
    assert server.send(AcceptConnection()).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize(
    "line", [b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000, b"G" * 100_000, b"GET /" + b"x" * 100_000]
)
def test_a_head_is_read_no_further_than_to_its_bound(line):
    wire = Wire(line)
    with pytest.raises(UnansweredError) as caught:
        trio.run(read_request, wire, ADDRESS)
    assert wire.taken <= MAX_HEAD_SIZE + 2 * MAX_READ
    assert caught.value.answer.status == 431


@pytest.mark.parametrize("head", [b"\x01" * 16_000, b"a\x01" * 8000, b"\xff: \xff\r\n" * 3000, b"x" * 16_000 + b"\r\n"])
def test_an_answer_to_a_bad_head_is_no_echo_of_it(head):
    """Repeated with its bytes spelt out, a head of 16 KiB would be 64 KiB of answer, and of log."""
    with pytest.raises(UnansweredError) as caught:
        read(b"GET / HTTP/1.1\r\n" + head + b"\r\n\r\n")
    assert len(caught.value.answer.encode()) < 500
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("status", [200, 400, 404, 426, 503])
def test_an_answer_is_http_and_says_that_it_is_the_last(status):
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(Answer(status, "täxt").encode())
    response, content, end = (client.next_event() for _ in range(3))
    assert response.status_code == status
    assert bytes(content.data).decode() == "täxt"
    assert isinstance(end, h11.EndOfMessage)
    assert client.their_state is h11.MUST_CLOSE
