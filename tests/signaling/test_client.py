"""From a URL to a connection: what the server is told, and every way in which none comes up."""

import socket
import ssl
import threading

import pytest
import trio
from websockets.sync.server import serve

from trio_webrtc import SessionDescription, UsageError
from trio_webrtc.signaling import (
    MAX_MESSAGE_SIZE,
    Bye,
    SignalingFailedError,
    open_reconnecting_signaling,
    open_websocket_signaling,
)
from trio_webrtc.signaling.target import WebSocketTarget

from ..lifecycle.checkpoints import cancel_at_step, own_steps
from ..surface.quiescence import nothing_stays_behind, tasks
from .server import Visitor, open_server

OFFER = SessionDescription("offer", "v=0\r\n")


async def greet(visitor: Visitor) -> None:
    await visitor.welcome()
    await visitor.say('{"bye":"hello"}')
    await visitor.read_to_the_end()
    await visitor.stream.aclose()


async def test_the_server_learns_what_the_client_asks_for():
    asked = []

    async def listen(visitor):
        asked.append(await visitor.read_request())
        await greet(visitor)

    headers = [("Authorization", "Bearer secret"), ("Cookie", "a=b")]
    async with (
        open_server(listen) as url,
        open_websocket_signaling(f"{url}rooms/7?name=Ada", subprotocol="signaling", headers=headers) as signaling,
    ):
        assert await signaling.receive() == Bye("hello")
        assert signaling.subprotocol == "signaling"
    assert asked[0].path == "/rooms/7?name=Ada"
    assert asked[0].headers["Host"] == url.split("/")[2]
    assert asked[0].headers["Authorization"] == "Bearer secret"
    assert asked[0].headers["Cookie"] == "a=b"


async def test_tls_is_spoken_with_a_server_that_is_trusted(tls):
    async with (
        open_server(greet, tls.server) as url,
        open_websocket_signaling(url, ssl_context=tls.client) as signaling,
    ):
        assert await signaling.receive() == Bye("hello")


async def test_an_ipv6_address_is_a_host():
    async def answer(stream):
        await greet(Visitor(stream, None))

    try:
        listeners = await trio.open_tcp_listeners(0, host="::1")
    except OSError:
        return  # a host without IPv6
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, answer, listeners)
        port = listeners[0].socket.getsockname()[1]
        async with open_websocket_signaling(f"ws://[::1]:{port}") as signaling:
            assert await signaling.receive() == Bye("hello")
            assert signaling.remote_address == ("::1", port)
        nursery.cancel_scope.cancel()


# -- no connection -----------------------------------------------------------------------------------------------


async def refuse(visitor: Visitor) -> None:
    await visitor.read_request()
    await visitor.stream.send_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nno!\n")
    await visitor.read_to_the_end()


async def speak_something_else(visitor: Visitor) -> None:
    await visitor.stream.send_all(b"220 mail.example ESMTP\r\n\r\n")
    await visitor.read_to_the_end()


async def answer_with_another_key(visitor: Visitor) -> None:
    response = visitor.protocol.accept(await visitor.read_request())
    del response.headers["Sec-WebSocket-Accept"]
    response.headers["Sec-WebSocket-Accept"] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    await visitor.stream.send_all(response.serialize())
    await visitor.read_to_the_end()


async def leave_at_once(visitor: Visitor) -> None:
    visitor.socket.close()


async def leave_after_the_request(visitor: Visitor) -> None:
    await visitor.read_request()
    visitor.socket.shutdown(socket.SHUT_WR)
    await visitor.read_to_the_end()


async def reset_after_the_request(visitor: Visitor) -> None:
    await visitor.read_request()
    await visitor.reset()


async def leave_in_the_middle_of_the_answer(visitor: Visitor) -> None:
    await visitor.read_request()
    await visitor.stream.send_all(b"HTTP/1.1 101 Swi")
    visitor.socket.close()


@pytest.mark.parametrize(
    ("script", "explanation", "status"),
    [
        (refuse, "refuses the WebSocket with HTTP status 403", 403),
        (speak_something_else, "cannot be reached: the other side does not speak WebSocket", None),
        (answer_with_another_key, "cannot be reached: the other side does not speak WebSocket", None),
        (leave_at_once, "ended during the WebSocket handshake", None),
        (leave_after_the_request, "ended during the WebSocket handshake", None),
        (reset_after_the_request, "ended during the WebSocket handshake", None),
        (leave_in_the_middle_of_the_answer, "ended during the WebSocket handshake", None),
    ],
)
async def test_a_server_that_gives_no_websocket_is_told_from_one_that_does(script, explanation, status):
    async with open_server(script) as url:
        with trio.fail_after(2), pytest.raises(SignalingFailedError, match=explanation) as caught:
            async with open_websocket_signaling(url):
                pytest.fail("there is no connection")
    assert caught.value.status == status


async def test_a_server_that_says_nothing_is_given_up_in_time():
    async def say_nothing(visitor):
        await trio.sleep_forever()

    async with open_server(say_nothing) as url:
        with trio.fail_after(2), pytest.raises(SignalingFailedError, match=r"within 0.1 s"):
            async with open_websocket_signaling(url, connect_timeout=0.1):
                pytest.fail("there is no connection")


async def test_a_server_that_is_not_there_is_told():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(SignalingFailedError, match="cannot be reached"):
            async with open_websocket_signaling(f"ws://127.0.0.1:{bound.getsockname()[1]}"):
                pytest.fail("there is no connection")


