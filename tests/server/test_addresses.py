"""Where a server listens: on which ports, what peers are told of it, and what is said when it cannot be had."""

import errno
import os
import socket

import pytest
import trio

from trio_webrtc import (
    Configuration,
    IceSettings,
    ListenAddress,
    SocketOptions,
    UsageError,
    open_peer_connection,
    open_webrtc_server,
)
from trio_webrtc.shell.host import HOST_NETWORK

from ..surface.quiescence import descriptors, nothing_stays_behind
from .aiming import answer_to, candidates_in, join, say, told_by, using
from .conftest import Site

UDP = ListenAddress("udp", "127.0.0.1")
TCP = ListenAddress("tcp", "127.0.0.1")
BOTH = ("udp", "tcp")


@pytest.fixture
def ipv6(require) -> None:
    """Skips where there is no IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        require(None, f"no IPv6 on this machine: {error}")


# -- addresses that cannot be had ---------------------------------------------------------------------------------


async def opening_fails(*listen: ListenAddress, network=HOST_NETWORK) -> OSError:
    """Try to open a server that cannot be; the reason."""
    before = descriptors()
    with pytest.raises(OSError, match="cannot listen at") as caught:
        async with open_webrtc_server(*listen, network=network):
            pytest.fail("it listens all the same")
    assert descriptors() == before, "something that was bound has not been released"
    return caught.value


@pytest.mark.parametrize("transport", BOTH)
async def test_a_port_in_use_is_named_and_nothing_stays_bound(transport):
    async with open_webrtc_server(ListenAddress(transport, "127.0.0.1")) as server:
        taken = ListenAddress(transport, "127.0.0.1", server.addresses[0].port)
        error = await opening_fails(UDP, TCP, taken)
    assert error.errno == errno.EADDRINUSE
    assert str(error).endswith(f"cannot listen at {transport} 127.0.0.1 port {taken.port}: Address already in use")
    async with open_webrtc_server(taken) as again:
        assert again.addresses == ((transport, "127.0.0.1", taken.port),)


@pytest.mark.parametrize("transport", BOTH)
async def test_an_address_of_another_host_is_named_and_nothing_stays_bound(transport):
    error = await opening_fails(UDP, TCP, ListenAddress(transport, "203.0.113.7", 5000))
    assert error.errno == errno.EADDRNOTAVAIL
    assert f"cannot listen at {transport} 203.0.113.7 port 5000: " in str(error)


class Refusing:
    """This host's network, which gives nobody a certain port."""

    def __init__(self, port: int, number: int) -> None:
        self._port, self._number = port, number

    def open_udp(self, address, options):
        self._refuse(address)
        return HOST_NETWORK.open_udp(address, options)

    def listen_tcp(self, address, options):
        self._refuse(address)
        return HOST_NETWORK.listen_tcp(address, options)

    def _refuse(self, address) -> None:
        if address[1] == self._port:
            raise OSError(self._number, os.strerror(self._number))


@pytest.mark.parametrize("transport", BOTH)
@pytest.mark.parametrize("name", ["EACCES", "EMFILE", "ENFILE", "ENOMEM", "EAFNOSUPPORT"])
async def test_what_is_not_permitted_or_possible_is_named_and_nothing_stays_bound(transport, name):
    number = getattr(errno, name)
    refused = ListenAddress(transport, "127.0.0.1", 443)
    error = await opening_fails(UDP, TCP, refused, network=Refusing(443, number))
    assert error.errno == number
    assert f"{transport} 127.0.0.1 port 443: {os.strerror(number)}" in str(error)
    assert isinstance(error, PermissionError) == (name == "EACCES")


async def test_an_interface_that_does_not_exist_is_named():
    error = await opening_fails(UDP, ListenAddress("udp", "fe80::1%nosuch", 5000))
    assert "udp fe80::1%nosuch port 5000: " in str(error)


