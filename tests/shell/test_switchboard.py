"""Datagrams on a shared port find whom they are for, and nobody else."""

import random
from collections.abc import Sequence

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trio_webrtc.core.contract import Address, Received, Via
from trio_webrtc.core.ice import Credentials
from trio_webrtc.core.stun import Message, MessageClass, Method
from trio_webrtc.core.stun.message import USERNAME
from trio_webrtc.shell.switchboard import Stranger, Switchboard

ONE, OTHER = ("10.0.0.1", 1000), ("10.0.0.2", 2000)
VIA = "port 5000"
DTLS = b"\x16\xfe\xfd hello"


class FakePeer:
    """A path and its core in one: keeps what it is given, and believes who knows its password."""

    def __init__(self, number: int) -> None:
        self.transaction_prefix = number.to_bytes(4)
        self.credentials = Credentials(f"ufrag{number}", f"password of number {number}".replace(" ", "/") + "0" * 8)
        self.heard: list[bytes] = []
        self.validated: set[tuple[Via, Address]] = set()
        self.retired: list[Via] = []
        self.answers = False

    def receive(self, batch: Sequence[Received]) -> None:
        for via, from_, data, _ in batch:
            self.heard.append(data)
            if data[0] <= 3:
                message = Message.decode(data)
                is_answer = message.message_class is MessageClass.RESPONSE
                if is_answer or message.is_signed_with(self.credentials.key):
                    self.validated.add((via, from_))

    def retire(self, via: Via) -> None:
        self.retired.append(via)

    def tell(self, command, *args) -> None:
        command(*args)

    def ask(self, question, *args):
        return question(*args)

    def authenticates(self, datagram: bytes) -> bool:
        return Message.decode(datagram).is_signed_with(self.credentials.key)

    def is_validated(self, via: Via, address: Address) -> bool:
        return (via, address) in self.validated

    def has_answered(self) -> bool:
        return self.answers

    def forget_address(self, via: Via, address: Address, now: float) -> None:
        self.validated.discard((via, address))

    def check(self, *, key: bytes | None = None) -> bytes:
        return Message(
            method=Method.BINDING,
            message_class=MessageClass.REQUEST,
            transaction_id=bytes(12),
            attributes={USERNAME: f"{self.credentials.ufrag}:them"},
        ).encode(key or self.credentials.key)

    def answer(self) -> bytes:
        """An answer to a check of this peer's own."""
        return Message(
            method=Method.BINDING,
            message_class=MessageClass.RESPONSE,
            transaction_id=self.transaction_prefix + bytes(8),
        ).encode(b"their password")


@pytest.fixture
def strangers() -> list[Stranger]:
    return []


@pytest.fixture
def board(strangers: list[Stranger]) -> Switchboard:
    return Switchboard(strangers.append)


def seat(board: Switchboard, number: int, *, is_strangers: bool = False) -> FakePeer:
    peer = FakePeer(number)
    peer.seat = board.seat(peer, peer, is_strangers=is_strangers)
    peer.seat.know([peer.credentials.ufrag])
    return peer


def receive(board: Switchboard, data: bytes, from_: Address = ONE, segment_size: int | None = None) -> None:
    board.receive([Received(VIA, from_, data, segment_size)])


async def test_a_check_finds_the_one_it_names_and_what_follows_finds_the_same(board):
    one, other = seat(board, 1), seat(board, 2)
    receive(board, other.check())
    receive(board, DTLS)
    assert (one.heard, other.heard) == ([], [other.check(), DTLS])


async def test_what_comes_from_an_unknown_address_is_counted_and_heard_by_nobody(board):
    peer = seat(board, 1)
    receive(board, peer.check())
    receive(board, DTLS, OTHER)
    receive(board, b"", OTHER)
    assert peer.heard == [peer.check()]
    assert board.counters.unknown_addresses == 2


async def test_a_check_with_a_wrong_password_wins_no_address(board):
    peer = seat(board, 1)
    receive(board, peer.check(key=b"guessed"))
    receive(board, DTLS)
    assert DTLS not in peer.heard
    assert not board.addresses


async def test_a_check_with_a_wrong_password_troubles_nobody_unless_it_comes_from_the_peers_own_address(board):
    """Who knows no more than a name can ask for it from everywhere, as often as he likes."""
    peer = seat(board, 1)
    forged = peer.check(key=b"guessed")
    receive(board, forged * 50, segment_size=len(forged))
    assert peer.heard == []
    assert board.counters.wrong_passwords == 50
    receive(board, peer.check())
    receive(board, forged)
    assert peer.heard == [peer.check(), forged], "which refuses it, and knows how often"


async def test_an_authenticated_check_moves_an_address_to_its_new_owner(board):
    before, after = seat(board, 1), seat(board, 2)
    receive(board, before.check())
    receive(board, after.check())
    receive(board, DTLS)
    assert DTLS in after.heard
    assert DTLS not in before.heard
    assert not before.is_validated(VIA, ONE)


async def test_a_stranger_takes_no_address_but_that_of_another_who_has_not_answered(board):
    """Whichever of the two comes later; the check is heard by the one that it names, whoever has the address."""
    one, other = seat(board, 1, is_strangers=True), seat(board, 2, is_strangers=True)
    for comes in (one, other, one):
        receive(board, comes.check())
        receive(board, DTLS)
        assert comes.heard[-2:] == [comes.check(), DTLS]
    one.answers = True
    receive(board, other.check())
    receive(board, DTLS)
    assert other.heard[-1] == other.check()
    assert one.heard[-1] == DTLS
    assert one.is_validated(VIA, ONE)


