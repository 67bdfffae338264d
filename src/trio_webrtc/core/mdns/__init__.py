"""Names of the local network (Multicast DNS, RFC 6762), as far as ICE needs them: asking for the address of one.

Browsers hide their host candidates behind such names. Missing here: answering, browsing, caching, everything that a
program which asks for a few names and is done with them can do without (RFC 6762 §5).
"""

from trio_webrtc.core.mdns.message import GROUP_IPV4, GROUP_IPV6, PORT, encode_question, read_addresses
from trio_webrtc.core.mdns.querier import MAX_NAMES, Querier, is_local_name

__all__ = [
    "GROUP_IPV4",
    "GROUP_IPV6",
    "MAX_NAMES",
    "PORT",
    "Querier",
    "encode_question",
    "is_local_name",
    "read_addresses",
]