async def test_sockets_of_a_virtual_host_are_released_as_well(site: Site, autojump_clock):
    async with site.serve(ListenAddress("tcp", "10.0.0.1", 6000)):
        opened = site.network.open_sockets
        with pytest.raises(OSError, match=r"tcp 10\.0\.0\.1 port 6000: Address already in use"):
            async with site.serve(
                ListenAddress("udp", "10.0.0.1", 6000),
                ListenAddress("tcp", "10.0.0.1", 6001),
                ListenAddress("tcp", "10.0.0.1", 6000),
            ):
                pytest.fail("it listens all the same")
        assert site.network.open_sockets == opened
    assert site.network.open_sockets == []


# -- ports --------------------------------------------------------------------------------------------------------


async def test_port_zero_is_some_port_and_it_is_told_which():
    async with open_webrtc_server(UDP, TCP, UDP) as server:
        ports = [address.port for address in server.addresses]
        assert all(ports)
        assert ports[0] != ports[2]
        assert [address.transport for address in server.addresses] == ["udp", "tcp", "udp"]
        told = await told_by(server)
        assert [candidate.port for candidate in told if candidate.transport == "udp"] == [ports[0], ports[2]]
        assert [candidate.port for candidate in told if candidate.transport == "tcp"] == [ports[1]]


@pytest.mark.parametrize("transport", BOTH)
async def test_of_a_range_each_server_takes_the_next_free_port_until_it_is_used_up(site, autojump_clock, transport):
    of_range = ListenAddress(transport, "10.0.0.1", (6000, 6002))
    async with site.serve(ListenAddress(transport, "10.0.0.1", 6001)), site.serve(of_range) as first:
        async with site.serve(of_range) as second:
            assert [server.addresses[0].port for server in (first, second)] == [6000, 6002]
            used_up = rf"cannot listen at {transport} 10\.0\.0\.1 port 6000 to 6002: Address already in use"
            with pytest.raises(OSError, match=used_up):
                async with site.serve(of_range):
                    pytest.fail("it listens all the same")
        async with site.serve(of_range) as third:
            assert third.addresses[0].port == 6002


async def test_only_a_port_that_is_taken_makes_it_look_further(site, autojump_clock):
    with pytest.raises(OSError, match=r"udp 10\.0\.0\.9 port 6000 to 6002: Cannot assign"):
        async with site.serve(ListenAddress("udp", "10.0.0.9", (6000, 6002))):
            pytest.fail("it listens all the same")


async def test_udp_and_tcp_may_have_the_same_port(site, autojump_clock):
    async with site.serve(ListenAddress("udp", "10.0.0.1", 6000), ListenAddress("tcp", "10.0.0.1", 6000)) as server:
        assert server.addresses == (("udp", "10.0.0.1", 6000), ("tcp", "10.0.0.1", 6000))
        assert repr(server) == "<WebRtcServer at udp 10.0.0.1 port 6000, tcp 10.0.0.1 port 6000>"


async def test_two_servers_share_a_port_if_both_say_so():
    shared = SocketOptions(reuse_port=True)
    async with open_webrtc_server(ListenAddress("udp", "127.0.0.1", options=shared)) as one:
        port = one.addresses[0].port
        async with open_webrtc_server(ListenAddress("udp", "127.0.0.1", port, options=shared)) as other:
            assert other.addresses == one.addresses
        await opening_fails(ListenAddress("udp", "127.0.0.1", port))


# -- what peers are told ------------------------------------------------------------------------------------------


async def told_at(site: Site, *listen: ListenAddress) -> list[tuple[str, str, int]]:
    """What a server that listens there tells of itself, the most preferred first."""
    async with site.serve(*listen) as server:
        told = await told_by(server, site.add_guest())
    priorities = [candidate.priority for candidate in told]
    assert len(set(priorities)) == len(priorities)
    return [tuple(candidate[:3]) for candidate in sorted(told, key=lambda candidate: -candidate.priority)]


