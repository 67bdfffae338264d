import random

import pytest
import trio

from trio_webrtc.core.contract import MAX_RUN_BYTES, MAX_RUN_SEGMENTS, split_run
from trio_webrtc.testing import DatagramSent, Fate, Link, SocketClosed, VirtualNetwork

SEEDS = range(20)


def open_pair(**conditions):
    network = VirtualNetwork(**{"seed": 1, **conditions})
    left, right = network.add_host("10.0.0.1", name="left"), network.add_host("10.0.0.2", "fd00::2", name="right")
    return network, left.open_udp(("10.0.0.1", 0)), right.open_udp(("10.0.0.2", 0))


def read(socket):
    return [data for arrival in socket.receive() for data in split_run(arrival.data, arrival.segment_size)]


def send_numbered(left, right, count, size=100):
    datagrams = [number.to_bytes(size, "big") for number in range(count)]
    for datagram in datagrams:
        assert left.send(right.local_address, datagram, None, None) == size
    return datagrams


async def test_a_datagram_takes_the_latency_and_wakes_the_reader_then(autojump_clock):
    _, left, right = open_pair(latency=0.25)
    began = trio.current_time()
    left.send(right.local_address, b"hello", None, None)
    assert right.receive() == []
    await right.wait_readable()
    assert trio.current_time() == began + 0.25
    assert read(right) == [b"hello"]


async def test_a_sleeping_reader_wakes_for_what_is_sent_while_it_sleeps(autojump_clock):
    _, left, right = open_pair(latency=1.0)
    began = trio.current_time()
    left.send(right.local_address, b"slow", None, None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(right.wait_readable)
        await trio.sleep(0.1)
        left._host.network.link(left._host, right._host).latency = 0.0
        left._host.network.link(left._host, right._host)._last_arrival = 0.0
        left.send(right.local_address, b"fast", None, None)
    assert trio.current_time() == began + 0.1
    assert read(right) == [b"fast"]


async def test_a_perfect_link_carries_everything_in_order(autojump_clock):
    _, left, right = open_pair(jitter=0.1)
    sent = send_numbered(left, right, 500)
    await trio.sleep(1)
    assert read(right) == sent


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_seed_fixes_the_fate_of_the_nth_datagram_of_each_direction(seed, autojump_clock):
    async def play(other_traffic):
        network, left, right = open_pair(seed=seed, loss=0.3, duplication=0.2, reordering=0.2, jitter=0.01)
        rng = random.Random(other_traffic)
        for number in range(100):
            left.send(right.local_address, bytes([number]), None, None)
            for _ in range(rng.randrange(3)):  # what goes the other way changes nothing
                right.send(left.local_address, b"other", None, None)
        await trio.sleep(1)
        return read(right), [entry.fate for entry in network.log if entry.from_ == left.local_address]

    assert await play(1) == await play(2)


async def test_other_seeds_bring_other_fates(autojump_clock):
    outcomes = set()
    for seed in SEEDS:
        _, left, right = open_pair(seed=seed, loss=0.5)
        send_numbered(left, right, 50)
        await trio.sleep(1)
        outcomes.add(tuple(read(right)))
    assert len(outcomes) == len(SEEDS)


@pytest.mark.parametrize(("loss", "duplication"), [(0.2, 0.0), (0.0, 0.2), (0.5, 0.5), (1.0, 1.0)])
async def test_datagrams_are_lost_and_doubled_as_often_as_asked(loss, duplication, autojump_clock):
    network, left, right = open_pair(loss=loss, duplication=duplication)
    sent = send_numbered(left, right, 2000)
    await trio.sleep(1)
    got = read(right)
    assert len(set(got)) == pytest.approx(2000 * (1 - loss), abs=100)
    assert len(got) - len(set(got)) == pytest.approx(2000 * (1 - loss) * duplication, abs=100)
    assert set(got) <= set(sent)
    assert network.counters[Fate.LOST] == 2000 - len(set(got))


async def test_reordering_lets_later_datagrams_overtake(autojump_clock):
    _, left, right = open_pair(reordering=0.2)
    sent = []
    for number in range(200):
        sent.append(number.to_bytes(2, "big"))
        left.send(right.local_address, sent[-1], None, None)
        await trio.sleep(0.001)
    await trio.sleep(1)
    got = read(right)
    assert got != sent
    assert sorted(got) == sent


async def test_a_cut_link_carries_nothing_until_it_is_healed(autojump_clock):
    network, left, right = open_pair()
    left.send(right.local_address, b"before", None, None)
    network.cut(left._host, right._host)
    left.send(right.local_address, b"while", None, None)
    right.send(left.local_address, b"while", None, None)
    network.heal(left._host, right._host)
    left.send(right.local_address, b"after", None, None)
    await trio.sleep(1)
    assert read(right) == [b"before", b"after"]
    assert read(left) == []
    assert network.counters[Fate.CUT] == 2


async def test_conditions_may_change_in_one_direction_at_any_time(autojump_clock):
    network, left, right = open_pair()
    network.link(left._host, right._host).loss = 1.0
    left.send(right.local_address, b"lost", None, None)
    right.send(left.local_address, b"carried", None, None)
    await trio.sleep(1)
    assert read(right) == []
    assert read(left) == [b"carried"]


async def test_what_is_larger_than_a_links_mtu_vanishes_without_an_error(autojump_clock):
    network, left, right = open_pair(mtu=1280)
    for size in (1252, 1253):  # 20 bytes of IPv4 and 8 of UDP come on top
        assert left.send(right.local_address, bytes(size), None, None) == size
    await trio.sleep(1)
    assert read(right) == [bytes(1252)]
    assert network.counters[Fate.TOO_LARGE] == 1


async def test_ipv6_headers_are_larger(autojump_clock):
    network, left, _ = open_pair(mtu=1280)
    one, other = (left._host.network.find_host("right").open_udp(("fd00::2", 0)) for _ in range(2))
    for size in (1232, 1233):
        one.send(other.local_address, bytes(size), None, None)
    await trio.sleep(1)
    assert read(other) == [bytes(1232)]
    assert network.counters[Fate.TOO_LARGE] == 1


async def test_what_is_larger_than_the_hosts_own_mtu_is_an_error(autojump_clock):
    network, left, right = open_pair(mtu=9000)
    with pytest.raises(OSError, match="too long"):
        left.send(right.local_address, bytes(1473), None, None)
    assert not network.log
    left._host.mtu = 9000
    assert left.send(right.local_address, bytes(1473), None, None) == 1473


async def test_a_bottleneck_delays_and_then_drops(autojump_clock):
    network, left, right = open_pair(latency=0.0, bandwidth=12_800.0, queue=12_864)
    sent = send_numbered(left, right, 200)  # 128 bytes each on the wire: 100 a second, 100 may wait
    await trio.sleep(0.505)
    assert read(right) == sent[:50]
    await trio.sleep(10)
    assert read(right) == sent[50:100]
    assert network.counters[Fate.OVERFLOWED] == 100


async def test_a_slow_host_refuses_what_its_socket_has_no_room_for(autojump_clock):
    _, left, right = open_pair(latency=0.0)
    left._host.bandwidth = 100_000.0
    run = bytes(MAX_RUN_BYTES)
    taken = []
    while not taken or taken[-1]:
        taken.append(left.send(right.local_address, run, 1000, None))
    assert 0 < taken[-2] < len(run)
    assert taken[-2] % 1000 == 0
    await left.wait_writable()
    assert left.send(right.local_address, run, 1000, None) == len(run)
    await trio.sleep(60)
    assert sum(map(len, read(right))) == sum(taken) + len(run)


async def test_a_blocked_host_has_no_room_until_it_is_unblocked(autojump_clock):
    network, left, right = open_pair()
    left._host.blocked = True
    assert left.send(right.local_address, b"hello", None, None) == 0
    with trio.move_on_after(3600) as patience:
        await left.wait_writable()
    assert patience.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.wait_writable)
        await trio.sleep(1)
        left._host.blocked = False
    assert not network.log
    assert left.send(right.local_address, b"hello", None, None) == 5


