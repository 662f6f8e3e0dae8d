"""What a folder of media holds: clips, their files, captions, labels and splits, before any file is opened.

Either a list, a ``.csv`` with a row a clip, or an event of it::

    file,split,label,onset,offset,caption
    a.mp4,train,dog,0,4,a dog barks at the door
    a.mp4,train,bell,5.5,8,a dog barks at the door

where ``video``, ``audio`` and ``text`` may name a file of their own each, or folders that say the label, and above
them, if need be, the split: ``train/dog/a.mp4``. Files of one name and other endings are one clip: ``a.png``,
``a.wav``, ``a.txt``.
"""

from __future__ import annotations

import os
import re
import unicodedata
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from srcid.features.checks import SPLITS, StoreError
from srcid.features.published.archives import MOST_FILES, SourceError
from srcid.features.published.lists import OLD, as_number, encoding_of, lines, table
from srcid.features.published.plan import few, named_split, split_at

VIDEO = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg")
SOUND = (".wav", ".flac", ".ogg", ".mp3")  # soundfile reads these, PyAV the others
OTHER_SOUND = (".m4a", ".aac", ".opus", ".wma")
PICTURE = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
TEXT = (".txt",)
KINDS = {
    **dict.fromkeys((*VIDEO, *PICTURE), "video"),
    **dict.fromkeys((*SOUND, *OTHER_SOUND), "audio"),
    **dict.fromkeys(TEXT, "text"),
}
"""Modality of a file by its ending; a video has sound too."""
MODALITIES = ("audio", "video", "text")
_COLUMNS = ("id", "file", *MODALITIES, "split", "label", "onset", "offset", "caption")


@dataclass(frozen=True)
class Event:
    """A label and when it holds, in seconds; the whole clip where no times are given."""

    label: str
    onset: float = 0.0
    offset: float = np.inf


@dataclass
class Listed:
    """A clip.

    Attributes:
        name: unique.
        files: modality -> its file; a video counts as ``audio`` too unless there is another file for that.
        caption: in place of a text file; empty if there is none.
        split: "" where nothing says.
        events: none where the clip is not labelled.
    """

    name: str
    files: dict[str, Path] = field(default_factory=dict)
    caption: str = ""
    split: str = ""
    events: list[Event] = field(default_factory=list)

    @property
    def modalities(self) -> set[str]:
        """Modalities that the clip may have."""
        return {*self.files, *(["text"] if self.caption else [])}