@pytest.mark.parametrize("transport", BOTH)
async def test_priorities_fall_in_the_order_of_the_listen_addresses(site: Site, autojump_clock, transport):
    hosts = ["10.0.0.1", "fd00::1", "10.0.0.1", "10.0.0.1", "fd00::1"]
    listen = [ListenAddress(transport, host, 6000 + number) for number, host in enumerate(hosts)]
    expected = [(transport, host, 6000 + number) for number, host in enumerate(hosts)]
    assert await told_at(site, *listen) == expected
    assert await told_at(site, *reversed(listen)) == expected[::-1]


async def test_announced_hosts_stand_in_place_of_the_own_address(site: Site, autojump_clock):
    announced = ("203.0.113.5", "198.51.100.5", "webrtc.example.org")
    told = await told_at(site, ListenAddress("udp", "10.0.0.1", 6000, announced_hosts=announced))
    assert told == [("udp", host, 6000) for host in announced]


@pytest.mark.parametrize("transport", BOTH)
async def test_the_own_address_may_be_told_besides(site: Site, autojump_clock, transport):
    listen = ListenAddress(transport, "10.0.0.1", 6000, announced_hosts=["203.0.113.5"], announce_own=True)
    assert await told_at(site, listen) == [(transport, "203.0.113.5", 6000), (transport, "10.0.0.1", 6000)]


async def test_several_announced_hosts_of_one_address_rank_before_the_next_address(site: Site, autojump_clock):
    told = await told_at(
        site,
        ListenAddress("udp", "10.0.0.1", 6000, announced_hosts=["203.0.113.5", "203.0.113.6"], announce_own=True),
        ListenAddress("udp", "10.0.0.1", 6001, announced_hosts=["203.0.113.7", "203.0.113.8"], announce_own=True),
    )
    assert [host for _, host, _ in told] == [
        *("203.0.113.5", "203.0.113.6", "10.0.0.1"),
        *("203.0.113.7", "203.0.113.8", "10.0.0.1"),
    ]


async def test_a_wildcard_stands_for_every_address_of_its_family(site: Site, autojump_clock):
    assert await told_at(site, ListenAddress("udp", "0.0.0.0", 6000)) == [("udp", "10.0.0.1", 6000)]
    assert await told_at(site, ListenAddress("tcp", "::", 6000)) == [("tcp", "fd00::1", 6000)]
    both = ListenAddress("udp", "::", 6000, options=SocketOptions(ipv6_only=False))
    assert await told_at(site, both) == [("udp", "10.0.0.1", 6000), ("udp", "fd00::1", 6000)]


@pytest.mark.parametrize("announce_own", [False, True])
async def test_what_is_announced_for_a_wildcard_is_told_once(site: Site, autojump_clock, announce_own):
    host = site.network.add_host("10.0.0.2", "10.0.0.3", "10.0.0.4")
    listen = ListenAddress("udp", "0.0.0.0", 6000, announced_hosts=["203.0.113.5"], announce_own=announce_own)
    told = await told_at(Site(site.network, host, []), listen)
    own = [("udp", f"10.0.0.{number}", 6000) for number in (2, 3, 4)]
    assert told == [("udp", "203.0.113.5", 6000), *(own if announce_own else [])]


@pytest.mark.parametrize("transport", BOTH)
@pytest.mark.parametrize("ice_lite", [True, False], ids=["lite", "full"])
async def test_a_name_that_is_announced_leads_peers_to_the_server(make_site, autojump_clock, transport, ice_lite):
    """As in `webrtc.example.org`, which the peer looks up: as Chromium does, and RFC 8839 §5.1 does not have it."""
    site = make_site()
    host = site.network.add_host("10.0.0.2", name="webrtc.example.org")
    listen = ListenAddress(transport, "10.0.0.2", 6000, announced_hosts=["webrtc.example.org"])
    async with (
        Site(site.network, host, []).serve(listen) as server,
        open_peer_connection(network=site.add_guest()) as client,
        server.open_peer_connection(ice_lite=ice_lite) as peer,
    ):
        near = client.create_data_channel("chat")
        answer = await answer_to(client, peer)
        assert [told[:3] for told in candidates_in(answer)] == [(transport, "webrtc.example.org", 6000)]
        await client.set_remote_description(answer)
        with trio.fail_after(2):
            await near.wait_open()


