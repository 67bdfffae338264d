"""A signalling server: what its clients get, what its handlers may do, and how it ends."""

import errno
import json
import logging
from functools import partial

import pytest
import trio

from trio_webrtc import UsageError
from trio_webrtc.shell.accepting import ReceptionLimits
from trio_webrtc.signaling import Bye, SignalingFailedError, open_websocket_signaling, serve_websocket_signaling

from ..surface.quiescence import nothing_stays_behind
from .conftest import RUNS
from .mischief import HANDSHAKE, PLAIN_REQUEST, frame
from .serving import (
    CANDIDATE,
    PATIENCE,
    ForeignClient,
    RawClient,
    assert_serves,
    echo,
    running_server,
    url,
    wait_until_idle,
)


@pytest.fixture(params=["plain", "tls"])
def security(request, tls):
    """None, or both sides of TLS."""
    return tls if request.param == "tls" else None


async def ask(server, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """One HTTP request; its answer's status, header fields and content."""
    client = await RawClient.connect(server.addresses[0])
    await client.say(request)
    head, _, content = (await client.hear_everything()).partition(b"\r\n\r\n")
    client.tcp.socket.close()
    status, *fields = head.decode().split("\r\n")
    return int(status.split()[1]), dict(field.lower().split(": ", 1) for field in fields), content


# -- what clients get --------------------------------------------------------------------------------------------


async def test_a_client_is_served_and_nothing_of_it_is_left(security):
    with nothing_stays_behind():
        async with running_server(tls=security) as server:
            for _ in range(5):
                await assert_serves(server, security)
            await wait_until_idle(server)
            assert server.get_stats().accepted == 5
            assert server.get_stats().refused == {}


async def test_a_handler_knows_who_asked_for_what():
    seen = []

    async def handler(signaling):
        seen.append((signaling.path, signaling.remote_address, signaling.subprotocol))

    async with running_server(handler, subprotocol="webrtc") as server:
        for subprotocol in (None, "webrtc", "chat"):
            async with open_websocket_signaling(url(server, path="/rooms/7?name=Ada"), subprotocol=subprotocol) as one:
                with pytest.raises(trio.EndOfChannel):
                    await one.receive()
                assert one.subprotocol == ("webrtc" if subprotocol == "webrtc" else None)
        await wait_until_idle(server)
    assert [(path, subprotocol) for path, _, subprotocol in seen] == [
        ("/rooms/7?name=Ada", None),
        ("/rooms/7?name=Ada", "webrtc"),
        ("/rooms/7?name=Ada", None),
    ]
    assert {host for _, (host, _), _ in seen} == {"127.0.0.1"}


async def test_it_listens_at_all_addresses_of_a_name(nursery):
    server = await nursery.start(partial(serve_websocket_signaling, echo, None, 0))
    families = {":" in host for host, _ in server.addresses}
    assert families >= {False}
    for host, port in server.addresses:
        target = {"0.0.0.0": "127.0.0.1", "::": "::1"}[host]
        authority = f"[{target}]:{port}" if ":" in target else f"{target}:{port}"
        async with open_websocket_signaling(f"ws://{authority}/") as signaling:
            await signaling.send(CANDIDATE)
            assert await signaling.receive() == CANDIDATE
    await server.aclose()


async def test_an_address_that_is_taken_is_named():
    async with running_server() as server:
        host, port = server.addresses[0]
        with pytest.raises(OSError, match=f"{host} port {port}: Address already in use"):
            await serve_websocket_signaling(echo, host, port)


async def test_a_health_path_that_is_none_is_a_usage_error():
    with pytest.raises(UsageError, match="begins with"):
        await serve_websocket_signaling(echo, "127.0.0.1", 0, health_path="healthz")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ((b"Upgrade: websocket\r\n", b""), 426),
        ((b"Connection: Upgrade\r\n", b""), 426),
        ((b"GET", b"POST"), 400),
        ((b"HTTP/1.1", b"HTTP/1.0"), 400),
        ((b"Host: 127.0.0.1\r\n", b""), 400),
        ((b"Version: 13", b"Version: 14"), 426),
        ((b"MDEyMzQ1Njc4OWFiY2RlZg==", b"MDEyMzQ1"), 400),
        ((b"MDEyMzQ1Njc4OWFiY2RlZg==", b"\xff"), 400),
        ((b"Host", b"Content-Length: 3\r\nHost"), 400),
        ((b"Host", b"Transfer-Encoding: chunked\r\nHost"), 400),
        ((b"GET /", b"GET /" + b"x" * 40_000), 431),
        ((b"GET /", b"GET \xff"), 400),
        ((b"GET", b"\x00"), 400),
    ],
)
async def test_what_is_no_request_for_a_websocket_gets_an_answer(change, status):
    """F4: of the first of these, and a reset, a bare `serve_websocket` dies."""
    async with running_server() as server:
        answer = await ask(server, HANDSHAKE.replace(*change))
        assert answer[0] == status
        assert "close" in answer[1]["connection"]
        assert len(answer[2]) == int(answer[1]["content-length"])
        if status == 426:
            assert {"upgrade", "sec-websocket-version"} & set(answer[1])
        await wait_until_idle(server)
        assert server.get_stats().refused == {"bad request": 1}


