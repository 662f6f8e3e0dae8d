"""VGGSound-AVEL: one event a clip, one archive a clip for each modality, one sentence a class."""

from __future__ import annotations

from functools import partial

import numpy as np

from srcid.features.published.archives import Archives, Found, SourceError
from srcid.features.published.lists import lines, table
from srcid.features.published.plan import STEPS, Plan, Stream, archived, check_known, one_hot, sentences, unique
from srcid.features.published.splits import Options, named_split

LISTS = {
    "40k": (("vggsound-avel40k.csv", "*vggsound*40k*.csv"), 40_000),
    "81k": (("*vggsound*81k*.csv",), 81_000),
    "179k": (("*vggsound*179k*.csv",), 179_000),
}
"""By size: names the list may have, and about how many rows it should."""


def plan(found: Found, options: Options, size: str) -> Plan:
    """Return what the list of one size says.

    The 40k list has ``split``, ``category`` and ``video_id``. The larger ones name files (``id``, with ending) and no
    more: all their clips are for training, without labels. ``label`` archives hold the seconds of each clip's event;
    without them an event counts for all ten.

    Raises:
        SourceError: no list, or columns or classes that do not fit.
    """
    patterns, expected = LISTS[size]
    file = found.need(*patterns, given=options.list)
    rows, notes, faults = table(file, ()), [], []
    column = next((name for name in ("video_id", "id", "filename") if name in rows[0]), None)
    if column is None:
        raise SourceError(f"{file}: found columns {', '.join(rows[0])}, need video_id or id")
    for row in rows:
        row["id"] = row[column].removesuffix(".mp4")
    rows = unique(rows, lambda row: row["id"], file.name, notes)
    ids = [row["id"] for row in rows]
    keys = [(i,) for i in ids]
    audio, extra_audio = archived(found, "audio", keys, 2)
    video, extra_video = archived(found, "video", keys, 2)
    result = Plan(
        ids,
        [named_split(row.get("split", "train")) for row in rows],
        [row.get("category", "") for row in rows],
        {"audio": audio, "video": video},
        notes=notes,
        faults=faults,
        expected=expected,
        extra={"audio": extra_audio, "video": extra_video},
    )
    if all(result.categories):
        _label(result, found, keys)
        order = list(result.classes["event"])
        named = list(zip(ids, result.categories, strict=True))
        text = sentences(found, options.text, named, order, faults)
        if text:
            result.streams["text"], result.media["text"] = text
        else:
            notes.append("no text: give the word vectors of the classes' sentences by --text")
    else:
        notes.append(f"{file.name} names no categories: the store has no labels and no text")
    return result


def _label(result: Plan, found: Found, keys: list[tuple[str]]) -> None:
    names = found.one("*vggsoundavel*categories.txt")
    classes = lines(names) if names else sorted(set(result.categories))
    check_known(result.categories, classes, str(names))
    result.labels["event"], result.classes["event"] = one_hot(result.categories, classes), classes
    if "label" in found.archives or "" in found.archives:
        seconds, _ = archived(found, "label", keys, 2)
        result.presence = Stream((), Archives("label", "label" in found.archives), seconds.where)
    else:
        result.notes.append(f"no label archives: each event counts for all {STEPS} seconds")
    result.labels["category"] = np.array([classes.index(c) for c in result.categories])
    result.classes["category"] = classes


LAYOUTS = {f"vggsound-avel{size}": partial(plan, size=size) for size in LISTS}