@pytest.mark.parametrize("transport", BOTH)
async def test_this_hosts_resolver_is_asked_for_a_name(transport):
    listen = ListenAddress(transport, "127.0.0.1", announced_hosts=["localhost"])
    async with (
        open_webrtc_server(listen) as server,
        open_peer_connection(using("127.0.0.1")) as client,
        server.open_peer_connection() as peer,
    ):
        near = client.create_data_channel("chat")
        await client.set_remote_description(await answer_to(client, peer))
        with trio.fail_after(5):
            await near.wait_open()


@pytest.mark.parametrize("own", [("10.0.0.2", "fd00::2"), ("fd00::2", "10.0.0.2")], ids=" before ".join)
@pytest.mark.parametrize(
    "announced",
    [
        ["203.0.113.5", "2001:db8::5"],
        ["2001:db8::5", "203.0.113.5"],
        ["203.0.113.5"],
        ["2001:db8::5"],
        ["webrtc.example.org"],
    ],
    ids=" and ".join,
)
async def test_what_is_announced_for_both_families_stands_for_an_address_of_its_own(
    site: Site, autojump_clock, own: tuple[str, str], announced: list[str]
):
    host = site.network.add_host(*own)
    guest = site.network.add_host("10.0.0.3", "fd00::3")
    both = SocketOptions(ipv6_only=False)
    async with Site(site.network, host, []).serve(
        ListenAddress("udp", "::", 6000, announced_hosts=announced, options=both)
    ) as server:
        assert {candidate.host for candidate in await told_by(server, guest)} == set(announced)


@pytest.mark.parametrize("ice_lite", [True, False], ids=["lite", "full"])
@pytest.mark.parametrize("preferred", BOTH)
async def test_peers_that_prefer_udp_come_by_what_the_server_prefers(site: Site, autojump_clock, preferred, ice_lite):
    """A server behind a proxy for TCP, say, may want to have them there."""
    configuration = Configuration(ice=IceSettings(preferred_transport=preferred))
    async with (
        site.serve(configuration=configuration) as server,
        open_peer_connection(network=site.add_guest()) as client,
        server.open_peer_connection(ice_lite=ice_lite) as peer,
    ):
        near = client.create_data_channel("chat")
        await client.set_remote_description(await answer_to(client, peer))
        await near.wait_open()
        await trio.sleep(5)
        assert client.selected_candidate_pair.remote.transport == preferred
        assert peer.selected_candidate_pair.local.transport == preferred


@pytest.mark.parametrize("transport", BOTH)
@pytest.mark.parametrize(
    ("listens_at", "announced"),
    [("10.0.0.1", "2001:db8::5"), ("fd00::1", "203.0.113.5"), ("0.0.0.0", "2001:db8::5"), ("::", "203.0.113.5")],
)
async def test_an_announced_host_of_the_other_family_is_told_and_no_private_address_in_its_place(
    site: Site, autojump_clock, transport, listens_at, announced
):
    """Something between may translate, as between a host's IPv6 and its containers' IPv4."""
    told = await told_at(site, ListenAddress(transport, listens_at, 6000, announced_hosts=[announced]))
    assert told == [(transport, announced, 6000)]


