"""MSCOCO and Clotho: pictures or recordings with several captions each.

A row of the store is a pair of an item and one of its captions. The item's features are repeated, and the integer
label ``item`` says which rows are one item; ``code_retrieval(table, item=table.labels["item"],
captions="text")`` reads an item once and counts it as found when one of its captions is.
"""

from __future__ import annotations

from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np

from srcid.features.published.archives import Found, SourceError
from srcid.features.published.lists import clotho_captions, coco_captions
from srcid.features.published.plan import Options, Plan, archived, sentences

KINDS = {
    "mscoco": ("video", coco_captions, ("captions*.json", "*.json")),
    "clotho": ("audio", clotho_captions, ("clotho_captions_*.csv",)),
}
"""Layout -> modality of its items, reader of its lists, names its lists may have."""
_SPLITS = {"train": "train", "development": "train", "validation": "val"}  # COCO's "val" is what papers test on


def plan(found: Found, options: Options, kind: str) -> Plan:
    """Return what the caption lists say. The split is told by a list's name; what says nothing is for testing.

    Raises:
        SourceError: no list, no features of captions, or lists that do not fit.
    """
    modality, read, patterns = KINDS[kind]
    files = [options.list] if options.list else []
    for pattern in patterns:
        files = files or sorted(f for f in found.others if f.match(pattern))
    if not files:
        raise SourceError(f"found no file {' or '.join(patterns)} below {found.root}; see data/README.md")
    rows = []  # (item, name of the caption, caption, split)
    for file in files:
        rows += [(*row, _split(file)) for row in read(found.need(given=file))]
    if not rows:
        raise SourceError(f"{', '.join(map(str, files))}: found no captions")
    place = {item: number for number, item in enumerate(dict.fromkeys(item for item, *_ in rows))}
    rows.sort(key=lambda row: place[row[0]])  # an item's captions side by side: its archive is read once
    ids = [f"{item}#{n}" for item, own in groupby(rows, lambda row: row[0]) for n, _ in enumerate(own, 1)]
    listed = {name: row for row, (_, name, _, _) in enumerate(rows)}
    faults: list[str] = []
    text = sentences(found, options.text, [(row[1], i) for row, i in zip(rows, ids, strict=True)], list(listed), faults)
    if text is None:
        raise SourceError(faults[0] if faults else "captions need word vectors: give them by --text FILE")
    stream, extra = archived(found, modality, [(item,) for item, *_ in rows], 1)
    return Plan(
        ids,
        [split for *_, split in rows],
        [""] * len(rows),
        {modality: stream, "text": text[0]},
        labels={"item": np.array([place[item] for item, *_ in rows])},
        classes={"item": list(place)},
        media={"text": text[1]} if text[1] else {},
        faults=faults,
        extra={modality: extra},
        provenance={"captions": {"items": len(place), "rows": "one for each pair of an item and a caption"}},
    )


def _split(file: Path) -> str:
    return next((split for word, split in _SPLITS.items() if word in file.stem.lower()), "test")


LAYOUTS = {kind: partial(plan, kind=kind) for kind in KINDS}
