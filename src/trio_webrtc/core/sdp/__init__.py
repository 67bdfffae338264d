"""Session descriptions as text and as a model (RFC 8866). Knows no WebRTC: attributes are names with values here.

What is not understood is kept where it stood and written back. Missing here: the meaning of any attribute (see
`core.jsep`), and folding the session's attributes into its media sections.
"""

from trio_webrtc.core.sdp.model import Attribute, Connection, Line, Media, Origin, Session
from trio_webrtc.core.sdp.reading import MAX_DESCRIPTION_LENGTH, parse
from trio_webrtc.core.sdp.writing import to_text

__all__ = [
    "MAX_DESCRIPTION_LENGTH",
    "Attribute",
    "Connection",
    "Line",
    "Media",
    "Origin",
    "Session",
    "parse",
    "to_text",
]