async def test_a_server_whose_certificate_is_not_trusted_is_told(tls):
    async def attend(visitor):
        with pytest.raises(trio.BrokenResourceError):
            await visitor.stream.do_handshake()

    async with open_server(attend, tls.server) as url:
        with trio.fail_after(2), pytest.raises(SignalingFailedError, match="CERTIFICATE_VERIFY_FAILED"):
            async with open_websocket_signaling(url):
                pytest.fail("there is no connection")


async def test_a_server_that_speaks_no_tls_is_told(tls):
    async with open_server(speak_something_else) as url:
        with trio.fail_after(2), pytest.raises(SignalingFailedError, match="cannot be reached"):
            async with open_websocket_signaling(url.replace("ws", "wss"), ssl_context=tls.client):
                pytest.fail("there is no connection")


@pytest.mark.parametrize(
    ("url", "arguments", "explanation"),
    [
        ("http://127.0.0.1", {}, "ws://host"),
        ("ws:///path", {}, "ws://host"),
        ("ws://[::1", {}, "no URL"),
        ("ws://127.0.0.1:99999", {}, "no URL"),
        ("ws://a..b/", {}, "no host"),
        ("ws://" + "a" * 64 + ".example/", {}, "no host"),
        ("ws://" + "a." * 127 + "example/", {}, "no host"),
        ("wss://.example.org/", {}, "no host"),
        ("ws://-a-.☃-/", {}, "no host"),
        ("ws://ex\x00ample/", {}, "no host"),
        ("ws://a b/", {}, "no host"),
        ("ws://a%41/", {}, "no host"),
        ("ws://127.0.0.1/#here", {}, "fragment"),
        ("ws://ada:secret@127.0.0.1/", {}, "user"),
        ("ws://127.0.0.1/a b", {}, "ASCII"),
        ("ws://127.0.0.1", {"ssl_context": ssl.create_default_context()}, "no TLS"),
        ("ws://127.0.0.1", {"headers": [("X-A", "1\r\nX-B: 2")]}, "header"),
        ("ws://127.0.0.1", {"headers": [("X A", "1")]}, "header 'X A'"),
        ("ws://127.0.0.1", {"subprotocol": "a, b"}, "subprotocol"),
        ("ws://127.0.0.1", {"ping_timeout": 0}, "ping_timeout"),
        ("ws://127.0.0.1", {"ping_interval": -1}, "ping_interval"),
        ("ws://127.0.0.1", {"max_message_size": MAX_MESSAGE_SIZE + 1}, "no message has more"),
    ],
)
@pytest.mark.parametrize("open_signaling", [open_websocket_signaling, open_reconnecting_signaling])
async def test_what_can_be_for_no_websocket_is_the_callers_mistake(open_signaling, url, arguments, explanation):
    with pytest.raises(UsageError, match=explanation):
        async with open_signaling(url, **arguments):
            pytest.fail("nothing was to be opened")


@pytest.mark.parametrize(
    ("url", "host", "port", "authority"),
    [
        ("ws://Example.ORG", "example.org", 80, "example.org"),
        ("wss://example.org.:443/", "example.org.", 443, "example.org."),
        ("wss://my_host:80/", "my_host", 80, "my_host:80"),
        ("ws://faß.example/", "xn--fa-hia.example", 80, "xn--fa-hia.example"),
        ("ws://[2001:DB8::1]:8080/", "2001:db8::1", 8080, "[2001:db8::1]:8080"),
        ("ws://127.0.0.1:0/", "127.0.0.1", 0, "127.0.0.1:0"),
    ],
)
def test_a_url_says_whom_to_ask(url, host, port, authority):
    target = WebSocketTarget.parse(url, ssl_context=None, subprotocol=None, headers=())
    assert (target.host, target.port, target.authority) == (host, port, authority)


# -- whole lives -------------------------------------------------------------------------------------------------


def test_it_talks_with_a_server_of_another_make():
    def echo(connection):
        for message in connection:
            connection.send(message)
            connection.close(4000, "once is enough")
            return

    async def talk(url):
        with trio.fail_after(5):
            async with open_websocket_signaling(url) as signaling:
                await signaling.send(OFFER)
                assert [message async for message in signaling] == [OFFER]
                assert (signaling.close_code, signaling.close_reason) == (4000, "once is enough")

    with serve(echo, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        trio.run(talk, f"ws://127.0.0.1:{server.socket.getsockname()[1]}")
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_nothing_stays_behind_at_whichever_step_it_is_cancelled(secure, tls):
    async def echo(visitor):
        try:
            await visitor.welcome()
            await visitor.say(await visitor.hear())
            await visitor.read_to_the_end()
        except (EOFError, trio.BrokenResourceError):
            pass
        finally:
            await trio.aclose_forcefully(visitor.stream)

    async with open_server(echo, tls.server if secure else None) as url:

        async def live():
            async with open_websocket_signaling(url, ssl_context=tls.client if secure else None) as signaling:
                await signaling.send(OFFER)
                assert await signaling.receive() == OFFER

        await live()
        idle = tasks()
        with nothing_stays_behind():
            chosen, is_over = 0, False
            while not is_over:
                with trio.fail_after(5):
                    with cancel_at_step(own_steps(), chosen) as steps:
                        await live()
                        is_over = True
                    assert steps.steps > chosen or is_over
                    while tasks() > idle:  # the server's task for this client
                        await trio.sleep(0.001)
                chosen += 1
        assert chosen > 5
