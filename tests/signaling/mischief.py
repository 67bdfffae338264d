"""What clients do to a server, out of malice or because they are broken. Each leaves, or stays until thrown out."""

import contextlib
import os
import random
import ssl

import trio

from trio_webrtc.core.contract import Address

from .certificates import TlsContexts
from .serving import RawClient

PLAIN_REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)


async def connect(address: Address, tls: TlsContexts | None) -> RawClient:
    return await RawClient.connect(address, tls.client if tls is not None else None)


async def shake_hands(address: Address, tls: TlsContexts | None) -> RawClient:
    client = await connect(address, tls)
    await client.say(HANDSHAKE)
    await client.stream.receive_some()
    return client


async def ask_for_no_upgrade_and_reset(address, tls):
    client = await connect(address, tls)
    await client.say(PLAIN_REQUEST)
    client.reset()


async def ask_for_no_upgrade_and_end(address, tls):
    client = await connect(address, tls)
    await client.say(PLAIN_REQUEST)
    client.end()
    await client.hear_everything()
    client.tcp.socket.close()


async def speak_no_http(address, tls):
    client = await connect(address, tls)
    await client.say(random.Random(7).randbytes(5000))
    await client.hear_everything()
    client.tcp.socket.close()


async def ask_half_and_end(address, tls):
    client = await connect(address, tls)
    await client.say(HANDSHAKE[:60])
    client.end()
    await client.hear_everything()
    client.tcp.socket.close()


async def ask_half_and_stay(address, tls):
    client = await connect(address, tls)
    await client.say(HANDSHAKE[:60])
    await client.hear_everything()
    client.tcp.socket.close()


async def shake_hands_and_reset(address, tls):
    (await shake_hands(address, tls)).reset()


async def ask_and_reset_at_once(address, tls):
    client = await connect(address, tls)
    await client.say(HANDSHAKE)
    client.reset()


async def come_and_leave(address, tls):
    (await RawClient.connect(address)).tcp.socket.close()


async def come_and_reset(address, tls):
    (await RawClient.connect(address)).reset()


async def shake_hands_of_tls_and_leave(address, tls):
    (await connect(address, tls)).tcp.socket.close()


async def come_and_stay_silent(address, tls):
    client = await RawClient.connect(address)
    await client.hear_everything()
    client.tcp.socket.close()


async def shake_hands_of_tls_and_stay_silent(address, tls):
    client = await connect(address, tls)
    await client.hear_everything()
    client.tcp.socket.close()


async def speak_garbage_for_tls(address, tls):
    client = await RawClient.connect(address)
    await client.say(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + random.Random(8).randbytes(512))
    await client.hear_everything()
    client.tcp.socket.close()


async def speak_plain_where_tls_is_spoken(address, tls):
    client = await RawClient.connect(address)
    await client.say(HANDSHAKE)
    await trio.sleep(0.01)
    client.reset()


async def speak_an_old_tls(address, tls):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA")  # which the server's certificate has no key for
    client = await RawClient.connect(address)
    with contextlib.suppress(trio.BrokenResourceError):
        await trio.SSLStream(client.tcp, context).do_handshake()
    client.tcp.socket.close()


async def ask_with_endless_headers(address, tls):
    client = await connect(address, tls)
    await client.say(b"GET / HTTP/1.1\r\n")
    with contextlib.suppress(trio.BrokenResourceError):
        for number in range(10_000):
            await client.stream.send_all(b"X-%d: %s\r\n" % (number, b"x" * 1000))
    client.tcp.socket.close()


async def ask_in_drips(address, tls):
    client = await connect(address, tls)
    for byte in HANDSHAKE[:-1]:
        try:
            await client.stream.send_all(bytes([byte]))
        except trio.BrokenResourceError:
            break
        await trio.sleep(0.05)
    client.tcp.socket.close()


async def ask_of_a_host_that_is_no_name(address, tls):
    await ask_oddly(address, tls, HANDSHAKE.replace(b"127.0.0.1", b"xn--\xff\xfe." + b"a" * 300))


