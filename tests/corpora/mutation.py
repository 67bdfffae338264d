"""What fuzzing starts from: inputs that somebody meant, and the ways in which they are damaged."""

from collections.abc import Callable, Sequence
from pathlib import Path

from hypothesis import strategies as st

MAX_LENGTH = 1 << 14
"""Longer seeds are cut: what is interesting in them is interesting early."""

SMALL = (0, 1, 2, 3, 4, 7, 8, 127, 128, 255)
"""What lengths and counts lie about best."""


def seeds_in(corpora: Path | None, *folders: str, wanted: Callable[[Path], bool] = lambda path: True) -> list[bytes]:
    """The files of some folders of the corpora; none, if there are no corpora."""
    if corpora is None:
        return []
    paths = (path for folder in folders for path in sorted((corpora / folder).rglob("*")))
    return [path.read_bytes()[:MAX_LENGTH] for path in paths if path.is_file() and wanted(path)]


@st.composite
def mutants(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds with some bits flipped, bytes replaced, cut out or repeated, or spliced with another seed."""
    mutant = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(mutant)))
        match draw(st.sampled_from(["flip", "set", "insert", "cut", "repeat", "splice", "end"])):
            case "flip" if at < len(mutant):
                mutant[at] ^= 1 << draw(st.integers(0, 7))
            case "set" if at < len(mutant):
                mutant[at] = draw(st.sampled_from(SMALL))
            case "insert":
                mutant[at:at] = draw(st.binary(min_size=1, max_size=8))
            case "cut":
                del mutant[at : at + draw(st.integers(1, 64))]
            case "repeat":
                mutant[at:at] = mutant[at : at + draw(st.integers(1, 64))]
            case "splice":
                other = draw(st.sampled_from(seeds))
                mutant[at:] = other[draw(st.integers(0, len(other))) :]
            case "end":
                del mutant[at:]
    return bytes(mutant[:MAX_LENGTH])