@pytest.mark.parametrize(
    "change",
    [
        (b"Connection: Upgrade", b"connection: keep-alive, upgrade"),
        (b"Connection: Upgrade", b"Connection: Upgrade\r\nConnection: keep-alive"),
        (b"Upgrade: websocket", b"Upgrade: WebSocket"),
        (b"Upgrade: websocket", b"Upgrade: h2c, websocket"),
        (b"Host: 127.0.0.1", b"Host: xn--\xff." + b"a" * 100),
        (b"Host", b"Sec-WebSocket-Protocol: \xff, \xfe\r\nHost"),
        (b"Host", b"Sec-WebSocket-Extensions: permessage-deflate; \xff\r\nHost"),
        (b"Host", b"Cookie: \xff\r\nHost"),
        (b"GET / ", b"GET http://127.0.0.1/x "),
    ],
)
async def test_a_request_that_is_odd_but_right_gets_its_websocket(change):
    async with running_server() as server:
        client = await RawClient.connect(server.addresses[0])
        await client.say(HANDSHAKE.replace(*change))
        assert (await client.stream.receive_some()).startswith(b"HTTP/1.1 101 ")
        client.reset()


async def test_an_answer_is_followed_by_no_reset_even_if_more_was_sent_than_read():
    """Closed with bytes unread, the connection would be reset, which can overtake the answer on its way."""
    async with running_server() as server:
        for _ in range(RUNS):
            client = await RawClient.connect(server.addresses[0])
            await client.tcp.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000)
            heard = b""
            while data := await client.tcp.receive_some():
                heard += data
            assert heard.endswith(b"Here is a WebSocket.\n")
            client.tcp.socket.close()


async def test_the_application_may_refuse_a_request():
    def refuse(request):
        if request.target.partition("?")[0] != "/rooms":
            return 404
        return None if request.header("Origin") == "https://example.org" else 403

    async with running_server(refuse=refuse) as server:
        for path, origin, status in [
            ("/", "https://example.org", 404),
            ("/rooms?x", "https://example.net", 403),
            ("/rooms?x", "https://example.org", None),
        ]:
            headers = [("Origin", origin)]
            if status is None:
                async with open_websocket_signaling(url(server, path=path), headers=headers) as signaling:
                    await signaling.send(CANDIDATE)
                    assert await signaling.receive() == CANDIDATE
            else:
                with pytest.raises(SignalingFailedError) as caught:
                    async with open_websocket_signaling(url(server, path=path), headers=headers):
                        pass
                assert caught.value.status == status
        await wait_until_idle(server)
        assert server.get_stats().refused == {"refused by the application": 2}


async def test_an_application_that_fails_to_judge_a_request_fails_alone(caplog):
    """C9: what the application does wrong before a client is accepted hangs neither the client nor the server."""

    def refuse(request):
        return 1 // len(request.target.removeprefix("/"))

    async with running_server(refuse=refuse) as server:
        with trio.fail_after(2), pytest.raises(SignalingFailedError):
            async with open_websocket_signaling(url(server)):
                pass
        with trio.fail_after(2), pytest.raises(SignalingFailedError):
            async with open_websocket_signaling(url(server, path="/x")):  # 1 is no status
                pass
        await wait_until_idle(server)
        assert server.get_stats().refused == {"failed": 2}
    assert "ZeroDivisionError" in caplog.text