@pytest.mark.usefixtures("ipv6")
@pytest.mark.parametrize("transport", BOTH)
@pytest.mark.parametrize("ice_lite", [True, False], ids=["lite", "full"])
async def test_a_listen_address_may_be_written_in_any_way(transport, ice_lite):
    async with open_webrtc_server(ListenAddress(transport, "0:0:0:0:0:0:0:1")) as server:
        (at,) = server.addresses
        assert at.host == "::1"
        with trio.fail_after(5):
            async with join(
                server, transport, (at.host, at.port), configuration=using("::1"), ice_lite=ice_lite
            ) as joined:
                await say(joined)


# -- wildcards answer from where they were asked ------------------------------------------------------------------


@pytest.mark.parametrize("transport", BOTH)
async def test_a_wildcard_answers_from_the_address_that_was_asked(require, transport):
    require(os.path.isdir("/proc/sys/net"), "only Linux has all of 127.0.0.0/8")  # noqa: PTH112 - nothing else waits

    async def run() -> None:
        async with open_webrtc_server(ListenAddress(transport, "0.0.0.0")) as server:
            port = server.addresses[0].port
            for host in ("127.0.0.1", "127.0.0.2", "127.0.0.1"):
                with trio.fail_after(5):
                    async with join(server, transport, (host, port), configuration=using("127.0.0.1")) as joined:
                        await say(joined, f"hello at {host}")

    with nothing_stays_behind():
        await run()


@pytest.mark.usefixtures("ipv6")
@pytest.mark.parametrize("transport", BOTH)
@pytest.mark.parametrize("host", ["::1", "::"])
async def test_it_serves_by_ipv6(transport, host):
    async with open_webrtc_server(ListenAddress(transport, host)) as server:
        with trio.fail_after(5):
            async with join(server, transport, ("::1", server.addresses[0].port), configuration=using("::1")) as joined:
                await say(joined)


@pytest.mark.usefixtures("ipv6")
@pytest.mark.parametrize("transport", BOTH)
async def test_one_socket_serves_both_families_and_speaks_of_ipv4_addresses_as_such(transport):
    both = ListenAddress(transport, "::", options=SocketOptions(ipv6_only=False))
    async with open_webrtc_server(both) as server:
        port = server.addresses[0].port
        for host, own in (("127.0.0.1", "127.0.0.1"), ("127.0.0.2", "127.0.0.1"), ("::1", "::1")):
            with trio.fail_after(5):
                async with join(server, transport, (host, port), configuration=using(own)) as joined:
                    await say(joined)
                    remote = {address[0] for address in server.get_stats().remote_addresses}
                    assert remote <= {own}
                    pair = joined.peer._core.agent.selected_pair
                    assert pair.remote_address[0] == own


@pytest.mark.usefixtures("ipv6")
async def test_an_ipv6_wildcard_leaves_ipv4_to_others():
    async with open_webrtc_server(ListenAddress("udp", "::"), ListenAddress("tcp", "::")) as server:
        (_, _, udp), (_, _, tcp) = server.addresses
        async with open_webrtc_server(
            ListenAddress("udp", "0.0.0.0", udp), ListenAddress("tcp", "0.0.0.0", tcp)
        ) as other:
            assert [address.port for address in other.addresses] == [udp, tcp]


# -- options ------------------------------------------------------------------------------------------------------


async def test_sockets_have_the_buffers_that_were_asked_for(require):
    require(os.path.isdir("/proc/sys/net"), "only Linux doubles what is asked for (socket(7))")  # noqa: PTH112
    options = SocketOptions(receive_buffer=30_000, send_buffer=20_000)
    async with open_webrtc_server(
        ListenAddress("udp", "127.0.0.1", options=options), ListenAddress("tcp", "127.0.0.1", options=options)
    ) as server:
        udp, tcp = server._places
        for opened in (udp._port.socket._socket, tcp.listener._socket):
            assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 60_000
            assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 40_000


