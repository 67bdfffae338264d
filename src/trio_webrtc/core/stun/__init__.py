"""STUN (RFC 8489): messages, and requests repeated until they are answered."""

from trio_webrtc.core.stun.message import Attribute, Message, MessageClass, Method
from trio_webrtc.core.stun.transaction import Retransmission, Transaction

__all__ = ["Attribute", "Message", "MessageClass", "Method", "Retransmission", "Transaction"]
