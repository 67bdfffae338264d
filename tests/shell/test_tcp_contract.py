"""What every implementation of TcpSocket and TcpListener does alike: the kernel's and the virtual one."""

import contextlib
import errno
import os

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_webrtc.shell.host import HOST_NETWORK
from trio_webrtc.shell.network import SocketOptions
from trio_webrtc.testing import VirtualNetwork

LOST = {errno.ECONNRESET, errno.EPIPE, errno.EBADF}


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


@pytest.fixture(params=["127.0.0.1", "::1"])
def host(request):
    return request.param


@pytest.fixture
async def listener(network, host):
    listener = network.listen_tcp((host, 0))
    yield listener
    listener.close()


async def open_pair(network, listener):
    with trio.fail_after(5):
        client = await network.connect_tcp(None, listener.local_address)
        return client, await listener.accept()


@pytest.fixture
async def pair(network, listener):
    client, server = await open_pair(network, listener)
    yield client, server
    client.close()
    server.close()


async def receive(receiver):
    """What comes next: bytes, nothing at the end, or an error."""
    with trio.fail_after(5):
        while (data := receiver.receive()) is None:
            await receiver.wait_readable()
    return data


async def receive_all(receiver, count):
    data = b""
    while len(data) < count:
        data += await receive(receiver)
    return data


async def send_all(sender, data):
    data = memoryview(data)
    while data:
        data = data[sender.send(data) :]
        if data:
            await sender.wait_writable()


def fill(sender):
    """Send until there is no room; say how many bytes that took."""
    total = 0
    while taken := sender.send(bytes(65_536)):
        total += taken
    return total


async def fill_for_good(sender):
    """Send until there is no room for a while."""
    total = 0
    while True:
        total += fill(sender)
        with trio.move_on_after(0.1) as patience:
            await sender.wait_writable()
        if patience.cancelled_caught:
            return total


# Making connections.


async def test_a_listener_tells_the_port_it_was_given(listener, host):
    assert listener.local_address[0] == host
    assert listener.local_address[1] > 0


async def test_both_ends_know_both_addresses(pair, listener, host):
    client, server = pair
    assert server.local_address == client.remote_address == listener.local_address
    assert server.remote_address == client.local_address
    assert client.local_address[0] == host


async def test_addresses_stay_known_when_the_connection_is_gone(pair):
    client, server = pair
    addresses = server.local_address, server.remote_address
    client.reset()
    server.close()
    assert (server.local_address, server.remote_address) == addresses


async def test_a_peer_that_is_gone_before_it_is_accepted_is_accepted_all_the_same(network, listener):
    client = await network.connect_tcp(None, listener.local_address)
    client.reset()
    with trio.fail_after(5):
        server = await listener.accept()
    assert server.remote_address == client.local_address
    with fails_with(LOST):
        await receive(server)
    server.close()


async def test_connections_are_accepted_in_the_order_in_which_they_came(network, listener):
    clients = [await network.connect_tcp(None, listener.local_address) for _ in range(5)]
    servers = [await listener.accept() for _ in range(5)]
    assert [server.remote_address for server in servers] == [client.local_address for client in clients]
    for end in (*clients, *servers):
        end.close()


async def test_where_nobody_listens_a_connection_is_refused(network, listener):
    listener.close()
    with fails_with({errno.ECONNREFUSED}):
        await network.connect_tcp(None, listener.local_address)


async def test_one_can_choose_from_which_address_to_connect(network):
    listener = network.listen_tcp(("0.0.0.0", 0))
    client = await network.connect_tcp("127.0.0.2", ("127.0.0.1", listener.local_address[1]))
    server = await listener.accept()
    assert client.local_address[0] == server.remote_address[0] == "127.0.0.2"
    assert server.local_address == client.remote_address == ("127.0.0.1", listener.local_address[1])
    for end in (client, server, listener):
        end.close()


