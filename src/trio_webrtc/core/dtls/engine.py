"""OpenSSL behind two memory BIOs, with its exceptions turned into outcomes.

Everything that OpenSSL writes is taken out of its BIO before a call returns, and everything it is given it reads
before a call returns: between calls both BIOs are empty.

OpenSSL keeps errors in a queue of the thread, and reads in it what became of *this* session's last call. What another
session or library has left there would pass for our failure; so it is cleared before each call, and after a failure.
"""

import enum
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL

from trio_webrtc.core.dtls.context import Context, iana_name
from trio_webrtc.core.dtls.records import MAX_PLAINTEXT_LENGTH
from trio_webrtc.core.dtls.witness import Witness, der_of

_BIO_ROOM: Final = 16 * 1024
"""Bytes of packets that are encrypted before the BIO is emptied."""

_clear_thread_errors = Binding.lib.ERR_clear_error


class Outcome(enum.Enum):
    """What became of something that was received."""

    WAITING = enum.auto()
    """All is well, and more is needed."""
    COMPLETE = enum.auto()
    """The handshake is."""
    CLOSED = enum.auto()
    """The peer sent close_notify."""
    BROKEN = enum.auto()
    """The session is beyond repair; `Engine.error` says why."""


class Engine:
    """One OpenSSL connection, to be fed with whole records only."""

    __slots__ = ("_connection", "_mtu", "error", "record_overhead")

    def __init__(self, context: Context, witness: Witness, *, is_client: bool, mtu: int) -> None:
        self.error = ""
        self.record_overhead = 0
        """How many bytes a record adds to a packet; known once the handshake is complete."""
        self._mtu = mtu
        self._connection = connection = SSL.Connection(context.ssl, None)
        connection.set_app_data(witness)
        # With OP_NO_QUERY_MTU, it must be known before the handshake begins.
        connection.set_ciphertext_mtu(mtu)
        if is_client:
            connection.set_connect_state()
        else:
            connection.set_accept_state()

    def listen(self, record: bytes) -> bool:
        """Whether this is a ClientHello with the cookie of the witness; `handshake` goes on with it then.

        To a ClientHello without it, OpenSSL writes the request to bring it, as often as it comes; all else is dropped.
        """
        connection = self._connection
        _clear_thread_errors()
        connection.bio_write(record)
        try:
            connection.DTLSv1_listen()
        except SSL.Error:
            _clear_thread_errors()
            return False
        return True

    def handshake(self, record: bytes = b"") -> Outcome:
        """Go on with the handshake, with one more record. Given several, OpenSSL may stop short of the last."""
        connection = self._connection
        _clear_thread_errors()
        try:
            if record:
                connection.bio_write(record)
            connection.do_handshake()
        except SSL.WantReadError:
            return Outcome.WAITING
        except SSL.Error as error:
            return self._judge(error)
        self.record_overhead = self._mtu - connection.get_cleartext_mtu()
        return Outcome.COMPLETE

    def decrypt(self, records: bytes, count: int, packets: list[bytes]) -> Outcome:
        """Append to `packets` what `count` protected records hold, of up to `MAX_JOINED_LENGTH` bytes together.

        Records that are forged or repeated are dropped by OpenSSL. One exception is raised inside for a run that
        holds such a record, and none for a run that does not.
        """
        connection = self._connection
        _clear_thread_errors()
        try:
            connection.bio_write(records)
            for _ in range(count):
                packets.append(connection.recv(MAX_PLAINTEXT_LENGTH))
        except SSL.WantReadError:
            return Outcome.WAITING
        except SSL.Error as error:
            return self._judge(error)
        return Outcome.WAITING

    def encrypt(self, packets: Sequence[bytes]) -> bytes:
        """Make one record of each packet, none of them empty or larger than the first; the records are back to back.

        The BIO is emptied now and then, for it never gives back the room it once needed.
        """
        connection = self._connection
        send = connection.send
        at_once = max(1, _BIO_ROOM // len(packets[0]))
        parts = []
        _clear_thread_errors()
        for start in range(0, len(packets), at_once):
            some = packets[start : start + at_once]
            size = len(some) * self.record_overhead
            for packet in some:
                size += send(packet)
            parts.append(connection.bio_read(size))
        return b"".join(parts)

    def reopen(self) -> None:
        """Forget that close_notify was written, so that more can be."""
        self._connection.set_shutdown(0)

    def close_notify(self) -> None:
        """Write close_notify. Only once the handshake is complete: before, OpenSSL refuses. Never raises."""
        _clear_thread_errors()
        try:
            self._connection.shutdown()
        except SSL.Error:
            _clear_thread_errors()

    def take_output(self) -> bytes:
        """All that OpenSSL has written and that has not been taken yet."""
        output = b""
        try:
            while True:
                output += self._connection.bio_read(MAX_PLAINTEXT_LENGTH)
        except SSL.WantReadError:
            return output

    @property
    def cipher(self) -> str | None:
        """IANA's name of the cipher suite in use."""
        return iana_name(self._connection.get_cipher_name())

    @property
    def version(self) -> str:
        """The protocol version, as in "DTLSv1.2"."""
        return self._connection.get_protocol_version_name()

    def certificate_chain(self) -> tuple[bytes, ...]:
        """The peer's certificates in DER, its own first."""
        own = self._connection.get_peer_certificate()
        if own is None:
            return ()
        # OpenSSL leaves the peer's own one out of the chain that it shows a server, and only there.
        return tuple(dict.fromkeys(map(der_of, (own, *(self._connection.get_peer_cert_chain() or ())))))

    def export_keying_material(self, label: bytes, length: int, context: bytes | None) -> bytes:
        """Keys for another protocol, derived from this session's (RFC 5705)."""
        return self._connection.export_keying_material(label, length, context)

    def _judge(self, error: SSL.Error) -> Outcome:
        _clear_thread_errors()
        if isinstance(error, SSL.ZeroReturnError):
            return Outcome.CLOSED
        if self._connection.get_state_string() != b"error":
            return Outcome.WAITING  # something was wrong with a record, and OpenSSL has got over it
        reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
        self.error = "; ".join(dict.fromkeys(reason for _, _, reason in reasons if reason)) or "OpenSSL gives no reason"
        return Outcome.BROKEN