async def test_equal_datagrams_in_a_row_come_as_one_run(autojump_clock):
    _, left, right = open_pair()
    sizes = [100, 100, 60, 100, 100, 200]
    for size in sizes:
        left.send(right.local_address, bytes(size), None, None)
    await trio.sleep(1)
    runs = [(len(arrival.data), arrival.segment_size) for arrival in right.receive()]
    assert runs == [(260, 100), (200, 100), (200, None)]


async def test_a_run_grows_no_longer_than_runs_may_be(autojump_clock):
    _, left, right = open_pair()
    send_numbered(left, right, 200, size=20)
    send_numbered(left, right, 100, size=1400)
    await trio.sleep(1)
    for arrival in right.receive():
        assert len(arrival.data) <= MAX_RUN_BYTES
        assert len(arrival.data) <= MAX_RUN_SEGMENTS * (arrival.segment_size or len(arrival.data))


async def test_the_log_tells_what_was_sent_and_closed_in_order(autojump_clock):
    network, left, right = open_pair()
    began = trio.current_time()
    left.send(right.local_address, b"one", None, None)
    await trio.sleep(1)
    right.close()
    left.send(right.local_address, b"two", None, None)
    left.send(("203.0.113.9", 9), b"three", None, None)
    assert list(network.log) == [
        DatagramSent(began, left.local_address, right.local_address, b"one", Fate.CARRIED),
        SocketClosed(began + 1, right.local_address),
        DatagramSent(began + 1, left.local_address, right.local_address, b"two", Fate.NOBODY_THERE),
        DatagramSent(began + 1, left.local_address, ("203.0.113.9", 9), b"three", Fate.NOBODY_THERE),
    ]
    assert network.open_sockets == [left]


async def test_what_nobody_reads_is_bounded(autojump_clock):
    network, left, right = open_pair()
    for _ in range(50):
        left.send(right.local_address, bytes(MAX_RUN_BYTES), 1000, None)
    await trio.sleep(1)
    assert len(read(right)) < 50 * 65
    assert network.counters[Fate.UNREAD] > 0


async def test_hosts_find_each_other_by_name(autojump_clock):
    network, left, _ = open_pair()
    assert await left._host.resolve("right", 7) == [("10.0.0.2", 7), ("fd00::2", 7)]
    network.lookup_delay = 2.0
    began = trio.current_time()
    with pytest.raises(OSError, match="nobody"):
        await left._host.resolve("nobody", 7)
    assert trio.current_time() == began + 2.0


def test_an_address_belongs_to_one_host():
    network = VirtualNetwork(seed=1)
    network.add_host("10.0.0.1")
    with pytest.raises(ValueError, match=r"10\.0\.0\.1"):
        network.add_host("10.0.0.2", "10.0.0.1")
    assert network.find_host("10.0.0.2") is None


def test_an_unknown_condition_is_refused_at_once():
    with pytest.raises(TypeError, match="lag"):
        VirtualNetwork(seed=1, lag=0.1)


def test_a_link_draws_as_much_chance_whatever_its_settings_are():
    plain, busy = Link(random=random.Random(1)), Link(random=random.Random(1), loss=0.5, duplication=0.5, mtu=50)
    for now in range(10):
        plain.carry(100, float(now))
        busy.carry(100, float(now))
    assert plain.random.random() == busy.random.random()
