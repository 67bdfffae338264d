"""A STUN server for a virtual network (RFC 8489): it tells whoever asks from which address the question came."""

import trio

from trio_webrtc.core.contract import MalformedPacketError, split_run
from trio_webrtc.core.stun.message import XOR_MAPPED_ADDRESS, Message, MessageClass, Method
from trio_webrtc.shell.network import Arrival
from trio_webrtc.testing.virtual_network import VirtualHost
from trio_webrtc.testing.virtual_socket import VirtualUdpSocket


async def serve_stun(
    host: VirtualHost, *, port: int = 3478, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer on all addresses of a host, until cancelled; start it with `await nursery.start(serve_stun, host)`."""
    sockets = [host.open_udp((address, port)) for address in host.addresses]
    try:
        async with trio.open_nursery() as nursery:
            for socket in sockets:
                nursery.start_soon(_serve, socket)
            task_status.started()
    finally:
        for socket in sockets:
            socket.close()


async def _serve(socket: VirtualUdpSocket) -> None:
    while True:
        await socket.wait_readable()
        for arrival in socket.receive():
            _answer(socket, arrival)


def _answer(socket: VirtualUdpSocket, arrival: Arrival) -> None:
    for datagram in split_run(arrival.data, arrival.segment_size):
        try:
            request = Message.decode(datagram)
        except MalformedPacketError:
            continue
        if request.method is Method.BINDING and request.message_class is MessageClass.REQUEST:
            answer = request.answer({XOR_MAPPED_ADDRESS: arrival.from_})
            socket.send(arrival.from_, answer.encode(), None, None)
