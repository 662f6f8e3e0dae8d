"""UCF-101 pictures and VGGSound sounds of sixteen classes that both have: two stores of one modality each."""

from __future__ import annotations

from functools import partial

import numpy as np

from srcid.features.published.archives import Found, SourceError
from srcid.features.published.lists import lines, table
from srcid.features.published.plan import Plan, archived, check_known, one_hot, unique
from srcid.features.published.splits import Options, hashed_split, named_split, ucf_split

SIDES = {
    "ucf16": ("video", "ucf101samevggsound*.txt", "ucf2vggsound.csv", ucf_split),
    "vggsound16": ("audio", "vggsoundsameucf101*.txt", "vggsound2ucf.csv", hashed_split),
}
"""Layout -> its modality, its file of categories, its list, and how it is split where the list does not say."""


def plan(found: Found, options: Options, side: str) -> Plan:
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


LAYOUTS = {side: partial(plan, side=side) for side in SIDES}
