"""Frames of testing that training has seen: the same picture, or the same sequence, in two splits."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from data.check.findings import WARNING, Finding
from data.check.frames import FrameFacts
from data.formats.ucl import SEQUENCE

# Of 256, in which fingerprints of one picture may differ: after JPEG of quality 60 most do in 2 to 15, neighbours of a
# real film in 15 (median), frames of different rendered colons in 30 and more.
MAX_BITS = 16
ROWS = 256  # that are compared at a time
BITS = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)
NAMED = re.compile(r"[A-Za-z].*\d")  # a name that says which sequence it is: T3_L1_1, cecum_t1_a; not 0003 or frame
FIX = "take whole sequences into one split each, or remove these frames from the training"


def duplicates_across(splits: Mapping[str, Sequence[FrameFacts]]) -> Iterator[Finding]:
    """Each picture that looks like one of another split."""
    for first, second in combinations(splits, 2):
        if not (splits[first] and splits[second]):
            continue
        prints = [np.stack([facts.fingerprint for facts in splits[name]]) for name in (first, second)]
        for row, column in zip(*np.nonzero(distances(*prints) <= MAX_BITS), strict=True):
            one, other = splits[first][row].item.image, splits[second][column].item.image
            yield Finding("duplicate", str(other), f"of {second} is almost the same picture as {one} of {first}", FIX)


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Number of bits in which fingerprints (N, B) and (M, B), uint8, differ: (N, M)."""
    blocks = [first[start : start + ROWS] for start in range(0, len(first), ROWS)]
    return np.concatenate([BITS[block[:, None] ^ second[None]].sum(axis=2, dtype=np.uint16) for block in blocks])


def shared_sequences(sequences: Mapping[str, set[str]]) -> Iterator[Finding]:
    """Each sequence that is in two splits, by its name, and each camera path of UCL's colons.

    Args:
        sequences: names of those of each split; names that are only numbers say nothing.
    """
    for first, second in combinations(sequences, 2):
        for name in sorted(sequences[first] & sequences[second]):
            if NAMED.search(name):
                yield Finding("leak", f"the sequence {name}", f"is in {first} and in {second}", FIX)
        for path in sorted(_ucl_paths(sequences[first]) & _ucl_paths(sequences[second])):
            what = (
                f"is in {first} and in {second}: the same surface from the same places under other textures and lights"
            )
            yield Finding("leak", f"camera path {path} of UCL's colons", what, FIX, WARNING)


def _ucl_paths(names: set[str]) -> set[str]:
    """Numbers of the camera paths of UCL's sequences (``T3_L1_1``), whose frames other formats may read, too."""
    return {found["path"] for name in names if (found := SEQUENCE.match(f"{name}_"))}
