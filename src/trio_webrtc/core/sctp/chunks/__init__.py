"""The chunks of SCTP, one file each. They know the wire only: what they mean is the association's affair."""

from typing import Final, TypeAlias

from trio_webrtc.core.sctp.chunks.abort import AbortChunk
from trio_webrtc.core.sctp.chunks.cookie import CookieAckChunk, CookieEchoChunk
from trio_webrtc.core.sctp.chunks.data import DataChunk
from trio_webrtc.core.sctp.chunks.error import ErrorChunk
from trio_webrtc.core.sctp.chunks.forward_tsn import ForwardTsnChunk
from trio_webrtc.core.sctp.chunks.heartbeat import HeartbeatAckChunk, HeartbeatChunk
from trio_webrtc.core.sctp.chunks.init import InitAckChunk, InitChunk
from trio_webrtc.core.sctp.chunks.reconfig import ReconfigChunk
from trio_webrtc.core.sctp.chunks.sack import SackChunk
from trio_webrtc.core.sctp.chunks.shutdown import ShutdownAckChunk, ShutdownChunk, ShutdownCompleteChunk

Chunk: TypeAlias = (
    DataChunk
    | InitChunk
    | InitAckChunk
    | SackChunk
    | HeartbeatChunk
    | HeartbeatAckChunk
    | AbortChunk
    | ShutdownChunk
    | ShutdownAckChunk
    | ErrorChunk
    | CookieEchoChunk
    | CookieAckChunk
    | ShutdownCompleteChunk
    | ReconfigChunk
    | ForwardTsnChunk
)

CHUNK_CLASSES: Final[tuple[type[Chunk], ...]] = (
    DataChunk,
    InitChunk,
    InitAckChunk,
    SackChunk,
    HeartbeatChunk,
    HeartbeatAckChunk,
    AbortChunk,
    ShutdownChunk,
    ShutdownAckChunk,
    ErrorChunk,
    CookieEchoChunk,
    CookieAckChunk,
    ShutdownCompleteChunk,
    ReconfigChunk,
    ForwardTsnChunk,
)

BY_TYPE: Final[dict[int, type[Chunk]]] = {chunk_class.TYPE: chunk_class for chunk_class in CHUNK_CLASSES}
