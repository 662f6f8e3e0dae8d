"""What every layout is told, and how clips are split where a list does not say."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path

_GROUP = re.compile(r"_g(\d\d)_c\d\d$")


@dataclass(frozen=True)
class Options:
    """What the user says beside the folder.

    Attributes:
        list: the list to take instead of the one that is found by its name.
        text: ``.npz`` or ``.npy`` with word vectors, see :class:`~srcid.features.published.archives.Sentences`.
    """

    list: Path | None = None
    text: Path | None = None


def named_split(name: str) -> str:
    """Return a split by the name that stores give it."""
    return {"training": "train", "valid": "val", "validation": "val", "testing": "test"}.get(name.lower(), name.lower())


def ucf_split(video_id: str) -> str:
    """Split UCF-101 by group, as clips of one group are cut from one video: groups 1 to 7 test (its first official
    list), 8 to 10 validate."""
    found = _GROUP.search(video_id)
    group = int(found[1]) if found else 8 + zlib.crc32(video_id.encode()) % 18
    return "test" if group <= 7 else "val" if group <= 10 else "train"


def hashed_split(name: str) -> str:
    """Split by a hash of the name, 70 : 10 : 20."""
    place = zlib.crc32(name.encode()) % 10
    return "train" if place < 7 else "val" if place < 8 else "test"
