"""What only the kernel's sockets do: runs in one system call, and what they fall back on."""

import errno
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from trio_webrtc.core.contract import split_run
from trio_webrtc.shell.host import HOST_NETWORK
from trio_webrtc.shell.kernel_sockets import text_address
from trio_webrtc.shell.network import SOCKET_LOST, SocketOptions
from trio_webrtc.shell.udp import LEAST_COST, MAX_BYTES_PER_BATCH, MAX_READS_PER_BATCH, KernelUdpSocket


class CountingSocket:
    """The kernel's socket, its system calls counted; some of them can be made to fail."""

    def __init__(self, inner):
        self.inner, self.sends, self.reads, self.failures = inner, 0, 0, {}

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def fileno(self):
        return self.inner.fileno()

    def _fail(self, sends):
        if sends in self.failures:
            number = self.failures.pop(sends)
            raise BlockingIOError(number, "") if number == errno.EAGAIN else OSError(number, "")

    def sendmsg(self, *args):
        self.sends += 1
        self._fail(self.sends)
        return self.inner.sendmsg(*args)

    def sendto(self, *args):
        self.sends += 1
        self._fail(self.sends)
        return self.inner.sendto(*args)

    def recvmsg(self, *args):
        self.reads += 1
        return self.inner.recvmsg(*args)

    def recvfrom(self, *args):
        self.reads += 1
        return self.inner.recvfrom(*args)


@pytest.fixture
async def pair():
    left, right = (HOST_NETWORK.open_udp(("127.0.0.1", 0)) for _ in range(2))
    for side in (left, right):
        side._socket = CountingSocket(side._socket)
    yield left, right
    for side in (left, right):
        side._socket = side._socket.inner
        side.close()


async def receive_all(receiver, count):
    datagrams = []
    with trio.fail_after(5):
        while len(datagrams) < count:
            await receiver.wait_readable()
            for arrival in receiver.receive():
                datagrams += split_run(arrival.data, arrival.segment_size)
    return datagrams


RUN = bytes(index % 251 for index in range(20 * 1000 + 7))


async def test_a_run_goes_out_in_one_system_call(pair, require):
    left, right = pair
    require(left.segments, "this kernel has no UDP_SEGMENT")
    left.send(right.local_address, RUN, 1000, None)
    assert left._socket.sends == 1
    assert await receive_all(right, 21) == split_run(RUN, 1000)


async def test_a_run_comes_in_by_few_system_calls(pair, require):
    left, right = pair
    require(left.segments and right.coalesces, "this kernel has no UDP_SEGMENT or no UDP_GRO")
    left.send(right.local_address, RUN, 1000, None)
    await receive_all(right, 21)
    assert right._socket.reads <= 4


async def test_without_segmentation_the_same_datagrams_go_out_one_by_one(pair):
    left, right = pair
    left.segments = False
    assert left.send(right.local_address, RUN, 1000, None) == len(RUN)
    assert left._socket.sends == 21
    assert await receive_all(right, 21) == split_run(RUN, 1000)


@pytest.mark.parametrize("number", [errno.EIO, errno.EINVAL])
async def test_a_kernel_that_turns_a_run_down_gets_plain_calls_from_then_on(pair, number, require):
    left, right = pair
    require(left.segments, "this kernel has no UDP_SEGMENT")
    left._socket.failures[1] = number
    assert left.send(right.local_address, RUN, 1000, None) == len(RUN)
    assert left._socket.sends == 22
    assert await receive_all(right, 21) == split_run(RUN, 1000)
    left.send(right.local_address, RUN, 1000, None)
    assert left._socket.sends == 43


async def test_a_run_of_too_many_segments_still_arrives(pair):
    left, right = pair
    run = bytes(200)
    assert left.send(right.local_address, run, 1, None) == 200  # the kernel takes 64, or 128, and says EINVAL
    assert len(await receive_all(right, 200)) == 200


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOBUFS])
async def test_what_is_refused_of_a_run_is_what_was_not_taken(pair, number):
    left, right = pair
    left._socket.failures[1] = number
    assert left.send(right.local_address, RUN, 1000, None) == 0
    left.segments = False
    left._socket.failures[5] = number
    assert left.send(right.local_address, RUN, 1000, None) == 3000
    assert await receive_all(right, 3) == split_run(RUN, 1000)[:3]


async def test_other_errors_of_a_run_are_raised(pair):
    left, right = pair
    left._socket.failures[1] = errno.ENETUNREACH
    with pytest.raises(OSError, match=str(errno.ENETUNREACH)):
        left.send(right.local_address, RUN, 1000, None)