@pytest.mark.parametrize("local_host", ["203.0.113.77"])
async def test_one_cannot_connect_from_somebody_elses_address(network, listener, local_host):
    with fails_with({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}):
        await network.connect_tcp(local_host, listener.local_address)


async def test_an_address_of_another_host_cannot_be_listened_at(network):
    with fails_with({errno.EADDRNOTAVAIL}):
        network.listen_tcp(("203.0.113.77", 0))


async def test_a_port_that_somebody_listens_at_is_taken_until_it_is_freed(network, listener, pair):
    with fails_with({errno.EADDRINUSE}):
        network.listen_tcp(listener.local_address)
    listener.close()
    network.listen_tcp(listener.local_address).close()  # at once, while connections of the port still live


async def test_udp_and_tcp_share_no_ports(network, listener):
    network.open_udp(listener.local_address).close()


async def test_a_cancelled_connect_leaves_nothing(network, listener):
    with trio.CancelScope() as scope:
        scope.cancel()
        await network.connect_tcp(None, listener.local_address)
    assert scope.cancelled_caught


async def test_a_cancelled_accept_leaves_the_connection_to_the_next(network, listener):
    client = await network.connect_tcp(None, listener.local_address)
    with trio.CancelScope() as scope:
        scope.cancel()
        await listener.accept()
    assert scope.cancelled_caught
    with trio.fail_after(5):
        server = await listener.accept()
    assert server.remote_address == client.local_address
    client.close()
    server.close()


async def test_closing_a_listener_wakes_who_accepts(listener, nursery):
    async def accept():
        with pytest.raises(trio.ClosedResourceError):
            await listener.accept()

    nursery.start_soon(accept)
    await wait_all_tasks_blocked()
    listener.close()
    listener.close()
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()


async def test_a_listener_for_both_families_tells_ipv4_peers_in_ipv4_text(network):
    listener = network.listen_tcp(("::", 0), SocketOptions(ipv6_only=False))
    port = listener.local_address[1]
    for remote in ("127.0.0.1", "::1"):
        client = await network.connect_tcp(None, (remote, port))
        server = await listener.accept()
        assert server.remote_address == client.local_address
        assert server.local_address == (remote, port)
        client.close()
        server.close()
    with fails_with({errno.EADDRINUSE}):
        network.listen_tcp(("0.0.0.0", port))
    listener.close()


async def test_an_ipv6_listener_leaves_ipv4_alone(network):
    listener = network.listen_tcp(("::", 0))
    port = listener.local_address[1]
    with fails_with({errno.ECONNREFUSED}):
        await network.connect_tcp(None, ("127.0.0.1", port))
    network.listen_tcp(("0.0.0.0", port)).close()
    listener.close()


# Data.


@pytest.mark.parametrize("size", [1, 1200, 100_000, 1_000_000])
async def test_all_that_is_sent_arrives_in_order(pair, size, nursery):
    client, server = pair
    data = os.urandom(size)
    nursery.start_soon(send_all, client, data)
    assert await receive_all(server, size) == data


async def test_both_directions_are_independent(pair, nursery):
    client, server = pair
    there, back = os.urandom(500_000), os.urandom(500_000)
    nursery.start_soon(send_all, client, there)
    nursery.start_soon(send_all, server, back)
    got = {}

    async def read(end):
        got[end] = await receive_all(end, 500_000)

    async with trio.open_nursery() as readers:
        readers.start_soon(read, client)
        readers.start_soon(read, server)
    assert got == {server: there, client: back}


async def test_receiving_nothing_gives_none(pair):
    assert pair[0].receive() is None


async def test_a_reader_sleeps_until_something_comes(pair):
    client, server = pair
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.wait_readable)
        await wait_all_tasks_blocked()
        assert nursery.child_tasks
        client.send(b"wake up")
    assert server.receive() == b"wake up"


