"""What every implementation of Network and UdpSocket does alike: the kernel's and the virtual one."""

import contextlib
import errno

import pytest
import trio

from trio_webrtc.core.contract import MAX_RUN_BYTES, MAX_RUN_SEGMENTS, split_run
from trio_webrtc.shell.host import HOST_NETWORK
from trio_webrtc.shell.network import SOCKET_LOST, TOO_LARGE, Interface, SocketOptions
from trio_webrtc.testing import VirtualNetwork

HOSTS = ["127.0.0.1", "::1"]


@contextlib.contextmanager
def fails_with(numbers):
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number says which
        yield
    assert caught.value.errno in numbers


@pytest.fixture(params=["kernel", "virtual"])
def network(request):
    if request.param == "kernel":
        return HOST_NETWORK
    return VirtualNetwork(seed=1, latency=0.0).add_host("127.0.0.1", "127.0.0.2", "::1")


@pytest.fixture(params=HOSTS)
def host(request):
    return request.param


@pytest.fixture
async def pair(network, host):
    left, right = network.open_udp((host, 0)), network.open_udp((host, 0))
    yield left, right
    left.close()
    right.close()


async def receive_all(receiver, count):
    datagrams = []
    with trio.fail_after(5):
        while len(datagrams) < count:
            await receiver.wait_readable()
            for arrival in receiver.receive():
                datagrams += split_run(arrival.data, arrival.segment_size)
    return datagrams


async def receive_one(receiver):
    with trio.fail_after(5):
        await receiver.wait_readable()
    (arrival,) = receiver.receive()
    return arrival


async def test_a_bound_socket_tells_the_port_it_was_given(pair, host):
    left, right = pair
    assert left.local_address[0] == right.local_address[0] == host
    assert 0 < left.local_address[1] != right.local_address[1] > 0


async def test_a_datagram_arrives_with_its_senders_address(pair):
    left, right = pair
    assert left.send(right.local_address, b"hello", None, None) == 5
    assert await receive_one(right) == (None, left.local_address, b"hello", None)


@pytest.mark.parametrize("size", [1, 1200, 1472 - 20])
async def test_datagrams_of_any_size_arrive_whole(pair, size):
    left, right = pair
    left.send(right.local_address, bytes(size), None, None)
    assert await receive_all(right, 1) == [bytes(size)]


@pytest.mark.parametrize(
    ("length", "segment_size"),
    [(2400, 1200), (3000, 1200), (100, 100), (100, 1200), (64, 1), (MAX_RUN_SEGMENTS * 1000, 1000)],
)
async def test_a_run_arrives_as_its_datagrams_in_order(pair, length, segment_size):
    left, right = pair
    run = bytes(index % 251 for index in range(length))
    assert length <= MAX_RUN_BYTES
    assert left.send(right.local_address, run, segment_size, None) == length
    datagrams = split_run(run, segment_size)
    assert await receive_all(right, len(datagrams)) == datagrams


async def test_runs_and_single_datagrams_keep_their_borders(pair):
    left, right = pair
    sent = [b"a" * 10, b"b" * 10, b"c" * 3, b"d" * 20, b"e" * 10, b"f"]
    left.send(right.local_address, b"".join(sent[:3]), 10, None)
    for datagram in sent[3:]:
        left.send(right.local_address, datagram, None, None)
    assert await receive_all(right, 6) == sent


async def test_receiving_nothing_gives_an_empty_list(pair):
    assert pair[0].receive() == []


async def test_a_reader_sleeps_until_something_comes(pair):
    left, right = pair
    async with trio.open_nursery() as nursery:
        nursery.start_soon(right.wait_readable)
        await trio.testing.wait_all_tasks_blocked()
        assert nursery.child_tasks
        left.send(right.local_address, b"wake up", None, None)
    assert right.receive()[0].data == b"wake up"


async def test_only_one_task_may_wait_for_a_socket(pair):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair[0].wait_readable)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await pair[0].wait_readable()
        nursery.cancel_scope.cancel()


async def test_there_is_room_in_an_idle_socket(pair):
    with trio.fail_after(5):
        await pair[0].wait_writable()


async def test_closing_wakes_the_reader(pair):
    async def read():
        with pytest.raises(trio.ClosedResourceError):
            await pair[0].wait_readable()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        pair[0].close()


async def test_nobody_can_wait_for_a_closed_socket(pair):
    pair[0].close()
    with pytest.raises(trio.ClosedResourceError):
        await pair[0].wait_readable()
    with pytest.raises(trio.ClosedResourceError):
        await pair[0].wait_writable()


async def test_a_closed_socket_can_be_closed_again_and_is_lost_to_senders_and_readers(pair):
    left, right = pair
    left.close()
    left.close()
    with fails_with(SOCKET_LOST):
        left.send(right.local_address, b"too late", None, None)
    with fails_with(SOCKET_LOST):
        left.receive()


async def test_a_freed_port_can_be_bound_again_and_a_taken_one_cannot(network, pair):
    left, _ = pair
    with fails_with({errno.EADDRINUSE}):
        network.open_udp(left.local_address)
    left.close()
    network.open_udp(left.local_address).close()


async def test_an_address_of_another_host_cannot_be_bound(network):
    with fails_with({errno.EADDRNOTAVAIL}):
        network.open_udp(("203.0.113.77", 0))


async def test_what_is_too_large_for_the_way_is_an_error_of_its_own(pair):
    left, right = pair
    with fails_with(TOO_LARGE):
        left.send(right.local_address, bytes(70_000), None, None)
    assert left.send(right.local_address, b"smaller", None, None) == 7