@dataclass(frozen=True)
class Listing:
    """All clips in the order of their names, and what of the folder was not used, in sentences."""

    clips: tuple[Listed, ...]
    notes: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels that occur."""
        return tuple(sorted({event.label for clip in self.clips for event in clip.events}))


def listing(source: Path, clip_list: Path | None = None) -> Listing:
    """Read what ``source`` holds. Clips without a split are split by a hash of their names, 70 : 10 : 20.

    Args:
        source: folder; paths in a list start from it.
        clip_list: the list; by default the only ``.csv`` or ``.tsv`` in the folder, and without one, folders count.

    Raises:
        StoreError: no such folder, no media, several lists, or a list with faults; all at once.
    """
    heading = f"{source} cannot be read:"
    if not source.is_dir():
        raise StoreError(heading, ["there is no such folder"])
    lists = sorted(f for f in source.iterdir() if f.suffix.lower() in (".csv", ".tsv") and f.is_file())
    if clip_list is None and len(lists) > 1:
        raise StoreError(heading, [f"found {few([f.name for f in lists])}, need one list; name it by --list"])
    problems: list[str] = []
    if clip_list or lists:
        clips, notes = _from_list(source, Path(clip_list or lists[0]), problems)
    else:
        clips, notes = _from_folders(source, problems)
    if not clips and not problems:
        problems.append(f"found no media in it; need files such as {', '.join(list(KINDS)[:12])} or a list (.csv)")
    StoreError.check(heading, problems)
    clips = sorted(clips, key=lambda clip: clip.name)
    for clip in clips:  # a video is heard where nothing else is
        if clip.files.get("video", Path()).suffix.lower() in VIDEO:
            clip.files.setdefault("audio", clip.files["video"])
    _split_rest(clips, notes)
    return Listing(tuple(clips), tuple(notes))


def _from_folders(source: Path, problems: list[str]) -> tuple[list[Listed], list[str]]:
    clips: dict[str, Listed] = {}
    strangers: Counter[str] = Counter()
    folders = {p.name for p in source.iterdir() if p.is_dir() and not p.name.startswith(".")}
    by_split = bool(folders) and {named_split(name) for name in folders} <= set(SPLITS)
    real = Path(os.path.realpath(source))
    above, loops = {str(source): {str(p) for p in (real, *real.parents)}}, 0  # folder -> those it lies in, itself too
    for folder, below, names in os.walk(source, followlinks=True):
        inside = {name: os.path.realpath(os.path.join(folder, name)) for name in below if not name.startswith(".")}
        below[:] = sorted(name for name, real in inside.items() if real not in above[folder])
        loops += len(inside) - len(below)
        above |= {os.path.join(folder, name): above[folder] | {inside[name]} for name in below}
        if len(above) > MOST_FILES or len(clips) > MOST_FILES:  # links may lead to one folder by very many ways
            problems.append(f"found more than {MOST_FILES:,} files or folders in it; name the folder of the data alone")
            break
        for name in sorted(names):
            file = Path(folder) / name
            if name.startswith("."):
                continue
            if file.suffix.lower() not in KINDS:
                strangers[file.suffix.lower() or name] += 1
                continue
            parts = file.relative_to(source).parts[:-1]
            split = named_split(parts[0]) if by_split and parts else ""
            label = next(iter(parts[1 if by_split else 0 :]), "")
            key = unicodedata.normalize("NFC", file.relative_to(source).with_suffix("").as_posix())
            clip = clips.setdefault(key, Listed(key, split=split, events=[Event(label)] if label else []))
            _add(clip, file, KINDS[file.suffix.lower()], problems)
    notes = [f"{count} files ending in '{ending}' are left out" for ending, count in strangers.items()]
    return list(clips.values()), notes + [f"{loops} links to a folder that they lie in are left out"] * (loops > 0)


def _from_list(source: Path, file: Path, problems: list[str]) -> tuple[list[Listed], list[str]]:
    try:
        head = re.split(r"[,;\t]", next(iter(lines(file)), ""))
        named = [name for name in _COLUMNS if name in {part.strip().strip('"') for part in head}]
        rows = table(file, named)
        old = encoding_of(file.read_bytes()) == OLD
    except (SourceError, OSError) as error:
        problems.append(str(error))
        return [], []
    media = [name for name in ("file", *MODALITIES) if name in rows[0]]
    if not media:
        problems.append(f"{file.name}: found columns {', '.join(rows[0])}, need 'file' or one of {MODALITIES}")
        return [], []
    unused = [name for name in rows[0] if name not in _COLUMNS]
    clips: dict[str, Listed] = {}
    first: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, 2):
        place = f"{file.name}, row {number}"
        cells = {name: _written(source, row[name]) for name in media if row[name]}
        if not cells:
            problems.append(f"{place}: names no file")
            continue
        first_file = os.path.relpath(source / next(iter(cells.values())), source)
        name = row.get("id") or unicodedata.normalize("NFC", Path(first_file).with_suffix("").as_posix())
        same = {key: row.get(key, "") for key in (*media, "split", "caption")}
        if first.setdefault(name, same) != same:
            problems.append(f"{place}: clip {name} has other files, another split or caption than in a row before")
            continue
        if name not in clips:
            clips[name] = Listed(name, caption=row.get("caption", ""), split=named_split(row.get("split", "")))
            for column, cell in cells.items():
                path = Path(os.path.normpath(source / cell))
                if not path.is_relative_to(os.path.normpath(source)):
                    problems.append(f"{place}: {cell} leaves {source}; need a path in it")
                elif path.suffix.lower() not in KINDS:
                    problems.append(f"{place}: {cell} ends in '{path.suffix}', need one of {', '.join(KINDS)}")
                else:
                    _add(clips[name], path, KINDS[path.suffix.lower()] if column == "file" else column, problems)
        clips[name].events += _event(row, place, problems)
    notes = [f"columns {', '.join(unused)} of {file.name} are left out"] if unused else []
    notes += [f"{file.name} is no UTF-8 and was read as Windows-1252: look at its accents"] if old else []
    return list(clips.values()), notes


def _written(source: Path, cell: str) -> str:
    """Return a path as the disk has it, where a list writes it with ``\\`` or in another form of Unicode."""
    for name in (cell, cell.replace("\\", "/")):
        for form in (name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)):
            if (source / form).exists():
                return form
    return cell


def _event(row: dict[str, str], place: str, problems: list[str]) -> list[Event]:
    """Return the event of a row, or none where it has no label."""
    times = []
    for name, default in (("onset", 0.0), ("offset", np.inf)):
        try:
            times.append(as_number(row[name]) if row.get(name) else default)
        except ValueError:
            times.append(np.nan)
    if not 0 <= times[0] < times[1]:
        problems.append(
            f"{place}: found onset {row.get('onset')!r}, offset {row.get('offset')!r}; need seconds, in order"
        )
        return []
    return [Event(row["label"], *times)] if row.get("label") else []


def _add(clip: Listed, file: Path, modality: str, problems: list[str]) -> None:
    if modality in clip.files:
        both = f"{clip.files[modality].name} and {file.name}"
        problems.append(f"clip {clip.name} has two files for {modality}: {both}; files of one name are one clip")
    clip.files[modality] = file


def _split_rest(clips: list[Listed], notes: list[str]) -> None:
    rest = sorted((clip for clip in clips if not clip.split), key=lambda clip: zlib.crc32(clip.name.encode()))
    if 0 < len(rest) < len(clips):
        notes.append(f"{len(rest)} of {len(clips)} clips are in no split, and so are in no split of the store")
    elif rest:
        for place, clip in enumerate(rest):
            clip.split = split_at(place / len(rest))
        notes.append("nothing says which split a clip is in: train, val and test have 70, 10, 20 % by a hash of names")
