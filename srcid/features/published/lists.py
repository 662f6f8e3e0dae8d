"""The lists that come with published data sets: which clips there are, in which split, and what happens in them."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srcid.features.published.archives import SourceError, check_hdf5
from srcid.values import is_text

MAX_LIST_BYTES = 512 * 2**20
OLD = "cp1252"


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

    A list that is separated by another of comma, tab and semicolon is read too, if each row then has a field a column.

    Raises:
        SourceError: it cannot be read, has no row, lacks columns, or has rows of other lengths than its header.
    """
    text = _text(file)
    header = text.lstrip("\n").partition("\n")[0]
    if any(name not in _fields(header, delimiter) for name in columns):
        fitting = [d for d in ",\t;" if all(name in _fields(header, d) for name in columns)]
        delimiter = fitting[0] if fitting and columns else delimiter
    # tabs separate plainly, unless all is quoted; what is separated by commas may need quotes
    quoting = csv.QUOTE_NONE if delimiter == "\t" and not header.startswith('"') else csv.QUOTE_MINIMAL
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    rows, wrong = [], []
    try:
        names = [name.strip() for name in next((fields for fields in reader if any(fields)), [])]
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            if len(fields) != len(names) or any("\n" in field for field in fields):
                wrong.append(f"line {reader.line_num}")
            else:
                rows.append({name: field.strip() for name, field in zip(names, fields, strict=True)})
    except csv.Error as error:
        raise SourceError(f"{file}, line {reader.line_num}: {error}; is there a quote that is not closed?") from None
    if lacking := [name for name in columns if name not in names]:
        raise SourceError(
            f"{file}: found columns {', '.join(names)}, need {', '.join(columns)} (lacking: {', '.join(lacking)}), "
            f"separated by {_SEPARATORS[delimiter]}"
        )
    if twice := [name for name in dict.fromkeys(names) if name and names.count(name) > 1]:
        raise SourceError(f"{file}: found more than one column {', '.join(twice)}; need one of each name")
    if wrong:
        raise SourceError(
            f"{file}: need {len(names)} fields in each row ({', '.join(names)}), separated by {_SEPARATORS[delimiter]} "
            f"and with every quote closed; {len(wrong)} rows have not: {', '.join(wrong[:5])}"
        )
    if not rows:
        raise SourceError(f"{file}: found no row below the header")
    return rows


_SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons"}


def _fields(line: str, delimiter: str) -> list[str]:
    return [field.strip().strip('"') for field in line.split(delimiter)]


def as_number(text: str) -> float:
    """Return the number that a field holds; raise ValueError also for ``1_0``, which Python takes for 10."""
    if "_" in text:
        raise ValueError(f"found {text!r}, need a number")
    return float(text)


def _second(text: str) -> int:
    """Return a whole second, also where it is written ``4.0``; raise ValueError for anything else."""
    value = as_number(text)
    if not value.is_integer() or not 0 <= value <= 10**6:
        raise ValueError(f"found {text!r}, need a whole second")
    return int(value)


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
        try:
            category, video, quality, onset, offset = parts
            clips.append(AveClip(category, video, quality, _second(onset), _second(offset)))
        except ValueError:
            if number > 1 or parts[0] != "Category":  # some copies have a header
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
            onsets, offsets = ([_second(t) for t in row[end].split(",")] for end in ("onset", "offset"))
        except ValueError:
            onsets, offsets = [], []
        if not onsets or not len(names) == len(onsets) == len(offsets):
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
    need = "need COCO's captions: 'annotations', each with a whole image_id and a caption as text"
    try:
        held = json.loads(_text(file))["annotations"]
        rows = [(a["image_id"], str(a.get("id", n)), a["caption"]) for n, a in enumerate(held)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SourceError(f"{file}: {need} ({error!r})") from None
    odd = [n for n, (image, _, caption) in enumerate(rows) if not is_text(caption) or type(image) is not int]
    if odd:
        raise SourceError(f"{file}: {need}; {len(odd)} have not, first number {odd[0]}: {rows[odd[0]]!r:.100}")
    return [(f"{image:012d}", name, caption) for image, name, caption in rows]


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


def encoding_of(data: bytes) -> str:
    """Return the encoding of a text: UTF-8, UTF-16 with its mark or without, or, where it is neither, Windows-1252.

    The last is a guess: other old encodings look the same.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in data[:2]:
        return "utf-16-be" if data.startswith(b"\0") else "utf-16-le"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return OLD
    return "utf-8-sig"


def _text(file: Path) -> str:
    """Return the text of a list, lines ending in ``\\n``; see :func:`encoding_of`.

    Raises:
        SourceError: it cannot be read, is no regular file, too large, or no text.
    """
    try:
        if not file.is_file():
            raise SourceError(f"{file}: is no regular file")
        if file.stat().st_size > MAX_LIST_BYTES:
            raise SourceError(f"{file}: found {file.stat().st_size} bytes, need a list of at most {MAX_LIST_BYTES}")
        data = file.read_bytes()
        text = data.decode(encoding_of(data))
    except OSError as error:
        raise SourceError(f"{file}: cannot be read ({error})") from None
    except UnicodeDecodeError:
        raise SourceError(f"{file}: is neither UTF-8 nor UTF-16 nor Windows-1252; save it as UTF-8") from None
    if "\0" in text:
        raise SourceError(f"{file}: holds NUL, so is no text; save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")
