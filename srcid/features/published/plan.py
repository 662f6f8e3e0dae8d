"""`Plan`: what the lists of a published data set say, before any feature is read."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from srcid.features.published.archives import Archives, Found, Hdf5, Sentences, Source, SourceError

STEPS = 10
"""Steps of every published data set: seconds of a clip, words of a sentence."""
SHAPES = {"audio": (128,), "video": (7, 7, 512), "text": (768,)}
"""Features of a step: VGGish, VGG19 and BERT."""
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


@dataclass(frozen=True)
class Stream:
    """The features of one modality, row by row.

    Attributes:
        shape: of one step.
        source: reads them.
        where: per row what the source is asked for; None where nothing was found.
        fill: how too few steps become :data:`STEPS`: ``repeat`` the last one, as published, or ``mask`` the rest.
            Too many are cut.
    """

    shape: tuple[int, ...]
    source: Source
    where: Sequence[str | int | None]
    fill: str = "repeat"


@dataclass
class Plan:
    """One row for each clip of the store to be made, as the lists have it.

    Attributes:
        ids, splits: per row its name, and its split or "".
        categories: per row the class it counts under in the audit, or "".
        streams: the modalities.
        presence: per row the seconds at which the event of the clip holds, ``[STEPS]``; from label archives.
        labels, classes, visible_in: as for :meth:`FeatureStore.create`, over all rows.
        media: per modality and row up to :data:`STEPS` media references.
        faults: what makes the data unfit to be used unseen; sentences.
        notes: what deserves a look; sentences.
        expected: about how many rows the data set has, 0 if unknown.
        extra: modality -> names of features that no row asks for.
        provenance: for the store.
    """

    ids: list[str]
    splits: list[str]
    categories: list[str]
    streams: dict[str, Stream]
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    classes: dict[str, Sequence[str]] = field(default_factory=dict)
    visible_in: dict[str, Sequence[str]] = field(default_factory=dict)
    presence: Stream | None = None
    media: dict[str, list[list[str]]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    expected: int = 0
    extra: dict[str, list[str]] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def reads(self) -> dict[str, Stream]:
        """Everything that is read for a row: the modalities, and ``label`` where seconds are labelled."""
        return self.streams | ({"label": self.presence} if self.presence else {})

    def missing(self) -> dict[str, np.ndarray]:
        """Per thing that is read, which rows have no file, bool ``[rows]``."""
        return {name: np.array([w is None for w in s.where], bool) for name, s in self.reads().items()}


def archived(found: Found, name: str, keys: Sequence[Sequence[str]], wanted: int) -> tuple[Stream, list[str]]:
    """Return the stream of archives of a modality, and the names of those that no row asks for.

    Args:
        found: the files.
        name: the modality.
        keys: per row the names its archive may have, best first.
        wanted: how many modalities the layout reads from archives.
    """
    own = name in found.archives
    known = found.archives.get(name) or found.archives.get("", {})
    where = [next((known[key] for key in options if key in known), None) for options in keys]
    used = set(where)
    extra = [stem for stem, path in known.items() if path not in used]
    return Stream(SHAPES.get(name, ()), Archives(name, own or wanted == 1), where), extra


def whole(file: Path, name: str, rows: Sequence[int]) -> Stream:
    """Return the stream of a modality that lies in one HDF5 file, by the row numbers in it."""
    return Stream(SHAPES[name], Hdf5(str(file), "avadataset"), list(rows))


def sentences(
    found: Found, given: Path | None, keys: Sequence[Sequence[str]], order: Sequence[str], problems: list[str]
) -> tuple[Stream, list[list[str]]] | None:
    """Return the stream of word vectors and the media references, or None where the user has given none.

    Args:
        found, given: the files, and the ``.npz`` or ``.npy`` the user named.
        keys: per row the names its sentence may have, best first.
        order: names of the sentences of a ``.npy``, which has none of its own.
        problems: complaints are added here.
    """
    if given is None:
        if "text" not in found.archives:
            return None
        return replace(archived(found, "text", keys, 1)[0], fill="mask"), []
    source = Sentences(str(found.need(given=given)))
    names = source.names or list(order)
    if len(names) != source.count:
        problems.append(
            f"{given}: found {source.count} sentences and {len(names)} of the list; need one each, in its order, "
            "or a .npz that names them"
        )
        return None
    place = {name: row for row, name in reversed(list(enumerate(names)))}
    where = [next((place[key] for key in options if key in place), None) for options in keys]
    wordless = [names[row] for row in sorted({w for w in where if w is not None}) if not source.counting(row).any()]
    if wordless:
        problems.append(f"{len(wordless):,} of {len(names):,} sentences have no known word: {few(wordless)}")
    media = [["word:" + t for t in source.tokens(row)[:STEPS]] if row is not None else [] for row in where]
    return Stream((source.width,), source, where, "mask"), media if any(media) else []


def one_hot(categories: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Return the event label of clips that show their one class throughout, bool ``[N, STEPS, C]``."""
    place = {name: number for number, name in enumerate(classes)}
    event = np.zeros((len(categories), STEPS, len(classes)), bool)
    event[np.arange(len(categories)), :, [place[c] for c in categories]] = True
    return event


def unique(rows: Sequence[Any], key: Any, what: str, notes: list[str]) -> list[Any]:
    """Return rows without those whose key came before, and note how many they were."""
    kept: dict[Any, Any] = {}
    repeated = []
    for row in rows:
        if kept.setdefault(key(row), row) is not row:
            repeated.append(str(key(row)))
    if repeated:
        notes.append(f"{len(repeated):,} rows of {what} name a clip again, the first one counts: {few(repeated)}")
    return list(kept.values())


def check_known(names: Mapping[str, int] | Sequence[str], known: Sequence[str], what: str) -> None:
    """Raise :class:`SourceError` if a list names a class that is none."""
    strangers = sorted(set(names) - set(known))
    if strangers:
        raise SourceError(f"{what}: found classes {few(strangers)}, which are none of its {len(known)}")


def few(names: Sequence[str], count: int = 5) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - count:,} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


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
    """Split by a hash of the name."""
    return split_at(zlib.crc32(name.encode()) % 10 / 10)


def split_at(share: float) -> str:
    """Split of a clip before which lies this share of all, in an order by a hash of names: 70, 10 and 20 %."""
    return "train" if share < 0.7 else "val" if share < 0.8 else "test"
