"""Data channels: many two-way streams of messages on one SCTP association (RFC 8831, RFC 8832)."""

from trio_webrtc.core.datachannel.channel import Channel, ChannelParameters, ChannelState
from trio_webrtc.core.datachannel.channels import (
    MAX_STREAM_ID,
    AssociationEnded,
    AssociationEstablished,
    ChannelArrived,
    ChannelEvent,
    ChannelRefused,
    ChannelsChanged,
    DataChannels,
    WindowHeldShut,
)

__all__ = [
    "MAX_STREAM_ID",
    "AssociationEnded",
    "AssociationEstablished",
    "Channel",
    "ChannelArrived",
    "ChannelEvent",
    "ChannelParameters",
    "ChannelRefused",
    "ChannelState",
    "ChannelsChanged",
    "DataChannels",
    "WindowHeldShut",
]
