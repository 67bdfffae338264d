"""Run as a module in a network namespace of its own: servers at IPv6 addresses of several kinds, and their clients.

Prints what a test wants to see; exits with 77 where the machine does not allow that.
"""

import socket
import subprocess
import sys

import trio

from trio_webrtc import ListenAddress, WebRtcServer, open_webrtc_server

from .aiming import join, say, told_by, using

LINK_LOCAL = "fe80::1"
BY_ROUTER = ("fd00::1", "fd00::2")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def add_interface() -> None:
    ip("link", "add", "near", "type", "veth", "peer", "name", "far")
    for end in ("near", "far"):
        ip("link", "set", end, "addrgenmode", "none")
        ip("link", "set", end, "up")
    for host in (LINK_LOCAL, *BY_ROUTER):
        ip("address", "add", f"{host}/64", "dev", "near", "nodad")


def replace_interface() -> None:
    """Have it go and come back, as another one of the same name."""
    before = socket.if_nametoindex("near")
    ip("link", "delete", "near")
    ip("link", "add", "between", "type", "veth", "peer", "name", "times")
    add_interface()
    assert socket.if_nametoindex("near") != before


async def meet(server: WebRtcServer, host: str, *, own: str, ice_lite: bool = True) -> None:
    (at,) = server.addresses
    with trio.fail_after(10):
        async with join(server, at.transport, (host, at.port), configuration=using(own), ice_lite=ice_lite) as joined:
            await say(joined)


async def serve_all_addresses(transport: str) -> None:
    async with open_webrtc_server(ListenAddress(transport, "::")) as server:
        assert {candidate.host for candidate in await told_by(server)} == set(BY_ROUTER)
        for host in (*BY_ROUTER, BY_ROUTER[0]):
            await meet(server, host, own="fd00::2")
            await meet(server, host, own="fd00::1", ice_lite=False)
        print(f"{transport}: each of two addresses of a wildcard answers")
        await meet(server, LINK_LOCAL, own="fe80::1%near")
        replace_interface()
        await meet(server, LINK_LOCAL, own="fe80::1%near")
        print(f"{transport}: so does a link-local one, also on an interface that has come back")


async def serve_one_address(transport: str) -> None:
    for host in ("FD00::1", "fd00:0::0001"):
        for ice_lite in (True, False):
            async with open_webrtc_server(ListenAddress(transport, host)) as server:
                await meet(server, "fd00::1", own="fd00::2", ice_lite=ice_lite)
    for zone in ("near", socket.if_nametoindex("near")):
        for ice_lite in (True, False):
            async with open_webrtc_server(ListenAddress(transport, f"{LINK_LOCAL}%{zone}")) as server:
                await meet(server, LINK_LOCAL, own="fe80::1%near", ice_lite=ice_lite)
    print(f"{transport}: an address may be written in any way, a zone by name or by number")


async def serve() -> None:
    for transport in ("udp", "tcp"):
        await serve_all_addresses(transport)
        await serve_one_address(transport)
        ip("link", "delete", "between")


def main() -> None:
    try:
        ip("link", "set", "lo", "up")
        add_interface()
    except (OSError, subprocess.CalledProcessError) as error:
        print(error, getattr(error, "stderr", ""))
        sys.exit(77)
    trio.run(serve)


if __name__ == "__main__":
    main()