async def test_a_stranger_takes_no_address_of_one_that_has_a_password_of_ours(board):
    """Not even before it has answered."""
    owner, stranger = seat(board, 1), seat(board, 2, is_strangers=True)
    receive(board, owner.check())
    receive(board, stranger.check())
    receive(board, DTLS)
    assert DTLS in owner.heard
    assert stranger.heard == [stranger.check()]


async def test_a_forged_check_moves_no_address(board):
    owner, other = seat(board, 1), seat(board, 2)
    receive(board, owner.check())
    receive(board, other.check(key=b"guessed"))
    receive(board, DTLS)
    assert DTLS in owner.heard
    assert owner.is_validated(VIA, ONE)


async def test_an_answer_finds_who_asked_and_proves_the_address(board):
    one, other = seat(board, 1), seat(board, 2)
    receive(board, other.answer())
    receive(board, DTLS)
    assert other.heard == [other.answer(), DTLS]
    assert one.heard == []


async def test_both_of_two_who_drew_the_same_prefix_hear_their_answers(board):
    """Until one of them leaves."""
    one, other = seat(board, 1), FakePeer(2)
    other.transaction_prefix = one.transaction_prefix
    other.seat = board.seat(other, other)
    receive(board, other.answer())
    assert other.heard == [other.answer()]
    assert one.heard == [other.answer()], "it asked for nothing, and counts it"
    one.seat.close()
    receive(board, other.answer(), OTHER)
    assert (len(one.heard), len(other.heard)) == (1, 2)


async def test_a_check_for_nobody_is_a_strangers(board, strangers):
    seat(board, 1)
    receive(board, FakePeer(3).check())
    assert [(s.local_ufrag, s.remote_ufrag, s.check.from_) for s in strangers] == [("ufrag3", "them", ONE)]
    assert board.counters.unknown_ufrags == 1


async def test_whoever_leaves_is_found_no_more(board):
    peer = seat(board, 1)
    receive(board, peer.check())
    peer.seat.close()
    peer.seat.close()
    receive(board, DTLS)
    receive(board, peer.answer())
    assert peer.heard == [peer.check()]
    assert (board.ufrags, board.addresses) == ((), ())


async def test_new_names_take_the_place_of_the_old_ones(board, strangers):
    peer = seat(board, 1)
    before, peer.credentials = peer.credentials, Credentials("fresh", "0123456789012345678901")
    peer.seat.know([peer.credentials.ufrag])
    assert board.ufrags == ("fresh",)
    receive(board, peer.check())
    peer.credentials = before
    receive(board, peer.check())
    assert len(peer.heard) == 1
    assert [stranger.local_ufrag for stranger in strangers] == ["ufrag1"]


async def test_checks_in_a_run_of_datagrams_find_whom_they_name(board):
    one, other = seat(board, 1), seat(board, 2)
    receive(board, one.check())
    run = DTLS.ljust(len(other.check()), b"!") + other.check()
    receive(board, run, segment_size=len(other.check()))
    assert other.heard == [other.check()]
    assert len(one.heard) == 2


async def test_a_run_of_data_stays_whole(board):
    peer = seat(board, 1)
    receive(board, peer.check())
    receive(board, DTLS * 3, segment_size=len(DTLS))
    assert peer.heard[1:] == [DTLS * 3]


async def test_addresses_that_a_peer_has_given_up_are_forgotten(board):
    peer = seat(board, 1)
    receive(board, peer.check(), ONE)
    receive(board, peer.check(), OTHER)
    peer.validated.discard((VIA, ONE))
    receive(board, peer.check(), OTHER)
    assert board.addresses == (OTHER,)


async def test_a_lost_port_is_everybodys_loss(board):
    peers = [seat(board, number) for number in range(3)]
    board.retire(VIA)
    assert [peer.retired for peer in peers] == [[VIA]] * 3


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 5)), max_size=60))
def test_nobody_ever_hears_what_comes_from_anothers_address(moves):
    """The same as `Switchboard`, in three lines: the last who proved itself from an address owns it."""
    board = Switchboard(lambda stranger: None)
    peers = [FakePeer(number) for number in range(4)]
    for peer in peers:
        peer.seat = board.seat(peer, peer)
        peer.seat.know([peer.credentials.ufrag])
    owners: dict[int, FakePeer] = {}
    rng = random.Random(1)
    for port, number, act in moves:
        address, peer = ("10.0.0.1", port), peers[number]
        if act <= 2:
            board.rename(peer.seat, peer.seat.ufrags)
            _deliver(board, peer.check(), address)
            owners[port] = peer
        elif act == 3:
            _deliver(board, peer.check(key=b"guessed"), address)
        else:
            data = DTLS + rng.randbytes(8)
            _deliver(board, data, address)
            assert [p for p in peers if data in p.heard] == ([owners[port]] if port in owners else [])


def _deliver(board: Switchboard, data: bytes, from_: Address) -> None:
    async def deliver() -> None:
        board.receive([Received(VIA, from_, data)])

    trio.run(deliver)
