"""What signalling carries: session descriptions and ICE candidates, in the shape that browsers give them.

`as_dict()` is what `JSON.stringify` makes of the browser's object, `from_dict()` takes what a browser sent. Whether
the SDP means anything is found out by `set_local_description` and `set_remote_description`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, TypeAlias, cast, get_args

from trio_webrtc.errors import InvalidDescriptionError, UsageError

DescriptionType: TypeAlias = Literal["offer", "answer", "pranswer", "rollback"]

_TYPES: Final[tuple[str, ...]] = get_args(DescriptionType)
_MAX_M_LINE_INDEX: Final = 65535

_MAX_QUOTED: Final = 40
"""Characters of what a peer sent that an error's text repeats: quoting may make it longer than it was."""


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """An offer or answer as SDP text, or the wish to roll one back, which needs no text.

    Raises:
        UsageError: the type is none of the four, or a member is no string.
    """

    type: DescriptionType
    sdp: str = ""

    def __post_init__(self) -> None:
        if self.type not in _TYPES:
            raise UsageError(f"the type of a description is one of {', '.join(_TYPES)}, not {self.type!r}")
        if not isinstance(self.sdp, str):
            raise UsageError(f"the sdp of a description is a string, not {type(self.sdp).__name__}")

    def as_dict(self) -> dict[str, str]:
        """The browsers' JSON shape: `type` and `sdp`."""
        return {"type": self.type, "sdp": self.sdp}

    @classmethod
    def from_dict(cls, members: Mapping[str, Any]) -> Self:
        """Take what a browser's `JSON.stringify(description)` gave; further members are ignored.

        Raises:
            InvalidDescriptionError: what came has another shape; the text says what is wrong with it.
        """
        type_ = _text(_mapping(members, "description"), "type", "description")
        if type_ not in _TYPES:
            quoted = repr(type_[:_MAX_QUOTED])
            raise InvalidDescriptionError(f"the type of a description is one of {', '.join(_TYPES)}, not {quoted}")
        sdp = "" if type_ == "rollback" and members.get("sdp") is None else _text(members, "sdp", "description")
        return cls(cast(DescriptionType, type_), sdp)


@dataclass(frozen=True, slots=True)
class IceCandidate:
    """A candidate line ("candidate:1 1 udp ..."), and the media section it is for.

    The empty line says that no more candidates follow for this generation (RFC 8838 §13).

    Raises:
        UsageError: a member has the wrong type, or the index is no line number.
    """

    candidate: str
    sdp_mid: str | None = None
    sdp_m_line_index: int | None = None
    username_fragment: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.candidate, str):
            raise UsageError(f"a candidate is a string, not {type(self.candidate).__name__}")
        if not isinstance(self.sdp_mid, str | None):
            raise UsageError(f"sdp_mid is a string or None, not {type(self.sdp_mid).__name__}")
        if not isinstance(self.username_fragment, str | None):
            raise UsageError(f"username_fragment is a string or None, not {type(self.username_fragment).__name__}")
        if self.sdp_m_line_index is not None and not _is_index(self.sdp_m_line_index):
            raise UsageError(f"sdp_m_line_index is a number from 0 to {_MAX_M_LINE_INDEX}")

    def as_dict(self) -> dict[str, str | int | None]:
        """The browsers' JSON shape: `candidate`, `sdpMid`, `sdpMLineIndex`, `usernameFragment`."""
        return {
            "candidate": self.candidate,
            "sdpMid": self.sdp_mid,
            "sdpMLineIndex": self.sdp_m_line_index,
            "usernameFragment": self.username_fragment,
        }

    @classmethod
    def from_dict(cls, members: Mapping[str, Any]) -> Self:
        """Take what a browser's `JSON.stringify(candidate)` gave; further members are ignored.

        Raises:
            InvalidDescriptionError: what came has another shape; the text says what is wrong with it.
        """
        index = _mapping(members, "candidate").get("sdpMLineIndex")
        if index is not None and not _is_index(index):
            raise InvalidDescriptionError(f"sdpMLineIndex is a number from 0 to {_MAX_M_LINE_INDEX} or null")
        return cls(
            candidate=_text(members, "candidate", "candidate"),
            sdp_mid=_optional_text(members, "sdpMid"),
            sdp_m_line_index=index,
            username_fragment=_optional_text(members, "usernameFragment"),
        )


def _mapping(members: object, what: str) -> Mapping[str, Any]:
    if not isinstance(members, Mapping):
        raise InvalidDescriptionError(f"a {what} is an object with members, not {type(members).__name__}")
    return members


def _text(members: Mapping[str, Any], key: str, what: str) -> str:
    value = members.get(key)
    if not isinstance(value, str):
        raise InvalidDescriptionError(f"a {what} needs the member {key!r}, which is a string")
    return value


def _optional_text(members: Mapping[str, Any], key: str) -> str | None:
    value = members.get(key)
    if not isinstance(value, str | None):
        raise InvalidDescriptionError(f"{key} is a string or null, not {type(value).__name__}")
    return value


def _is_index(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_M_LINE_INDEX
