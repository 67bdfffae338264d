"""The HTTP request that stands before every WebSocket (RFC 9112, RFC 6455 §4.2), looked at before trio-websocket does.

A request that wants no WebSocket makes trio-websocket's reader fail, as do a host name and tokens that it cannot
decode. So the request is read here, within a bound, and answered here if it is not one for a WebSocket; of one that
is, trio-websocket reads a head that says the same, and nothing else.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import Final

import h11
import trio

from trio_webrtc.core.contract import Address
from trio_webrtc.shell.accepting import RefusedError
from trio_webrtc.shell.reporting import excerpt

MAX_HEAD_SIZE: Final = 16 * 1024
"""Bytes of a request up to its empty line. Browsers send less than one KiB, and cookies up to four."""

MAX_READ: Final = 4096
"""Bytes read at once."""


@dataclass(frozen=True, slots=True)
class SignalingRequest:
    """What a client has asked for, before it gets its WebSocket."""

    method: str
    target: str
    """Path and query, such as "/rooms/7?name=Ada"."""
    headers: Sequence[tuple[str, str]]
    """Names in lower case, and values; names may come more than once."""
    remote_address: Address
    http_version: str = "1.1"
    is_followed: bool = False
    """Whether more than the head has come already."""

    def header(self, name: str) -> str | None:
        """The value of a header field, several of one name joined by commas (RFC 9110 §5.3); None if it is missing."""
        values = [value for known, value in self.headers if known == name.lower()]
        return ", ".join(values) if values else None

    def tokens(self, name: str) -> list[str]:
        """The members of a header field that is a list (RFC 9110 §5.6.1)."""
        return [token.strip() for token in (self.header(name) or "").split(",") if token.strip()]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server says to a request without opening a WebSocket, and then closes the connection."""

    status: int
    text: str = ""
    headers: Sequence[tuple[str, str]] = ()
    content_type: str = "text/plain; charset=utf-8"

    def encode(self, *, to: SignalingRequest | None = None) -> bytes:
        """The bytes of the response; without the text, if it answers a HEAD request (RFC 9110 §9.3.2)."""
        body = self.text.encode()
        response = h11.Response(
            status_code=self.status,
            headers=[
                ("Date", formatdate(usegmt=True)),
                ("Connection", "close, upgrade" if self.status == 426 else "close"),
                ("Content-Type", self.content_type),
                ("Content-Length", str(len(body))),
                *self.headers,
            ],
        )
        head = h11.Connection(h11.SERVER).send(response) or b""
        return head if to is not None and to.method == "HEAD" else head + body


class UnansweredError(RefusedError):
    """The request is refused, and the client has yet to be told with what answer."""

    def __init__(self, answer: Answer, reason: str = "bad request") -> None:
        super().__init__(reason, f"{answer.status} {answer.text.strip()}")
        self.answer = answer


async def read_request(stream: trio.abc.ReceiveStream, remote_address: Address) -> SignalingRequest:
    """Read the head of a request.

    Raises:
        UnansweredError: it is malformed or too large.
        RefusedError: the client has ended the connection before.
        trio.BrokenResourceError: the connection is lost.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_SIZE)
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            raise UnansweredError(Answer(error.error_status_hint, excerpt(str(error)) + "\n")) from None
        if isinstance(event, h11.Request):
            break
        data = await stream.receive_some(MAX_READ)
        if not data:
            raise RefusedError("no request", "it ended before it had asked for anything")
        connection.receive_data(bytes(data))
    return SignalingRequest(
        method=event.method.decode(),
        target=event.target.decode(),
        headers=tuple((name.decode(), value.decode("latin-1")) for name, value in event.headers),
        remote_address=remote_address,
        http_version=event.http_version.decode(),
        is_followed=bool(connection.trailing_data[0]),
    )


def check_wants_websocket(request: SignalingRequest) -> None:
    """Raise UnansweredError unless this is a client's opening handshake (RFC 6455 §4.2.1)."""
    upgrade = {token.lower() for token in request.tokens("upgrade")}
    if "websocket" not in upgrade or "upgrade" not in {token.lower() for token in request.tokens("connection")}:
        # RFC 9110 §15.5.22: 426 says which protocol is spoken here.
        raise UnansweredError(Answer(426, "Here is a WebSocket.\n", (("Upgrade", "websocket"),)))
    if request.method != "GET" or request.http_version != "1.1":
        raise UnansweredError(Answer(400, "A WebSocket begins with a GET of HTTP/1.1.\n"))
    if request.header("transfer-encoding") is not None or request.header("content-length") not in (None, "0"):
        raise UnansweredError(Answer(400, "The request for a WebSocket has no content.\n"))
    if request.is_followed:
        # RFC 6455 §4.1: the client has to wait for the answer; wsproto would lose what it has sent before.
        raise UnansweredError(Answer(400, "The client of a WebSocket waits for the answer.\n"))
    if request.header("sec-websocket-version") != "13":
        # RFC 6455 §4.2.2 item 4: the answer says which versions are spoken here.
        raise UnansweredError(Answer(426, "The version is 13.\n", (("Sec-WebSocket-Version", "13"),)))
    if not _is_nonce(request.header("sec-websocket-key") or ""):
        raise UnansweredError(Answer(400, "Sec-WebSocket-Key is 16 bytes in base64.\n"))


def _is_nonce(key: str) -> bool:
    """RFC 6455 §4.2.1 item 5."""
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def encode_handshake(request: SignalingRequest, *, subprotocol: str | None) -> bytes:
    """The head that trio-websocket reads: what `check_wants_websocket` has found, and only that."""
    headers = [
        ("Host", "signalling"),  # which wsproto would decode, and fail if it were not IDNA
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", request.header("sec-websocket-key") or ""),
    ]
    if subprotocol is not None:
        headers.append(("Sec-WebSocket-Protocol", subprotocol))
    head = h11.Request(method="GET", target=request.target, headers=headers)
    return h11.Connection(h11.CLIENT).send(head) or b""
