"""Which streams a request is about: those that it names, or, if it names none, all there are (RFC 6525 §4.1)."""

from collections.abc import Collection, Sequence


def among(stream_ids: Sequence[int], known: Collection[int]) -> list[int]:
    """Those of `stream_ids` that are known.

    All streams are a range, and that is not walked through: a request for all 65,535 of them fits into twenty bytes.
    """
    if isinstance(stream_ids, range):
        return [stream_id for stream_id in known if stream_id in stream_ids]
    return [stream_id for stream_id in stream_ids if stream_id in known]
