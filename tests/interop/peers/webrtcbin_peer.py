"""GStreamer's webrtcbin behind the line protocol of `README.md` in this folder.

Needs a Python that has PyGObject, and the introspection data of GStreamer and its WebRTC library. webrtcbin presents an
RSA certificate. Its signals come from threads of its own.
"""

import base64
import json
import sys
import threading

import gi
from http_signalling import exchange

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

speaking = threading.Lock()


def tell(event: str, **members: object) -> None:
    with speaking:
        print(json.dumps({"event": event, **members}), flush=True)


class Peer:
    """One webrtcbin, told what to do line by line."""

    def __init__(self) -> None:
        self.pipeline = Gst.Pipeline.new(None)
        self.webrtc = Gst.ElementFactory.make("webrtcbin", None)
        self.webrtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.pipeline.add(self.webrtc)
        self.channels: dict[str, GstWebRTC.WebRTCDataChannel] = {}
        self.opened: set[str] = set()
        self.gathered = threading.Event()
        self.webrtc.connect("on-data-channel", lambda _, channel: self.watch(channel))
        self.webrtc.connect("notify::ice-gathering-state", self.on_gathering_state)
        self.pipeline.set_state(Gst.State.READY)
        self.pipeline.set_state(Gst.State.PLAYING)

    def on_gathering_state(self, *_: object) -> None:
        if self.webrtc.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            self.gathered.set()

    def watch(self, channel: GstWebRTC.WebRTCDataChannel) -> None:
        label = channel.get_property("label")
        self.channels[label] = channel
        channel.connect("on-message-string", lambda _, text: tell("message", label=label, text=text or ""))
        channel.connect(
            "on-message-data",
            lambda _, data: tell(
                "message", label=label, binary=base64.b64encode(data.get_data() or b"" if data else b"").decode()
            ),
        )
        channel.connect("on-close", lambda _: tell("closed", label=label))
        channel.connect("on-open", self.on_open)
        if channel.get_property("ready-state") == GstWebRTC.WebRTCDataChannelState.OPEN:
            self.on_open(channel)

    def on_open(self, channel: GstWebRTC.WebRTCDataChannel) -> None:
        label = channel.get_property("label")
        if label not in self.opened:  # it may have opened before its signal was connected, or just then
            self.opened.add(label)
            tell("open", label=label, protocol=channel.get_property("protocol") or "")

    def call(self, signal: str, *arguments: object) -> Gst.Promise:
        promise = Gst.Promise.new()
        self.webrtc.emit(signal, *arguments, promise)
        promise.wait()
        return promise

    def describe(self, kind: str) -> dict[str, str]:
        promise = self.call(f"create-{kind}", None)
        reply = promise.get_reply()  # owns the description
        self.call("set-local-description", reply.get_value(kind))
        self.gathered.wait()
        return {"type": kind, "sdp": self.webrtc.get_property("local-description").sdp.as_text()}

    def set_remote(self, type: str, sdp: str) -> None:
        _, message = GstSdp.SDPMessage.new_from_text(sdp)
        kind = GstWebRTC.WebRTCSDPType.OFFER if type == "offer" else GstWebRTC.WebRTCSDPType.ANSWER
        self.call("set-remote-description", GstWebRTC.WebRTCSessionDescription.new(kind, message))

    def open(self, label: str, protocol: str = "", ordered: bool = True, maxRetransmits: int = -1) -> None:
        options = Gst.Structure.new_empty("options")
        options.set_value("protocol", protocol)
        options.set_value("ordered", ordered)
        options.set_value("max-retransmits", maxRetransmits)
        self.watch(self.webrtc.emit("create-data-channel", label, options))

    def offer(self) -> None:
        tell("description", **self.describe("offer"))

    def answer(self, type: str, sdp: str) -> None:
        self.set_remote(type, sdp)
        tell("description", **self.describe("answer"))

    def accept(self, type: str, sdp: str) -> None:
        self.set_remote(type, sdp)

    def post(self, url: str) -> None:
        self.accept(**exchange(url, **self.describe("offer")))

    def send(self, label: str, text: str | None = None, binary: str | None = None) -> None:
        if binary is None:
            self.channels[label].emit("send-string", text)
        else:
            self.channels[label].emit("send-data", GLib.Bytes.new(base64.b64decode(binary)))

    def close_channel(self, label: str) -> None:
        self.channels[label].emit("close")

    def close(self) -> None:
        self.pipeline.set_state(Gst.State.NULL)


Gst.init(None)
peer = Peer()
for line in sys.stdin:
    command = json.loads(line)
    getattr(peer, command.pop("do"))(**command)
peer.close()
