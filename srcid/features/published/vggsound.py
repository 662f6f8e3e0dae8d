"""VGGSound-AVEL, and the sixteen classes that VGGSound and UCF-101 both have: one event and one archive a clip.

VGGSound-AVEL has sounds and pictures, and one sentence a class. UCF-101 pictures and VGGSound sounds of sixteen classes
are two stores of one modality each.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from srcid.features.published.archives import Archives, Found, SourceError
from srcid.features.published.lists import lines, table
from srcid.features.published.plan import (
    STEPS,
    Options,
    Plan,
    Stream,
    archived,
    check_known,
    hashed_split,
    named_split,
    one_hot,
    sentences,
    ucf_split,
    unique,
)

LISTS = {
    "40k": (("vggsound-avel40k.csv", "*vggsound*40k*.csv"), 40_000),
    "81k": (("*vggsound*81k*.csv",), 81_000),
    "179k": (("*vggsound*179k*.csv",), 179_000),
}
"""By size: names the list may have, and about how many rows it should."""
SIDES = {
    "ucf16": ("video", "ucf101samevggsound*.txt", "ucf2vggsound.csv", ucf_split),
    "vggsound16": ("audio", "vggsoundsameucf101*.txt", "vggsound2ucf.csv", hashed_split),
}
"""Layout -> its modality, its file of categories, its list, and how it is split where the list does not say."""


def avel_plan(found: Found, options: Options, size: str) -> Plan:
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


def side_plan(found: Found, options: Options, side: str) -> Plan:
    """Return what the list of one side says. Classes have VGGSound's names on both sides, in the order of the files.

    Raises:
        SourceError: a list is absent or does not fit, or the files of categories do not pair.
    """
    if options.text:
        raise SourceError(f"{side} has one modality and no sentences: leave out --text")
    modality, _, name, split = SIDES[side]
    pairs = {layout: lines(found.need(pattern)) for layout, (_, pattern, _, _) in SIDES.items()}
    if len(pairs["ucf16"]) != len(pairs["vggsound16"]):
        raise SourceError(
            f"the two files of categories have {len(pairs['ucf16'])} and {len(pairs['vggsound16'])} lines; "
            "need one for each pair"
        )
    file = found.need(name, f"{name[:-4]}*.csv", given=options.list)
    notes: list[str] = []
    rows = unique(table(file, ("category", "video_id")), lambda row: row["video_id"], file.name, notes)
    check_known([row["category"] for row in rows], pairs[side], str(file))
    classes = pairs["vggsound16"]
    renamed = dict(zip(pairs[side], classes, strict=True))
    categories = [renamed[row["category"]] for row in rows]
    ids = [row["video_id"] for row in rows]
    stream, extra = archived(found, modality, [(i,) for i in ids], 1)
    return Plan(
        ids,
        [named_split(row["split"]) if row.get("split") else split(row["video_id"]) for row in rows],
        categories,
        {modality: stream},
        labels={
            "event": one_hot(categories, classes),
            "category": np.array([classes.index(c) for c in categories]),
        },
        classes={"event": classes, "category": classes},
        notes=notes,
        extra={modality: extra},
        provenance={"pairs": dict(zip(pairs["ucf16"], classes, strict=True))},
    )


LAYOUTS = {
    **{f"vggsound-avel{size}": partial(avel_plan, size=size) for size in LISTS},
    **{side: partial(side_plan, side=side) for side in SIDES},
}