# -- what cannot be -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("quic", "127.0.0.1"), "transport"),
        (("UDP", "127.0.0.1"), "transport"),
        (("udp", "localhost"), "localhost"),
        (("udp", ""), "IP address"),
        (("udp", "127.0.0.1:5000"), "IP address"),
        (("udp", 2130706433), "IP address"),
        (("udp", b"\x7f\0\0\1"), "IP address"),
        (("udp", None), "IP address"),
        (("udp", "127.0.0.1", -1), "port"),
        (("udp", "127.0.0.1", 65_536), "port"),
        (("udp", "127.0.0.1", "5000"), "port"),
        (("udp", "127.0.0.1", None), "port"),
        (("udp", "127.0.0.1", 5000.0), "port"),
        (("udp", "127.0.0.1", (5001, 5000)), "port"),
        (("udp", "127.0.0.1", (0, 5000)), "port"),
        (("udp", "127.0.0.1", (5000, 5001, 5002)), "port"),
        (("udp", "127.0.0.1", ("5000", "5001")), "port"),
        (("udp", "127.0.0.1", 0, "203.0.113.5"), "announced_hosts"),
        (("udp", "127.0.0.1", 0, [""]), "announced_hosts"),
        (("udp", "127.0.0.1", 0, ["203.0.113.5 9 typ host\r\na=ice-lite"]), "announced_hosts"),
        (("udp", "127.0.0.1", 0, ["host name"]), "announced_hosts"),
        (("udp", "127.0.0.1", 0, ["0.0.0.0"]), "'0.0.0.0' is not the address of one host; give one by which"),
        (("udp", "::1", 0, ["::"]), "'::' is not the address of one host; give one by which"),
        (("udp", "127.0.0.1", 0, ["224.0.0.1"]), "not the address of one host; give one by which"),
        (("udp", "::1", 0, ["ff02::1"]), "not the address of one host; give one by which"),
        (("udp", "127.0.0.1", 0, ["255.255.255.255"]), "not the address of one host; give one by which"),
        (("udp", "::1", 0, ["fe80::5%eth0"]), "the zone of 'fe80::5%eth0' .* give 'fe80::5'"),
        (("udp", "127.0.0.1", 0, ["::ffff:203.0.113.5"]), "give '203.0.113.5'"),
        (("udp", "127.0.0.1", 0, ["127.0.0.1."]), "no IP address; give one by which"),
        (("udp", "127.0.0.1", 0, ["127.0.0.256"]), "no IP address; give one by which"),
        (("udp", "127.0.0.1", 0, ["rtc..example.org"]), "no IP address; give one by which"),
        (("udp", "127.0.0.1", 0, ["a" * 64 + ".org"]), "no IP address; give one by which"),
        (("udp", "127.0.0.1", 0, ["a." * 127]), "no IP address; give one by which"),
        (("udp", "127.0.0.1", 0, [5]), "no IP address; give one by which"),
        (("udp", "127.0.0.1", 0, [None]), "announced_hosts"),
        (("udp", "127.0.0.1", 0, None), "announced_hosts"),
    ],
)
def test_a_listen_address_that_cannot_be_is_a_usage_error(arguments, names):
    with pytest.raises(UsageError, match=names) as caught:
        ListenAddress(*arguments)
    assert is_one_sentence(str(caught.value))


@pytest.mark.parametrize("option", ["receive_buffer", "send_buffer"])
@pytest.mark.parametrize("size", [0, -1, 2**31, 1.5, "64k"])
def test_a_buffer_that_cannot_be_is_a_usage_error(option, size):
    with pytest.raises(UsageError, match=option) as caught:
        SocketOptions(**{option: size})
    assert is_one_sentence(str(caught.value))


async def test_a_server_that_listens_nowhere_is_a_usage_error():
    with pytest.raises(UsageError, match="at least one address") as caught:
        async with open_webrtc_server():
            pytest.fail("it listens nowhere")
    assert is_one_sentence(str(caught.value))


def is_one_sentence(text: str) -> bool:
    """Whether it could be read out."""
    return bool(text) and "\n" not in text and ". " not in text
