import struct

from trio_webrtc.core.mdns import MAX_NAMES, Querier, encode_question, is_local_name
from trio_webrtc.core.mdns.message import TYPE_A, TYPE_AAAA

RESPONDER = ("192.0.2.7", 5353)


def answer(name: str, host: bytes = b"\xc0\0\2\1") -> bytes:
    encoded = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    return struct.pack("!6H", 0, 0x8400, 0, 1, 0, 0) + encoded + struct.pack("!HHIH", 1, 0x8001, 120, 4) + host


def asked(querier: Querier) -> list[bytes]:
    return list(iter(querier.poll_transmit, None))


def test_a_name_is_asked_for_three_times_and_given_up():
    querier, moments = Querier(), []
    querier.ask("x.local", 100.0)
    while (due := querier.next_timeout()) is not None:
        if questions := asked(querier):
            assert questions == [encode_question("x.local", TYPE_A), encode_question("x.local", TYPE_AAAA)]
            moments.append(due)
        querier.handle_timeout(due)
    assert moments == [101.0, 103.0, 105.0]
    assert querier.is_idle
    assert asked(querier) == []


def test_an_answer_ends_the_asking():
    querier = Querier()
    querier.ask("Some-Name.local", 0.0)
    querier.ask("some-name.LOCAL", 0.0)
    assert len(asked(querier)) == 2
    querier.receive_datagram(RESPONDER, answer("some-NAME.local"))
    querier.receive_datagram(RESPONDER, answer("some-name.local", b"\xc0\0\2\2"))
    assert list(iter(querier.poll_answer, None)) == [("some-name.local", "192.0.2.1")]
    assert querier.is_idle
    assert querier.next_timeout() is None


def test_what_nobody_asked_for_and_what_comes_from_another_port_is_passed_over():
    querier = Querier()
    querier.ask("x.local", 0.0)
    querier.receive_datagram(RESPONDER, answer("y.local"))
    querier.receive_datagram(("192.0.2.7", 5354), answer("x.local"))
    querier.receive_datagram(RESPONDER, b"no message")
    assert querier.poll_answer() is None
    assert not querier.is_idle
    assert querier.datagrams_dropped == 1


def test_only_so_many_names_are_asked_for_at_a_time():
    querier = Querier()
    for number in range(1000):
        querier.ask(f"{number}.local", 0.0)
    assert len(asked(querier)) == 2 * MAX_NAMES


def test_only_names_of_the_local_network_are_for_asking():
    assert is_local_name("1870d983-d799-4f2d-8c29-fe03f15b7376.local")
    assert not any(
        map(is_local_name, ["192.0.2.1", "fd00::1", "local", ".local", "a.b.local", "example.org", "a.local."])
    )
