"""What of usrsctp's C interface the tests need, as ctypes sees it (`usrsctp.h`, version 0.9.5)."""

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_ssize_t, c_uint, c_uint8, c_uint16, c_uint32, c_void_p

LIBRARY = "libusrsctp.so.2"

AF_CONN = 123
IPPROTO_SCTP = 132

MSG_NOTIFICATION = 0x2000

SEND_SNDINFO_VALID, SEND_PRINFO_VALID = 1, 2
SENDV_SPA = 4
SND_UNORDERED, SND_EOR = 0x0400, 0x2000
PR_LIFETIME, PR_RETRANSMITS = 1, 3

RTOINFO, INITMSG, NODELAY = 0x01, 0x03, 0x04
PEER_ADDR_PARAMS, FRAGMENT_INTERLEAVE = 0x0A, 0x10
EXPLICIT_EOR, EVENT, RECVRCVINFO = 0x1B, 0x1E, 0x1F
ENABLE_STREAM_RESET, RESET_STREAMS = 0x0900, 0x0901

ENABLE_RESET_STREAM_REQUESTS = 1
RESET_INCOMING, RESET_OUTGOING = 1, 2
PMTUD_DISABLE = 0x10

ASSOCIATION_CHANGE, SHUTDOWN_EVENT, STREAM_RESET_EVENT = 0x0001, 0x0005, 0x0009


class SockaddrConn(ctypes.Structure):
    _fields_ = [("family", c_uint16), ("port", c_uint16), ("address", c_void_p)]


class InitMsg(ctypes.Structure):
    _fields_ = [
        ("outbound_streams", c_uint16),
        ("inbound_streams", c_uint16),
        ("max_attempts", c_uint16),
        ("max_timeout", c_uint16),
    ]


class RtoInfo(ctypes.Structure):
    _fields_ = [("association", c_uint32), ("initial", c_uint32), ("max", c_uint32), ("min", c_uint32)]


class PeerAddressParameters(ctypes.Structure):
    _fields_ = [
        ("address", ctypes.c_uint64 * 16),
        ("association", c_uint32),
        ("heartbeat_interval", c_uint32),
        ("path_mtu", c_uint32),
        ("flags", c_uint32),
        ("flow_label", c_uint32),
        ("max_retransmits", c_uint16),
        ("dscp", c_uint8),
    ]


class AssociationValue(ctypes.Structure):
    _fields_ = [("association", c_uint32), ("value", c_uint32)]


class EventSubscription(ctypes.Structure):
    _fields_ = [("association", c_uint32), ("type", c_uint16), ("on", c_uint8)]


class ReceiveInfo(ctypes.Structure):
    _fields_ = [
        ("stream_id", c_uint16),
        ("stream_seq", c_uint16),
        ("flags", c_uint16),
        ("ppid", c_uint32),
        ("tsn", c_uint32),
        ("cumulative_tsn", c_uint32),
        ("context", c_uint32),
        ("association", c_uint32),
    ]


class SendParameters(ctypes.Structure):
    """`struct sctp_sendv_spa`, flattened."""

    _fields_ = [
        ("valid", c_uint32),
        ("stream_id", c_uint16),
        ("flags", c_uint16),
        ("ppid", c_uint32),
        ("context", c_uint32),
        ("association", c_uint32),
        ("policy", c_uint16),
        ("policy_value", c_uint32),
        ("key_number", c_uint16),
    ]


class AssociationChange(ctypes.Structure):
    _fields_ = [
        ("type", c_uint16),
        ("flags", c_uint16),
        ("length", c_uint32),
        ("state", c_uint16),
        ("error", c_uint16),
        ("outbound_streams", c_uint16),
        ("inbound_streams", c_uint16),
        ("association", c_uint32),
    ]


class StreamResetEvent(ctypes.Structure):
    """Followed by the stream identifiers, as far as `length` goes."""

    _fields_ = [("type", c_uint16), ("flags", c_uint16), ("length", c_uint32), ("association", c_uint32)]


class Linger(ctypes.Structure):
    _fields_ = [("on", c_int), ("seconds", c_int)]


OutputCallback = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t, c_uint8, c_uint8)
"""How usrsctp hands over a packet: where to, where it lies, its size, TOS, whether not to fragment."""


def load() -> ctypes.CDLL | None:
    """The library with its signatures declared, or None if this machine lacks it."""
    try:
        library = ctypes.CDLL(LIBRARY, use_errno=True)
    except OSError:
        return None
    address, option = POINTER(SockaddrConn), (c_void_p, c_int, c_int, c_void_p)
    signatures = {
        "usrsctp_init_nothreads": (None, (c_uint16, OutputCallback, c_void_p)),
        "usrsctp_finish": (c_int, ()),
        "usrsctp_handle_timers": (None, (c_uint32,)),
        "usrsctp_register_address": (None, (c_void_p,)),
        "usrsctp_deregister_address": (None, (c_void_p,)),
        "usrsctp_conninput": (None, (c_void_p, c_char_p, c_size_t, c_uint8)),
        "usrsctp_socket": (c_void_p, (c_int, c_int, c_int, c_void_p, c_void_p, c_uint32, c_void_p)),
        "usrsctp_set_non_blocking": (c_int, (c_void_p, c_int)),
        "usrsctp_setsockopt": (c_int, (*option, c_uint32)),
        "usrsctp_bind": (c_int, (c_void_p, address, c_uint32)),
        "usrsctp_connect": (c_int, (c_void_p, address, c_uint32)),
        "usrsctp_listen": (c_int, (c_void_p, c_int)),
        "usrsctp_accept": (c_void_p, (c_void_p, c_void_p, c_void_p)),
        "usrsctp_sendv": (
            c_ssize_t,
            (c_void_p, c_char_p, c_size_t, c_void_p, c_int, c_void_p, c_uint32, c_uint, c_int),
        ),
        "usrsctp_recvv": (
            c_ssize_t,
            (
                *(c_void_p, c_void_p, c_size_t, address, POINTER(c_uint32)),
                *(c_void_p, POINTER(c_uint32), POINTER(c_uint), POINTER(c_int)),
            ),
        ),
        "usrsctp_shutdown": (c_int, (c_void_p, c_int)),
        "usrsctp_close": (None, (c_void_p,)),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
