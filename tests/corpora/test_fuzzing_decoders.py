"""Every decoder against damaged inputs: what comes out is a value, or the one error that is documented."""

import pytest

from trio_webrtc.core.contract import MalformedPacketError
from trio_webrtc.core.datachannel.establishment import OpenMessage
from trio_webrtc.core.dtls import Fingerprint
from trio_webrtc.core.dtls.records import split_records
from trio_webrtc.core.ice import parse_candidate
from trio_webrtc.core.sctp.chunks import BY_TYPE
from trio_webrtc.core.sctp.packet import PacketWriter, read_packet
from trio_webrtc.core.sctp.parameters import join_parameters, split_parameters
from trio_webrtc.core.sdp import parse, to_text
from trio_webrtc.core.stun import Message, MessageClass, Method
from trio_webrtc.core.stun.message import ERROR_CODE, PRIORITY, USERNAME, XOR_MAPPED_ADDRESS
from trio_webrtc.errors import InvalidDescriptionError

from .mutation import mutants, seeds_in

FINGERPRINT = "sha-256 " + ":".join(["4A"] * 32)
DESCRIPTION = (
    "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=application 9/2 UDP/DTLS/SCTP 1 2\r\n"
    "i=what\r\nc=IN IP4 224.2.36.42/127/3\r\nb=AS:1\r\na=mid:0\r\na=ice-lite\r\n"
)


def own_messages():
    attributes = {USERNAME: "they:us", PRIORITY: 7, XOR_MAPPED_ADDRESS: ("2001:db8::1", 9), ERROR_CODE: (487, "no")}
    for message_class in MessageClass:
        message = Message(
            method=Method.BINDING, message_class=message_class, transaction_id=bytes(12), attributes=attributes
        )
        yield message.encode(b"key")


def test_stun(fuzz, corpora_or_none):
    seeds = [*own_messages(), *seeds_in(corpora_or_none, "libwebrtc-fuzz/stun-corpus", "aiortc-vectors/aioice")]

    def decode(data):
        try:
            message = Message.decode(data)
        except MalformedPacketError:
            return
        message.is_signed_with(b"key")
        assert message.error_text.isprintable()

    fuzz(decode, mutants(seeds))


def test_sctp_packets_and_chunks(fuzz, corpora_or_none):
    own = [chunk_type.to_bytes(1) + bytes(2) + b"\x20" + bytes(range(28)) for chunk_type in BY_TYPE]
    theirs = seeds_in(corpora_or_none, "libwebrtc-fuzz/sctp-packet-corpus", "aiortc-vectors/aiortc")
    theirs = [data[12:] for data in theirs] + [data[1:] for data in seeds_in(corpora_or_none, "usrsctp-fuzz")]

    def decode(body):
        packet = PacketWriter(source_port=5000, destination_port=5000, verification_tag=7).write(body)
        try:
            chunks = read_packet(packet)[3]
        except MalformedPacketError:
            return
        for type_, flags, value in chunks:
            for read in (BY_TYPE[type_].decode, lambda _, value: split_parameters(value)) if type_ in BY_TYPE else ():
                try:
                    found = read(flags, value)
                except MalformedPacketError:
                    continue
                if isinstance(found, tuple):
                    assert split_parameters(join_parameters(found)) == found
                else:
                    again = found.encode()
                    assert read(again[1], again[4 : int.from_bytes(again[2:4])]) == found

    fuzz(decode, mutants(own + theirs))


def test_data_channel_establishment(fuzz):
    seeds = [
        OpenMessage(label=label, protocol=protocol, ordered=ordered, priority=256, **reliability).encode()
        for label, protocol, ordered in (("chat", "", True), ("", "мир", False))
        for reliability in (
            {"max_retransmits": None, "max_packet_life_time": None},
            {"max_retransmits": 3, "max_packet_life_time": None},
            {"max_retransmits": None, "max_packet_life_time": 0.5},
        )
    ]

    def decode(data):
        try:
            message = OpenMessage.decode(data)
        except MalformedPacketError:
            return
        assert OpenMessage.decode(message.encode()) == message

    fuzz(decode, mutants(seeds))


def test_dtls_records(fuzz, corpora_or_none):
    own = [bytes.fromhex("16fefd00000000000000000003010203") * 3, bytes.fromhex("17fefd0001000000000000000101")]

    def decode(data):
        try:
            assert b"".join(split_records(data)) == data
        except MalformedPacketError:
            pass

    fuzz(decode, mutants(own + seeds_in(corpora_or_none, "openssl-dtls-fuzz")))


def test_descriptions(fuzz, corpora_or_none):
    folders = ("browser-sdp", "mozilla-sdp", "sdp-transform", "jsep-rfc9429", "libwebrtc-fuzz/sdp-corpus")

    def decode(data):
        try:
            session = parse(data.decode("utf-8", "surrogateescape"))
        except InvalidDescriptionError as error:
            assert error.line is None or error.line >= 1  # noqa: PT017 - it is both: a value, and one we want to see
            return
        assert parse(to_text(session)) == session

    fuzz(decode, mutants([DESCRIPTION.encode(), *seeds_in(corpora_or_none, *folders)]))


@pytest.mark.parametrize(
    ("read", "line"),
    [
        (parse_candidate, "candidate:1 1 udp 2130706431 192.0.2.1 4000 typ srflx raddr ::1 rport 9 generation 0"),
        (Fingerprint.parse, FINGERPRINT),
    ],
)
def test_attributes_of_descriptions(fuzz, read, line):
    def decode(data):
        try:
            read(data.decode("utf-8", "surrogateescape"))
        except ValueError as error:
            assert type(error) is ValueError  # noqa: PT017 - not one of its subclasses, which tell of a slip of ours

    fuzz(decode, mutants([line.encode(), b"candidate:1 1 tcp 1 host.local 9 typ host tcptype active"]))