async def test_a_client_too_many_is_told_so():
    """F8."""
    limits = ReceptionLimits(deadline=PATIENCE, max_connections=2)
    async with running_server(limits=limits, health_path="/healthz") as server:
        async with open_websocket_signaling(url(server)):
            assert (await ask(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"))[0] == 200
            async with open_websocket_signaling(url(server)):
                with pytest.raises(SignalingFailedError) as caught:
                    async with open_websocket_signaling(url(server)):
                        pass
                assert caught.value.status == 503
                assert (await ask(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"))[0] == 503
        await wait_until_idle(server)
        await assert_serves(server)


async def test_health_is_told_to_who_asks():
    async with running_server(health_path="/healthz") as server, open_websocket_signaling(url(server)):
        status, fields, content = await ask(server, b"GET /healthz?verbose HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (status, fields["content-type"]) == (200, "application/json")
        told = json.loads(content)
        assert (told["clients"], told["handshakes"], told["refused"]) == (1, 1, {})
        assert 0 < told["descriptors_used"] < told["descriptors_allowed"]
        status, fields, content = await ask(server, b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (status, content) == (200, b"")
        assert int(fields["content-length"]) > 100
        assert server.get_stats().refused == {}


async def test_health_is_no_ones_business_by_default():
    async with running_server() as server:
        assert (await ask(server, PLAIN_REQUEST.replace(b"/ ", b"/healthz ")))[0] == 426


# -- what handlers do --------------------------------------------------------------------------------------------


async def test_what_a_handler_raises_is_its_own_trouble_and_its_client_is_told(security, caplog):
    """C9, F4, T4: a bare `serve_websocket` ends with the handler, and every connection with it."""
    errors = [ValueError("a bug"), ExceptionGroup("two", [KeyError(), OSError()]), trio.TooSlowError(), StopIteration()]

    async def handler(signaling):
        if signaling.path != "/":
            raise errors[int(signaling.path[1:])]
        await echo(signaling)

    async with running_server(handler, tls=security) as server:
        context = security.client if security is not None else None
        async with open_websocket_signaling(url(server, security), ssl_context=context) as bystander:
            for number in range(len(errors)):
                target = url(server, security, path=f"/{number}")
                async with open_websocket_signaling(target, ssl_context=context) as unlucky:
                    with trio.fail_after(2), pytest.raises(trio.EndOfChannel):
                        await unlucky.receive()
                    assert unlucky.close_code == 1011
            await bystander.send(CANDIDATE)
            assert await bystander.receive() == CANDIDATE
        await wait_until_idle(server)
        assert server.get_stats().refused == {"failed": len(errors)}
    assert len([record for record in caplog.records if "127.0.0.1 port" in record.message]) == len(errors)
    assert "ValueError: a bug" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(errno.ECONNREFUSED, "the database"),
        trio.BrokenResourceError("a pipe"),
        trio.ClosedResourceError("a channel"),
        trio.EndOfChannel("a queue"),
        ExceptionGroup("tasks", [trio.BrokenResourceError("a pipe")]),
    ],
    ids=repr,
)
async def test_what_a_handler_loses_beside_its_client_is_a_fault_and_its_clients_loss_is_none(error, caplog):
    caplog.set_level(logging.INFO, logger="trio_webrtc.shell")

    async def handler(signaling):
        if signaling.path == "/lost":
            while True:
                await signaling.receive()
        raise error

    async with running_server(handler) as server:
        async with open_websocket_signaling(url(server)) as signaling:
            with pytest.raises(trio.EndOfChannel):
                await signaling.receive()
            assert signaling.close_code == 1011
        async with open_websocket_signaling(url(server, path="/lost")):
            pass
        await wait_until_idle(server)
        assert server.get_stats().refused == {"failed": 1, "lost": 1}
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert caplog.records[0].exc_info


async def test_a_handler_that_returns_says_goodbye():
    async def handler(signaling):
        await signaling.send(Bye("that was all"))

    async with running_server(handler) as server, open_websocket_signaling(url(server)) as signaling:
        assert await signaling.receive() == Bye("that was all")
        with pytest.raises(trio.EndOfChannel):
            await signaling.receive()
        assert signaling.close_code == 1000


async def test_a_handler_goes_on_when_its_client_has_left():
    finished = trio.Event()

    async def handler(signaling):
        async for _ in signaling:
            pass
        await trio.sleep(0.05)
        finished.set()

    async with running_server(handler) as server:
        async with open_websocket_signaling(url(server)):
            pass
        with trio.fail_after(2):
            await finished.wait()
        await wait_until_idle(server)


@pytest.mark.parametrize("ending", ["close", "end", "reset", "end of tls"])
async def test_all_that_a_client_sent_is_received_before_its_end_is_told(ending, tls):
    """D1, D2: also by a handler that takes its time."""
    count, results = 50, trio.open_memory_channel(1)

    async def handler(signaling):
        await trio.sleep(0.02)
        received = [message async for message in signaling]
        results[0].send_nowait((received, signaling.close_code, signaling.close_reason))

    security = tls if ending == "end of tls" else None
    sent = [Bye(f"{number} {'x' * 500}") for number in range(count)]
    async with running_server(handler, tls=security) as server:
        for _ in range(RUNS):
            client = await ForeignClient.open(server.addresses[0], tls.client if security is not None else None)
            await client.send_text(*(json.dumps({"bye": message.reason}) for message in sent))
            match ending:
                case "close":
                    client.protocol.send_close(4001, "done")
                    await client.flush()
                    assert await client.hear_close() == (4001, "done")
                    await client.stream.aclose()
                case "end":
                    client.end()
                case "reset":
                    await trio.sleep(0.01)  # or the reset overtakes what the kernel has yet to send
                    client.reset()
                case "end of tls":
                    await client.stream.aclose()
            with trio.fail_after(5):
                received, code, reason = await results[1].receive()
            assert received == sent
            assert (code, reason) == ((4001, "done") if ending == "close" else (1006, ""))
            client.tcp.socket.close()
        await wait_until_idle(server)


async def test_a_client_that_falls_silent_is_noticed(caplog):
    """E5: half-open TCP says nothing by itself."""
    caplog.set_level(logging.INFO, logger="trio_webrtc")
    async with running_server(ping_interval=0.1, ping_timeout=0.2, close_timeout=0.1) as server:
        client = await ForeignClient.open(server.addresses[0])
        with trio.fail_after(3):
            while server.get_stats().clients:
                await trio.sleep(0.01)
        assert sum(server.get_stats().refused.values()) == 1
        assert "answered no ping" in caplog.text
        client.tcp.socket.close()


async def test_a_client_in_the_middle_of_a_long_message_is_not_taken_for_silent():
    async with running_server(ping_interval=0.2, ping_timeout=1) as server:
        client = await ForeignClient.open(server.addresses[0])
        client.protocol.send_text(json.dumps({"bye": "x" * 100_000}).encode())
        wire = b"".join(client.protocol.data_to_send())
        for start in range(0, len(wire), 5000):
            await client.say(wire[start : start + 5000])
            await trio.sleep(0.1)  # two seconds in all, in which no ping is answered
        assert json.loads((await client.hear()).data) == {"bye": "x" * 100_000}
        client.reset()


async def test_a_client_that_reads_nothing_is_ended_with_a_reason_and_delays_no_other(caplog):
    """T5, T8: its queue is bounded, and it is given up when it answers no ping."""
    caplog.set_level(logging.INFO, logger="trio_webrtc")
    sent = 0

    async def handler(signaling):
        nonlocal sent
        if signaling.path != "/flood":
            return await echo(signaling)
        while True:
            await signaling.send(Bye("x" * 200_000))
            sent += 1

    async with running_server(handler, ping_interval=0.2, ping_timeout=0.3, close_timeout=0.2) as server:
        deaf = await RawClient.connect(server.addresses[0])
        await deaf.say(HANDSHAKE.replace(b"GET /", b"GET /flood"))
        for _ in range(10):
            await assert_serves(server)
        with trio.fail_after(5):
            while server.get_stats().clients:
                await trio.sleep(0.01)
        assert sent < 200
        (line,) = [record.message for record in caplog.records if "was lost" in record.message]
        assert "answered no ping" in line
        deaf.tcp.socket.close()


async def test_pings_at_a_sensible_pace_are_all_answered():
    async with running_server() as server:
        client = await ForeignClient.open(server.addresses[0])
        for number in range(50):
            client.protocol.send_ping(b"%d" % number)
            await client.flush()
        pongs = []
        while len(pongs) < 50:
            await client.read()
            pongs += [one.data for one in client.frames]
            client.frames.clear()
        assert pongs == [b"%d" % number for number in range(50)]
        client.reset()


async def test_a_client_whose_message_makes_an_error_longer_than_a_message_may_be_does_not_cancel_its_handler():
    outcomes = []

    async def handler(signaling):
        with pytest.raises(trio.BrokenResourceError):
            await signaling.receive()
        await trio.sleep(0.1)
        outcomes.append(signaling.close_code)

    async with running_server(handler) as server:
        client = await ForeignClient.open(server.addresses[0])
        await client.send_text(json.dumps({"type": "\\" * 120_000}))
        assert (await client.hear_close())[0] == 1008
        client.reset()
        await wait_until_idle(server)
        assert server.get_stats().refused == {"ended with 1008": 1}
    assert outcomes == [1008]


async def test_a_client_that_floods_is_told_why_it_has_to_go():
    async with running_server() as server:
        client = await RawClient.connect(server.addresses[0])
        await client.say(HANDSHAKE)
        await client.stream.receive_some()
        await client.say(frame(0x89, b"") * 10_000)
        heard = await client.hear_everything()
        assert heard.endswith((1008).to_bytes(2, "big") + b"too many frames that bring next to nothing")
        client.tcp.socket.close()


# -- the server's end --------------------------------------------------------------------------------------------


async def cancel_it(server, scope):
    scope.cancel()


async def close_it(server, scope):
    await server.aclose()


@pytest.mark.parametrize("end", [close_it, cancel_it])
async def test_at_the_servers_end_every_client_is_told_1001_and_every_handler_is_cancelled(end, security):
    """F6."""
    context = security.client if security is not None else None
    running = cancelled = 0

    async def handler(signaling):
        nonlocal running, cancelled
        running += 1
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled += 1
            raise

    serve = partial(
        serve_websocket_signaling, handler, "127.0.0.1", 0, ssl_context=security.server if security else None
    )
    with nothing_stays_behind():
        async with trio.open_nursery() as outer, trio.open_nursery() as nursery:
            server = await nursery.start(serve)
            codes = []

            async def be_a_client():
                async with open_websocket_signaling(url(server, security), ssl_context=context) as signaling:
                    with pytest.raises(trio.EndOfChannel):
                        await signaling.receive()
                    codes.append(signaling.close_code)

            for _ in range(20):
                outer.start_soon(be_a_client)
            while running < 20:
                await trio.sleep(0.01)
            began = trio.current_time()
            await end(server, nursery.cancel_scope)
        assert trio.current_time() - began < 1
    assert codes == [1001] * 20
    assert cancelled == 20


async def test_clients_that_do_not_answer_delay_its_end_by_no_more_than_the_close_timeout():
    """F6, T5: also those that are still about their handshake, or read nothing, or are in a long message."""
    async with running_server(close_timeout=0.3, limits=ReceptionLimits(deadline=60)) as server:
        clients = [await RawClient.connect(server.addresses[0]) for _ in range(40)]
        for number, client in enumerate(clients):
            match number % 4:
                case 0:
                    await client.say(HANDSHAKE)
                case 1:
                    await client.say(HANDSHAKE[:40])
                case 2:
                    await client.say(HANDSHAKE)
                    await client.stream.receive_some()
                    await client.say(frame(0x81, b"x" * 1000, length=100_000))
        async with open_websocket_signaling(url(server)) as good:
            while server.get_stats().clients < 21:
                await trio.sleep(0.01)
            began = trio.current_time()
            await server.aclose()
            assert trio.current_time() - began < 1.5
            with pytest.raises(trio.EndOfChannel):
                await good.receive()
            assert good.close_code == 1001
        for client in clients:
            client.tcp.socket.close()


async def test_it_may_be_closed_by_a_handler_twice_and_by_several_at_once():
    """T9, C1."""

    async def handler(signaling):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.aclose)
            nursery.start_soon(server.aclose)
            with trio.CancelScope(shield=True):  # as in a handler's own cleaning up
                await server.aclose()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(serve_websocket_signaling, handler, "127.0.0.1", 0))
            async with open_websocket_signaling(url(server)) as signaling:
                with pytest.raises(trio.EndOfChannel):
                    await signaling.receive()
                assert signaling.close_code == 1001
            nursery.start_soon(server.aclose)
            nursery.start_soon(server.aclose)
        await server.aclose()


async def test_nobody_is_accepted_when_it_has_ended():
    async with running_server() as server:
        await server.aclose()
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream(*server.addresses[0])


async def test_an_exception_beside_the_server_comes_out_alone():
    """T6."""
    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(serve_websocket_signaling, echo, "127.0.0.1", 0))
            client = await RawClient.connect(server.addresses[0])
            await client.say(HANDSHAKE)
            await client.stream.receive_some()
            client.reset()
            raise ValueError("beside")
    (error,) = caught.value.exceptions
    assert str(error) == "beside"
