"""A server that is closed while somebody knocks is not taken for one that has lost its sockets."""

import logging
import socket

import trio
import trio.testing

from trio_webrtc import ListenAddress, open_webrtc_server

HOST = "127.0.0.1"


async def test_closing_in_the_turn_in_which_something_arrives_is_no_loss(caplog, monkeypatch):
    """Both readers are woken, and find their sockets closed when it is their turn."""
    caplog.set_level(logging.DEBUG, logger="trio_webrtc")
    wait_readable, woken = trio.lowlevel.wait_readable, []

    async def close_when_woken(sock) -> None:
        await wait_readable(sock)
        woken.append(sock)
        server._tasks.cancel()
        server._free_ports()

    for transport in ("udp", "tcp"):
        monkeypatch.setattr(trio.lowlevel, "wait_readable", close_when_woken)
        async with open_webrtc_server(ListenAddress(transport, HOST)) as server:
            await trio.testing.wait_all_tasks_blocked()
            ports = {address.transport: address.port for address in server.addresses}
            kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
            with socket.socket(socket.AF_INET, kind) as stranger:
                stranger.connect((HOST, ports[transport]))
                if transport == "udp":
                    stranger.send(b"junk")
                with trio.fail_after(5):
                    while not woken:
                        await trio.sleep(0.001)
                await trio.testing.wait_all_tasks_blocked()
        woken.clear()
        monkeypatch.undo()
    assert [record.getMessage() for record in caplog.records if "lost" in record.getMessage()] == []