async def test_an_address_of_the_other_family_is_an_error(pair, host):
    other = ("127.0.0.1", 9) if host == "::1" else ("::1", 9)
    with fails_with({errno.EAFNOSUPPORT}):
        pair[0].send(other, b"hello", None, None)


async def test_a_datagram_that_nobody_takes_does_no_harm(network, pair, host):
    left, right = pair
    gone = network.open_udp((host, 0))
    gone.close()
    for _ in range(3):
        left.send(gone.local_address, b"anybody?", None, None)
        await trio.lowlevel.checkpoint()
        assert left.receive() == []
    right.send(left.local_address, b"somebody", None, None)
    assert (await receive_one(left)).data == b"somebody"


async def test_a_wildcard_socket_tells_to_which_address_a_datagram_came_and_answers_from_there(network):
    server = network.open_udp(("0.0.0.0", 0))
    client = network.open_udp(("127.0.0.1", 0))
    port = server.local_address[1]
    for local_host in ("127.0.0.1", "127.0.0.2"):
        client.send((local_host, port), b"question", None, None)
        arrival = await receive_one(server)
        assert arrival == (local_host, client.local_address, b"question", None)
        assert server.send(client.local_address, b"one, two, ", 5, arrival.local_host) == 10
        with trio.fail_after(5):
            await client.wait_readable()
        answers = client.receive()
        assert {answer.from_ for answer in answers} == {(local_host, port)}
        assert b"".join(answer.data for answer in answers) == b"one, two, "
    server.close()
    client.close()


async def test_an_ipv6_wildcard_socket_does_the_same_and_leaves_ipv4_alone(network):
    server = network.open_udp(("::", 0))
    network.open_udp(("0.0.0.0", server.local_address[1])).close()
    client = network.open_udp(("::1", 0))
    client.send(("::1", server.local_address[1]), b"question", None, None)
    arrival = await receive_one(server)
    assert arrival == ("::1", client.local_address, b"question", None)
    server.send(client.local_address, b"answer", None, arrival.local_host)
    assert (await receive_one(client)).from_ == ("::1", server.local_address[1])
    server.close()
    client.close()


BOTH_FAMILIES = SocketOptions(ipv6_only=False)


@pytest.mark.parametrize("local_host", ["127.0.0.1", "127.0.0.2", "::1"])
@pytest.mark.parametrize(("length", "segment_size"), [(500, None), (500, 100), (450, 100)])
async def test_a_socket_for_both_families_answers_each_in_its_own_text_from_where_it_was_asked(
    network, local_host, length, segment_size
):
    server = network.open_udp(("::", 0), BOTH_FAMILIES)
    client = network.open_udp(("::1" if ":" in local_host else "127.0.0.1", 0))
    port = server.local_address[1]
    client.send((local_host, port), b"question", None, None)
    arrival = await receive_one(server)
    assert arrival == (local_host, client.local_address, b"question", None)
    data = bytes(index % 251 for index in range(length))
    assert server.send(client.local_address, data, segment_size, arrival.local_host) == length
    with trio.fail_after(5):
        await client.wait_readable()
    answers = client.receive()
    assert {answer.from_ for answer in answers} == {(local_host, port)}
    assert b"".join(answer.data for answer in answers) == data
    server.close()
    client.close()


async def test_a_socket_for_both_families_sends_to_either_without_being_told_from_where(network, host):
    server = network.open_udp(("::", 0), BOTH_FAMILIES)
    client = network.open_udp((host, 0))
    server.send(client.local_address, b"hello", None, None)
    assert (await receive_one(client)).from_ == (host, server.local_address[1])
    server.close()
    client.close()


async def test_a_socket_for_both_families_takes_the_port_from_both(network):
    both = network.open_udp(("::", 0), BOTH_FAMILIES)
    with fails_with({errno.EADDRINUSE}):
        network.open_udp(("0.0.0.0", both.local_address[1]))
    with fails_with({errno.EADDRINUSE}):
        network.open_udp(("::", both.local_address[1]))
    both.close()
    ipv4 = network.open_udp(("0.0.0.0", 0))
    with fails_with({errno.EADDRINUSE}):
        network.open_udp(("::", ipv4.local_address[1]), BOTH_FAMILIES)
    ipv4.close()


async def test_loopback_is_among_the_interfaces(network):
    interfaces = network.interfaces()
    assert all(isinstance(interface, Interface) for interface in interfaces)
    assert "127.0.0.1" in {interface.address for interface in interfaces}


@pytest.mark.parametrize("literal", HOSTS)
async def test_an_address_in_text_form_resolves_to_itself(network, literal):
    assert list(await network.resolve(literal, 3478)) == [(literal, 3478)]


async def test_who_has_joined_a_group_hears_what_is_sent_there(network):
    group = "224.0.0.251"  # Linux has no way to IPv6 groups on its loopback interface
    interface = next(found for found in network.interfaces() if found.address == "127.0.0.1")
    port = 5399  # of no service that may be running
    with contextlib.closing(network.open_multicast((group, port), interface)) as left:
        with contextlib.closing(network.open_multicast((group, port), interface)) as right:
            left.send((group, port), b"to all", None, None)
            for member in (left, right):
                arrival = await receive_one(member)
                assert arrival.data == b"to all"
                assert arrival.from_[1] == port
                assert arrival.from_[0] != group
        left.send((group, port), b"again", None, None)
        assert (await receive_one(left)).data == b"again"