async def test_a_peer_that_does_not_read_refuses_and_has_room_again_when_it_does(pair, nursery):
    client, server = pair
    total = await fill_for_good(client)
    total += fill(client)  # there may be room without it being worth telling
    nursery.start_soon(receive_all, server, total)
    with trio.fail_after(5):
        await client.wait_writable()
    assert client.send(b"x") == 1
    await wait_all_tasks_blocked(0.01)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_any_kind_of_bytes_is_taken(pair, kind):
    client, server = pair
    data = b"some bytes"
    assert client.send(kind(data)) == len(data)
    assert await receive_all(server, len(data)) == data


async def test_one_task_at_a_time_may_wait_for_one_thing(pair):
    client, _ = pair
    await fill_for_good(client)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.wait_readable)
        nursery.start_soon(client.wait_writable)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await client.wait_readable()
        with pytest.raises(trio.BusyResourceError):
            await client.wait_writable()
        nursery.cancel_scope.cancel()


# Ends.


async def test_the_end_comes_after_the_data_and_again_and_again(pair):
    client, server = pair
    client.send(b"last words")
    client.end_sending()
    assert await receive_all(server, 10) == b"last words"
    assert await receive(server) == b""
    assert await receive(server) == b""


async def test_who_has_ended_sending_can_still_receive(pair):
    client, server = pair
    client.end_sending()
    client.end_sending()
    assert await receive(server) == b""
    server.send(b"an answer")
    assert await receive_all(client, 9) == b"an answer"
    with fails_with({errno.EPIPE}):
        client.send(b"more")
    with trio.fail_after(5):
        await client.wait_writable()


async def test_what_was_sent_before_closing_arrives_and_then_the_end(pair):
    client, server = pair
    client.send(b"last words")
    client.close()
    assert await receive_all(server, 10) == b"last words"
    assert await receive(server) == b""


async def test_closing_with_something_unread_resets(pair):
    client, server = pair
    server.send(b"never read")
    await client.wait_readable()
    client.close()
    with fails_with(LOST):
        await receive(server)


async def test_what_comes_for_a_closed_socket_resets(pair):
    client, server = pair
    client.close()
    assert await receive(server) == b""
    server.send(b"anybody?")
    with fails_with(LOST), trio.fail_after(5):
        while True:
            await trio.sleep(0.001)
            server.send(b"anybody?")


async def test_what_came_before_a_reset_can_be_read(pair):
    client, server = pair
    client.send(b"last words")
    with trio.fail_after(5):
        await server.wait_readable()
    client.reset()
    assert await receive_all(server, 10) == b"last words"
    with fails_with(LOST):
        await receive(server)


async def test_a_reset_wakes_who_waits_and_fails_who_sends(pair):
    client, server = pair
    await fill_for_good(server)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.wait_readable)
        nursery.start_soon(server.wait_writable)
        await wait_all_tasks_blocked()
        client.reset()
    with fails_with(LOST):
        server.send(b"anybody?")
    server.end_sending()


async def test_closing_wakes_who_waits(pair, nursery):
    client, _ = pair
    await fill_for_good(client)

    async def wait(what):
        with pytest.raises(trio.ClosedResourceError):
            await what()

    nursery.start_soon(wait, client.wait_readable)
    nursery.start_soon(wait, client.wait_writable)
    await wait_all_tasks_blocked()
    client.close()


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_a_closed_socket_is_of_no_use_and_can_be_closed_again(pair, end):
    client, _ = pair
    getattr(client, end)()
    client.close()
    client.reset()
    client.end_sending()
    with fails_with({errno.EBADF}):
        client.send(b"too late")
    with fails_with({errno.EBADF}):
        client.receive()
    for wait in (client.wait_readable, client.wait_writable):
        with pytest.raises(trio.ClosedResourceError):
            await wait()


async def test_connections_that_nobody_accepted_end_with_their_listener(network, listener):
    client = await network.connect_tcp(None, listener.local_address)
    listener.close()
    with fails_with(LOST):
        await receive(client)
    client.close()
