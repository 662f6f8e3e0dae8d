"""The lists that come with published data sets: which clips there are, in which split, and what happens in them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srcid.features.published.archives import SourceError, check_hdf5

MAX_LIST_BYTES = 512 * 2**20


@dataclass(frozen=True)
class AveClip:
    """A line of AVE's ``Annotations.txt``: one event in a clip, ``onset`` to ``offset`` in seconds."""

    category: str
    video_id: str
    quality: str
    onset: int
    offset: int


@dataclass(frozen=True)
class Events:
    """What an AVVP list says of one clip; weak lists have no times.

    Attributes:
        names: event names.
        onsets, offsets: whole seconds, one each; empty in weak lists.
    """

    names: tuple[str, ...]
    onsets: tuple[int, ...] = ()
    offsets: tuple[int, ...] = ()


def table(file: Path, columns: Sequence[str], delimiter: str = ",") -> list[dict[str, str]]:
    """Return the rows of a list with a header, as dicts of stripped text.

    Raises:
        SourceError: it cannot be read, has no row, or lacks columns.
    """
    reader = csv.DictReader(io.StringIO(_text(file), newline=""), delimiter=delimiter)
    rows = [{str(k).strip(): (v or "").strip() for k, v in row.items() if isinstance(v, str)} for row in reader]
    header = [str(name).strip() for name in reader.fieldnames or ()]
    lacking = [name for name in columns if name not in header]
    if lacking:
        raise SourceError(f"{file}: found columns {', '.join(header)}, need {', '.join(columns)}")
    if not rows:
        raise SourceError(f"{file}: found no row below the header")
    return rows


def lines(file: Path) -> list[str]:
    """Return the lines of a text file that are not empty."""
    return [line.strip() for line in _text(file).split("\n") if line.strip()]


def ave_annotations(file: Path) -> list[AveClip]:
    """Return the clips of AVE's ``Annotations.txt`` (``category&video_id&quality&onset&offset``) in their order.

    Raises:
        SourceError: with every line that does not fit.
    """
    clips, wrong = [], []
    for number, line in enumerate(lines(file), 1):
        parts = line.split("&")
        if len(parts) == 5 and parts[3].isdecimal() and parts[4].isdecimal():
            clips.append(AveClip(*parts[:3], int(parts[3]), int(parts[4])))
        elif number > 1 or parts[0] != "Category":  # some copies have a header
            wrong.append(f"line {number}: found {line[:60]!r}")
    if wrong or not clips:
        raise SourceError(f"{file}: need category&video_id&quality&onset&offset in each line; " + "; ".join(wrong[:5]))
    return clips


def order(file: Path, clips: int) -> np.ndarray:
    """Return row numbers from an AVE ``*_order.h5`` (dataset ``order``).

    Raises:
        SourceError: other content, rows beyond ``clips``, or a row more than once.
    """
    import h5py

    problems, shape = check_hdf5(file, "order", (None,), kinds="iu")
    if problems:
        raise SourceError(problems[0])
    if shape[0] > clips:
        raise SourceError(f"{file}: found {shape[0]:,} rows for {clips:,} clips")
    with h5py.File(file, "r") as held:
        rows = held["order"][:].astype(np.int64)
    if len(rows) and (rows.min() < 0 or rows.max() >= clips):
        raise SourceError(f"{file}: found rows {rows.min()} to {rows.max()}, need 0 to {clips - 1}")
    if len(np.unique(rows)) < len(rows):
        raise SourceError(f"{file}: found {len(rows) - len(np.unique(rows))} rows more than once")
    return rows


def avvp_events(file: Path) -> tuple[dict[str, Events], list[str]]:
    """Return what an AVVP list (tab-separated) says of each clip, and remarks.

    Events of a clip may be one row each, as in the official lists, or joined by commas in one row.

    Raises:
        SourceError: lacking columns, times that are no whole seconds, or unequal numbers of names and times.
    """
    rows = table(file, ("filename", "event_labels"), "\t")
    timed = {"onset", "offset"} <= rows[0].keys()
    gathered: dict[str, list[tuple[str, int, int]]] = {}
    weak: dict[str, list[str]] = {}
    empty, wrong, again = 0, [], 0
    for number, row in enumerate(rows, 2):
        names = [name.strip() for name in row["event_labels"].split(",")]
        if not timed:
            again += row["filename"] in weak
            weak.setdefault(row["filename"], names)
            continue
        try:
            onsets, offsets = ([int(t) for t in row[end].split(",")] for end in ("onset", "offset"))
        except ValueError:
            onsets, offsets = [], []
        if not len(names) == len(onsets) == len(offsets) or min(onsets + offsets) < 0:
            wrong.append(f"line {number} ({row['filename']})")
            continue
        empty += sum(a >= b for a, b in zip(onsets, offsets, strict=True))
        gathered.setdefault(row["filename"], []).extend(zip(names, onsets, offsets, strict=True))
    if wrong:
        raise SourceError(
            f"{file}: need as many onsets and offsets, in whole seconds from 0, as event_labels; "
            f"{len(wrong)} rows have not: {', '.join(wrong[:5])}"
        )
    remarks = [f"{file.name}: {empty} events end before they begin and count for no second"] if empty else []
    if again:
        remarks.append(f"{file.name}: {again:,} rows name a clip again, the first one counts")
    if not timed:
        return {clip: Events(tuple(names)) for clip, names in weak.items()}, remarks
    return {clip: Events(*(tuple(column) for column in zip(*e, strict=True))) for clip, e in gathered.items()}, remarks


def event_seconds(events: Events, classes: Sequence[str], steps: int = 10) -> np.ndarray:
    """Return which classes hold at which second, bool ``[steps, C]``.

    An event covers the seconds from its onset up to but not including its offset, cut at ``steps``; events without
    times cover all. Names that are no class are left out.
    """
    place = {name: number for number, name in enumerate(classes)}
    held = np.zeros((steps, len(classes)), bool)
    onsets = events.onsets or (0,) * len(events.names)
    offsets = events.offsets or (steps,) * len(events.names)
    for name, onset, offset in zip(events.names, onsets, offsets, strict=True):
        if name in place:
            held[onset:offset, place[name]] = True
    return held


def coco_captions(file: Path) -> list[tuple[str, str, str]]:
    """Return (picture, name of the caption, caption) of a COCO captions json; pictures named by 12 digits.

    Raises:
        SourceError: it is no such json.
    """
    try:
        held = json.loads(_text(file))["annotations"]
        return [(f"{int(a['image_id']):012d}", str(a.get("id", n)), str(a["caption"])) for n, a in enumerate(held)]
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(
            f"{file}: need COCO's captions: 'annotations', each with image_id and caption ({error!r})"
        ) from None


def clotho_captions(file: Path) -> list[tuple[str, str, str]]:
    """Return (recording without ending, name of the caption, caption) of a Clotho csv (``caption_1`` to ``_5``).

    Raises:
        SourceError: lacking columns.
    """
    rows = table(file, ("file_name", "caption_1"))
    found = []
    for row in rows:
        item = Path(row["file_name"]).stem
        numbered = sorted(int(c.removeprefix("caption_")) for c in row if c.removeprefix("caption_").isdecimal())
        found += [(item, f"{item}#{n}", row[f"caption_{n}"]) for n in numbered if row[f"caption_{n}"]]
    return found


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > MAX_LIST_BYTES:
            raise SourceError(f"{file}: found {file.stat().st_size} bytes, need a list of at most {MAX_LIST_BYTES}")
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        return file.read_text(encoding="latin1")
    except OSError as error:
        raise SourceError(f"{file}: cannot be read ({error})") from None
