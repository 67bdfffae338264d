"""libdatachannel, by its Python binding, behind the line protocol of `README.md` in this folder.

Needs Python 3.12 or later, for which alone the binding has wheels. Its callbacks come from threads of libdatachannel.
"""

import base64
import json
import sys
import threading

from http_signalling import exchange
from libdatachannel import Configuration, DataChannel, DataChannelInit, Description, PeerConnection, Reliability

speaking = threading.Lock()


def tell(event: str, **members: object) -> None:
    with speaking:
        print(json.dumps({"event": event, **members}), flush=True)


class Peer:
    """One PeerConnection, told what to do line by line."""

    def __init__(self) -> None:
        configuration = Configuration()
        configuration.disable_auto_negotiation = True
        self.connection = PeerConnection(configuration)
        self.channels: dict[str, DataChannel] = {}
        self.gathered = threading.Event()
        self.connection.on_data_channel(self.watch)
        self.connection.on_state_change(lambda state: tell("state", state=state.name.lower()))
        self.connection.on_gathering_state_change(self.on_gathering_state)

    def watch(self, channel: DataChannel) -> None:
        label = channel.label()
        self.channels[label] = channel
        channel.on_open(lambda: tell("open", label=label, protocol=channel.protocol()))
        channel.on_closed(lambda: tell("closed", label=label))
        channel.on_message(
            lambda data: tell("message", label=label, binary=base64.b64encode(data).decode()),
            lambda text: tell("message", label=label, text=text),
        )

    def on_gathering_state(self, state: PeerConnection.GatheringState) -> None:
        if state is PeerConnection.GatheringState.Complete:
            self.gathered.set()

    def open(self, label: str, protocol: str = "", ordered: bool = True, maxRetransmits: int | None = None) -> None:
        init, reliability = DataChannelInit(), Reliability()
        init.protocol = protocol
        reliability.unordered = not ordered
        reliability.max_retransmits = maxRetransmits
        init.reliability = reliability
        self.watch(self.connection.create_data_channel(label, init))

    def describe(self, kind: Description.Type) -> dict[str, str]:
        self.connection.set_local_description(kind)
        self.gathered.wait()
        description = self.connection.local_description()
        return {"type": description.type_string(), "sdp": str(description)}

    def offer(self) -> None:
        tell("description", **self.describe(Description.Type.Offer))

    def answer(self, type: str, sdp: str) -> None:
        self.connection.set_remote_description(Description(sdp, type))
        tell("description", **self.describe(Description.Type.Answer))

    def accept(self, type: str, sdp: str) -> None:
        self.connection.set_remote_description(Description(sdp, type))

    def post(self, url: str) -> None:
        self.accept(**exchange(url, **self.describe(Description.Type.Offer)))

    def send(self, label: str, text: str | None = None, binary: str | None = None) -> None:
        self.channels[label].send(base64.b64decode(binary) if binary is not None else text)

    def close_channel(self, label: str) -> None:
        self.channels[label].close()

    def close(self) -> None:
        self.connection.close()


peer = Peer()
for line in sys.stdin:
    command = json.loads(line)
    getattr(peer, command.pop("do"))(**command)
peer.close()