@pytest.mark.parametrize(
    "to", [("localhost", 9), ("127.0.0.1", 65_536), ("127.0.0.1", -1), ("", 9), ("127.0.0.1\0", 9)]
)
async def test_what_is_no_address_is_an_error_and_never_looked_up(pair, to):
    left, _ = pair
    with pytest.raises(OSError, match="is no address"):
        left.send(to, b"hello", None, None)
    assert left._socket.sends == 0


async def test_a_link_local_address_is_reached_by_its_interface(require):
    addresses = [interface.address for interface in HOST_NETWORK.interfaces() if interface.address.startswith("fe80")]
    host = require(addresses[:1], "no interface here has a link-local address")[0]
    left, right = (HOST_NETWORK.open_udp((host, 0)) for _ in range(2))
    left.send(right.local_address, b"hello", None, None)
    with trio.fail_after(5):
        await right.wait_readable()
    assert right.receive() == [(None, left.local_address, b"hello", None)]
    left.close()
    right.close()


async def test_a_socket_works_without_any_of_the_kernels_extras(pair):
    left, right = pair
    for side in pair:
        side.segments = side.coalesces = False
        side._ancillary_room = 0
    left.send(right.local_address, b"plain", None, None)
    await right.wait_readable()
    assert right.receive() == [(None, left.local_address, b"plain", None)]


async def test_one_batch_is_bounded_and_the_rest_comes_with_the_next(pair):
    left, right = pair
    for number in range(MAX_READS_PER_BATCH + 10):
        left.send(right.local_address, bytes(1 + number % 2 * 5), None, None)  # sizes that do not join
        if number % 20 == 0:
            await trio.lowlevel.checkpoint()
    right._socket.reads = 0
    right.receive()
    assert right._socket.reads <= MAX_READS_PER_BATCH
    for _ in range(10):
        left.send(right.local_address, bytes(60_000), None, None)
    assert sum(len(arrival.data) for arrival in right.receive()) <= MAX_BYTES_PER_BATCH + 65_535


async def test_a_batch_has_a_bounded_number_of_short_datagrams_though_whole_runs_of_them_come(pair, require):
    left, right = pair
    require(left.segments and right.coalesces, "this kernel has no UDP_SEGMENT or no UDP_GRO")
    for _ in range(10):
        left.send(right.local_address, bytes(64 * 20), 20, None)
    most = MAX_BYTES_PER_BATCH // LEAST_COST
    batches = [sum(len(split_run(arrival.data, arrival.segment_size)) for arrival in right.receive()) for _ in "123"]
    assert batches == [most, most, 10 * 64 - 2 * most]


async def test_a_wildcard_socket_segments_and_chooses_its_source_at_once(require):
    server = HOST_NETWORK.open_udp(("0.0.0.0", 0))
    client = HOST_NETWORK.open_udp(("127.0.0.1", 0))
    try:
        require(server.segments, "this kernel has no UDP_SEGMENT")
        server._socket = CountingSocket(server._socket)
        server.send(client.local_address, RUN, 1000, "127.0.0.3")
        assert server._socket.sends == 1
        with trio.fail_after(5):
            await client.wait_readable()
        assert {arrival.from_[0] for arrival in client.receive()} == {"127.0.0.3"}
    finally:
        server._socket = getattr(server._socket, "inner", server._socket)
        server.close()
        client.close()


@pytest.mark.parametrize(
    ("host", "level", "option"),
    [("127.0.0.1", socket.IPPROTO_IP, 10), ("::1", socket.IPPROTO_IPV6, 23)],
)
async def test_nothing_is_fragmented_on_linux(host, level, option, require):
    require(sys.platform == "linux", "IP_PMTUDISC_PROBE is Linux's")
    bound = HOST_NETWORK.open_udp((host, 0))
    assert bound._socket.getsockopt(level, option) == 3
    bound.close()


async def test_buffers_are_larger_than_the_systems_default():
    plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound = HOST_NETWORK.open_udp(("127.0.0.1", 0))
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        assert bound._socket.getsockopt(socket.SOL_SOCKET, option) >= plain.getsockopt(socket.SOL_SOCKET, option)
    plain.close()
    bound.close()


@pytest.mark.parametrize("open_", [HOST_NETWORK.open_udp, HOST_NETWORK.listen_tcp])
async def test_buffers_are_as_large_as_asked(open_):
    options = SocketOptions(receive_buffer=30_000, send_buffer=40_000)
    bound = open_(("127.0.0.1", 0), options)
    asked = {socket.SO_RCVBUF: 30_000, socket.SO_SNDBUF: 40_000}
    for option, size in asked.items():
        assert bound._socket.getsockopt(socket.SOL_SOCKET, option) in (size, 2 * size)  # Linux doubles them: socket(7)
    bound.close()


