"""Resolves names of the local network, by asking everybody there (RFC 6762).

It asks from port 5353 and listens to the group, though one-shot queries from any other port are simpler (§5.1):
Chromium, whose names these mostly are, answers to the group only.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import ExitStack

import trio

from trio_webrtc.core.contract import Address, split_run
from trio_webrtc.core.mdns import GROUP_IPV4, GROUP_IPV6, PORT, Querier
from trio_webrtc.shell.gathering import choose_interfaces
from trio_webrtc.shell.network import Interface, Network, UdpSocket
from trio_webrtc.shell.unwrapping import UnwrappingNursery

_logger = logging.getLogger(__name__)


class NameResolver:
    """Asks for names, and tells `found` each that is answered, in lower case, with its address.

    It has sockets only while it asks. Names that nobody answers to are forgotten after a few seconds.
    """

    def __init__(
        self,
        network: Network,
        interface_filter: Callable[[Interface], bool] | None,
        found: Callable[[str, str], None],
    ) -> None:
        self._network = network
        self._interface_filter = interface_filter
        self._found = found
        self._querier = Querier()
        self._members: list[tuple[UdpSocket, Address]] = []
        self._is_running = False
        self._news = trio.lowlevel.ParkingLot()

    def ask(self, name: str) -> bool:
        """Find out the address of a name; says whether `run()` has to be started for that."""
        self._querier.ask(name, trio.current_time())
        self._news.unpark_all()
        is_running, self._is_running = self._is_running, True
        return not is_running

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Ask, and listen, until there is nothing left to ask for. Cancelling it frees its sockets."""
        with ExitStack() as sockets:
            try:
                self._join(sockets)
                while not self._querier.is_idle:  # a name may come while the nursery ends
                    async with UnwrappingNursery() as nursery:
                        for member, _ in self._members:
                            nursery.start_soon(self._listen, member)
                        await self._ask()
                        nursery.cancel_scope.cancel()
            finally:
                self._members.clear()
                self._is_running = False

    def _join(self, sockets: ExitStack) -> None:
        for interfaces in choose_interfaces(self._network.interfaces(), self._interface_filter):
            for interface in _one_of_each_family(interfaces):
                group = (GROUP_IPV6 if ":" in interface.address else GROUP_IPV4), PORT
                try:
                    member = self._network.open_multicast(group, interface)
                except OSError as error:
                    _logger.debug("cannot ask for names on %s: %s", interface.name, error)
                else:
                    sockets.callback(member.close)
                    self._members.append((member, group))
            if self._members:
                break

    async def _ask(self) -> None:
        while not self._querier.is_idle:
            while (question := self._querier.poll_transmit()) is not None:
                for member, group in self._members:
                    try:
                        member.send(group, question, None, None)  # where there is no room, it is asked again later
                    except OSError as error:
                        _logger.debug("cannot ask for names at %s: %s", group[0], error)
            due = self._querier.next_timeout()
            assert due is not None  # every name that is asked for has its time
            with trio.move_on_at(due):
                await self._news.park()
            self._querier.handle_timeout(trio.current_time())

    @trio.lowlevel.enable_ki_protection
    async def _listen(self, member: UdpSocket) -> None:
        try:
            while True:
                await member.wait_readable()
                for arrival in member.receive():
                    for datagram in split_run(arrival.data, arrival.segment_size):
                        self._querier.receive_datagram(arrival.from_, datagram)
                while (answer := self._querier.poll_answer()) is not None:
                    self._found(*answer)
                self._news.unpark_all()
        except OSError as error:
            _logger.debug("cannot listen for names any more: %s", error)


def _one_of_each_family(interfaces: Iterable[Interface]) -> Iterable[Interface]:
    """An interface may have many addresses, but it is in a group once."""
    return {(interface.name, ":" in interface.address): interface for interface in interfaces}.values()