async def ask_with_tokens_that_are_no_text(address, tls):
    await ask_oddly(
        address, tls, HANDSHAKE.replace(b"websocket\r\n", b"websocket\r\nSec-WebSocket-Protocol: \xff\xfe\r\n")
    )


async def ask_for_two_upgrades(address, tls):
    await ask_oddly(address, tls, HANDSHAKE.replace(b"Upgrade: websocket", b"Upgrade: h2c, websocket\r\nUpgrade: foo"))


async def ask_with_half_a_connection_header(address, tls):
    await ask_oddly(
        address, tls, HANDSHAKE.replace(b"Connection: Upgrade", b"Connection: Upgrade\r\nConnection: close")
    )


async def ask_with_a_body(address, tls):
    await ask_oddly(address, tls, HANDSHAKE.replace(b"Host", b"Content-Length: 5\r\nHost") + b"hello")


async def ask_by_http_1_0(address, tls):
    await ask_oddly(address, tls, HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0"))


async def ask_in_an_old_version(address, tls):
    await ask_oddly(address, tls, HANDSHAKE.replace(b"Version: 13", b"Version: 8"))


async def ask_without_a_key(address, tls):
    await ask_oddly(address, tls, HANDSHAKE.replace(b"MDEyMzQ1Njc4OWFiY2RlZg==", b"secret"))


async def ask_and_wait_for_no_answer(address, tls):
    await ask_oddly(address, tls, HANDSHAKE + frame(0x81, b'{"bye": ""}'))


async def post_something(address, tls):
    await ask_oddly(address, tls, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000)


async def ask_oddly(address, tls, request):
    client = await connect(address, tls)
    await client.say(request)
    if tls is None:
        client.end()
    with trio.move_on_after(0.3):
        await client.hear_everything()
    client.tcp.socket.close()


def frame(first_byte: int, payload: bytes, *, length: int | None = None) -> bytes:
    """A client's frame (RFC 6455 §5.2), masked with zeros, whatever it claims to be."""
    length = len(payload) if length is None else length
    if length < 126:
        header = bytes([first_byte, 0x80 | length])
    elif length < 65_536:
        header = bytes([first_byte, 0xFE]) + length.to_bytes(2, "big")
    else:
        header = bytes([first_byte, 0xFF]) + length.to_bytes(8, "big")
    return header + bytes(4) + payload


async def misbehave_with_frames(address, tls, *frames: bytes):
    client = await shake_hands(address, tls)
    for one in frames:
        await client.say(one)
    await client.hear_everything()
    client.tcp.socket.close()


async def send_a_frame_that_is_too_large(address, tls):
    await misbehave_with_frames(address, tls, frame(0x81, b"x" * 1_000_000))


async def claim_a_frame_of_a_terabyte(address, tls):
    await misbehave_with_frames(address, tls, frame(0x81, b"x" * 500_000, length=2**40))


async def send_a_message_of_too_many_fragments(address, tls):
    fragments = b"".join(frame(0x00, b"x" * 1000) for _ in range(1000))
    await misbehave_with_frames(address, tls, frame(0x01, b"x"), fragments)


async def send_fragments_of_nothing(address, tls):
    await misbehave_with_frames(address, tls, frame(0x01, b""), frame(0x00, b"") * 100_000)


async def send_fragments_of_one_character(address, tls):
    await misbehave_with_frames(address, tls, frame(0x01, b"x"), frame(0x00, "€".encode()) * 50_000)


async def flood_with_pings(address, tls):
    await misbehave_with_frames(address, tls, frame(0x89, b"") * 100_000)


async def flood_with_pings_and_read_no_pong(address, tls):
    client = await shake_hands(address, tls)
    with trio.move_on_after(1), contextlib.suppress(trio.BrokenResourceError):
        for _ in range(1000):
            await client.stream.send_all(frame(0x89, b"x" * 125) * 1000)
    client.reset()


async def send_reserved_bits(address, tls):
    await misbehave_with_frames(address, tls, frame(0xF1, b"{}"))


async def send_a_reserved_opcode(address, tls):
    await misbehave_with_frames(address, tls, frame(0x8B, b""))


async def send_an_unmasked_frame(address, tls):
    await misbehave_with_frames(address, tls, b"\x81\x02{}")


async def send_a_close_frame_of_one_byte(address, tls):
    await misbehave_with_frames(address, tls, frame(0x88, b"x"))


async def close_with_a_code_that_is_none(address, tls):
    await misbehave_with_frames(address, tls, frame(0x88, (1006).to_bytes(2, "big")))


async def close_with_a_reason_that_is_no_text(address, tls):
    await misbehave_with_frames(address, tls, frame(0x88, b"\x03\xe8\xff\xfe"))


async def send_text_that_is_none(address, tls):
    await misbehave_with_frames(address, tls, frame(0x81, b"\xff\xfe"))


async def send_binary(address, tls):
    await misbehave_with_frames(address, tls, frame(0x82, b"{}"))


async def send_no_json(address, tls):
    await misbehave_with_frames(address, tls, frame(0x81, b"[" * 100_000))


async def send_no_message(address, tls):
    await misbehave_with_frames(address, tls, frame(0x81, b'{"type": "answer"}'))


async def send_no_message_at_length(address, tls):
    await misbehave_with_frames(address, tls, frame(0x81, b'{"type": "%s"}' % (b"\\n" * 60_000)))


async def ask_with_a_head_of_bytes_that_are_no_text(address, tls):
    await ask_oddly(address, tls, b"GET / HTTP/1.1\r\n" + b"a\x01" * 8000 + b"\r\n\r\n")


async def send_junk(address, tls):
    await misbehave_with_frames(address, tls, os.urandom(10_000))


async def close_and_then_go_on(address, tls):
    await misbehave_with_frames(address, tls, frame(0x88, b"\x03\xe8"), frame(0x81, b"{}") * 1000)


STAYING = [come_and_stay_silent, shake_hands_of_tls_and_stay_silent, ask_half_and_stay, ask_in_drips, speak_no_http]
"""Of them, those whom only the deadline throws out."""

MISCHIEF = [
    ask_for_no_upgrade_and_reset,
    ask_for_no_upgrade_and_end,
    speak_no_http,
    ask_half_and_end,
    ask_half_and_stay,
    shake_hands_and_reset,
    ask_and_reset_at_once,
    come_and_leave,
    come_and_reset,
    come_and_stay_silent,
    shake_hands_of_tls_and_leave,
    shake_hands_of_tls_and_stay_silent,
    speak_garbage_for_tls,
    speak_plain_where_tls_is_spoken,
    speak_an_old_tls,
    ask_with_endless_headers,
    ask_in_drips,
    ask_of_a_host_that_is_no_name,
    ask_with_tokens_that_are_no_text,
    ask_for_two_upgrades,
    ask_with_half_a_connection_header,
    ask_with_a_body,
    ask_by_http_1_0,
    ask_in_an_old_version,
    ask_without_a_key,
    ask_and_wait_for_no_answer,
    post_something,
    send_a_frame_that_is_too_large,
    claim_a_frame_of_a_terabyte,
    send_a_message_of_too_many_fragments,
    send_fragments_of_nothing,
    send_fragments_of_one_character,
    flood_with_pings,
    flood_with_pings_and_read_no_pong,
    send_reserved_bits,
    send_a_reserved_opcode,
    send_an_unmasked_frame,
    send_a_close_frame_of_one_byte,
    close_with_a_code_that_is_none,
    close_with_a_reason_that_is_no_text,
    send_text_that_is_none,
    send_binary,
    send_no_json,
    send_no_message,
    send_no_message_at_length,
    ask_with_a_head_of_bytes_that_are_no_text,
    send_junk,
    close_and_then_go_on,
]