@pytest.mark.parametrize("open_", [HOST_NETWORK.open_udp, HOST_NETWORK.listen_tcp])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_sockets_that_agree_on_it_share_a_port_and_others_do_not(open_, host, require):
    require(hasattr(socket, "SO_REUSEPORT"), "this system gives a port to one socket only")
    one = open_((host, 0), SocketOptions(reuse_port=True))
    other = open_(one.local_address, SocketOptions(reuse_port=True))
    assert other.local_address == one.local_address
    with pytest.raises(OSError, match="in use"):
        open_(one.local_address)
    one.close()
    other.close()


async def test_a_system_that_does_not_share_ports_says_so(monkeypatch):
    monkeypatch.delattr(socket, "SO_REUSEPORT", raising=False)
    with pytest.raises(OSError, match="to one socket only"):
        HOST_NETWORK.open_udp(("127.0.0.1", 0), SocketOptions(reuse_port=True))


@pytest.mark.parametrize(
    ("level", "option"), [(socket.IPPROTO_IP, 10), (socket.IPPROTO_IPV6, 23)], ids=["IPv4", "IPv6"]
)
async def test_a_socket_for_both_families_fragments_nothing_of_either(level, option, require):
    require(sys.platform == "linux", "IP_PMTUDISC_PROBE is Linux's")
    bound = HOST_NETWORK.open_udp(("::", 0), SocketOptions(ipv6_only=False))
    assert bound._socket.getsockopt(level, option) == 3
    bound.close()


async def test_a_socket_for_both_families_sends_runs_to_ipv4_in_one_system_call(require):
    bound = HOST_NETWORK.open_udp(("::", 0), SocketOptions(ipv6_only=False))
    require(bound.segments, "this kernel has no UDP_SEGMENT")
    receiver = HOST_NETWORK.open_udp(("127.0.0.1", 0))
    bound._socket = CountingSocket(bound._socket)
    assert bound.send(receiver.local_address, RUN, 1000, "127.0.0.2") == len(RUN)
    assert bound._socket.sends == 1
    assert await receive_all(receiver, 21) == split_run(RUN, 1000)
    bound._socket = bound._socket.inner
    bound.close()
    receiver.close()


async def test_no_socket_is_left_open_when_binding_fails():
    with pytest.raises(OSError) as error:  # noqa: PT011 - the number says which
        KernelUdpSocket(("203.0.113.77", 0))
    assert error.value.errno == errno.EADDRNOTAVAIL


def test_a_socket_without_room_refuses_and_what_is_offered_again_arrives_in_order(require):
    unshare = require(shutil.which("unshare"), "no unshare(1) to make a network namespace with")
    script = Path(__file__).parent / "refusing_kernel.py"
    result = subprocess.run([unshare, "-rn", sys.executable, script], capture_output=True, text=True, timeout=60)
    allowed = result.returncode != 77 and "unshare" not in result.stderr
    require(allowed, f"no network namespace with a slow loopback can be made here: {result.stderr or result.stdout}")
    assert result.stdout.split("\n") == ["refused in order", ""], result.stderr


def test_a_link_local_address_names_its_interface():
    name = socket.if_nameindex()[0][1]
    index = socket.if_nametoindex(name)
    assert text_address(("fe80::1", 5, 0, index)) == (f"fe80::1%{name}", 5)
    assert text_address(("fe80::1", 5, 0, 999_999)) == ("fe80::1%999999", 5)
    assert text_address(("fd00::1", 5, 0, 0)) == ("fd00::1", 5)
    assert text_address(("192.0.2.1", 5)) == ("192.0.2.1", 5)


def test_an_ipv4_address_looks_like_one_whatever_the_kernel_calls_it():
    assert text_address(("::ffff:192.0.2.1", 5, 0, 0)) == ("192.0.2.1", 5)
    assert text_address(("::ffff:0:1", 5, 0, 0)) == ("::ffff:0:1", 5)
    assert text_address(("::1", 5, 0, 0)) == ("::1", 5)


async def test_an_interface_that_is_not_there_now_is_no_loss_of_the_socket(require):
    try:
        opened = HOST_NETWORK.open_udp(("::", 0))
    except OSError as error:
        require(None, f"no IPv6 on this machine: {error}")
    with pytest.raises(OSError, match="no interface nosuch") as caught:
        opened.send(("fe80::1%nosuch", 5000), b"?", None, None)
    opened.close()
    assert caught.value.errno == errno.ENXIO
    assert caught.value.errno not in SOCKET_LOST
