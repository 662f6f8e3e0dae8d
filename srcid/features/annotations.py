"""Everything in a store that is not a feature: labels, splits, ids, masks, media references, provenance; checked.

What is given is normalised as people have it: labels as text become categories, what is missing of a label is told
from background, and rows of every form become numbers. Problems are returned as sentences, all at once.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from srcid.features.checks import FILE_NAME, MAX_CLASSES, LabelInfo, as_arrays, as_dict, bad_name, matches, only_case
from srcid.features.intake import joined_clips
from srcid.features.media import reference_problem

_LONGEST = 500  # letters of an id or a class name


@dataclass
class Annotations:
    """Annotations of a store, normalised; see :func:`annotate`."""

    labels: dict[str, np.ndarray] = field(default_factory=dict)
    info: dict[str, LabelInfo] = field(default_factory=dict)
    labelled: dict[str, np.ndarray] = field(default_factory=dict)
    splits: dict[str, np.ndarray] = field(default_factory=dict)
    ids: np.ndarray = field(default_factory=lambda: np.empty(0, str))
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    media: dict[str, np.ndarray] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)


def annotate(
    modalities: Sequence[str],
    clips: int,
    steps: int,
    *,
    labels: Mapping[str, np.ndarray] | None = None,
    classes: Mapping[str, Sequence[str]] | None = None,
    splits: Mapping[str, np.ndarray] | None = None,
    ids: Sequence[str] | None = None,
    masks: Mapping[str, np.ndarray] | None = None,
    media: Mapping[str, np.ndarray] | None = None,
    visible_in: Mapping[str, Sequence[str]] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> tuple[Annotations, list[str]]:
    """Return the normalised annotations of ``clips`` x ``steps``, and all that is wrong with them.

    Args:
        modalities, clips, steps: names, N and T of the features.
        labels: bool ``[N,T,C]`` or ``[N,C]`` (several classes may hold; all False = background), integer or text
            ``[N]`` or ``[N,T]``, floating ``[N,d]`` or ``[N,T,d]`` (continuous truth). A list of one array a clip is
            joined, and clips of fewer steps count as unlabelled from there on. The label named ``event`` is what
            probes learn; it must be ``[N,T,C]``, bool or numbers 0 and 1.
            What is missing, and so neither a class nor background: None, NaN, masked (``numpy.ma``), empty text, -1;
            None in place of a clip's array. Of a bool label a step is missing if any of its classes is.
        classes: class names per label; required for bool labels, numbered for integer ones where there are none.
        splits: row numbers per split, disjoint; clips outside every split are allowed.
        ids: one unique name per clip.
        masks: bool ``[N, T]``, False where a step is missing or padded.
        media: text ``[N, T]`` of media references; empty text for none.
        visible_in: modalities that carry a label's factor; default all.
        provenance: JSON-like facts about the origin: source, licence, citation, parameters.
    """
    result, problems = Annotations(), []
    if isinstance(labels, Mapping):
        labels = {name: joined_clips(values, steps) for name, values in labels.items()}
    if isinstance(splits, Mapping):  # a range may be longer than memory
        splits = {name: (rows[: clips + 1] if isinstance(rows, range) else rows) for name, rows in splits.items()}
    given: dict[str, dict[str, Any]] = {}
    for what, convert, values in (
        ("labels", as_arrays, labels),
        ("splits", as_arrays, splits),
        ("masks", as_arrays, masks),
        ("media", as_arrays, media),
        ("classes", _as_names, classes),
        ("visible_in", _as_names, visible_in),
        ("provenance", as_dict, provenance),
    ):
        given[what], wrong = convert(what, values)
        problems += wrong
    named = list(as_dict("labels", labels)[0])
    problems += [only_case(what, given[what]) for what in ("labels", "splits")]
    for what, known in (("classes", named), ("visible_in", named), ("masks", modalities), ("media", modalities)):
        for name in sorted(set(given[what]) - set(known), key=str):
            problems.append(f"{what} names '{name}', which is none of {', '.join(map(str, known)) or 'no entries'}")
    for name, values in given["labels"].items():
        seen = tuple(given["visible_in"].get(name, modalities))
        strangers = sorted(set(seen) - set(modalities))
        if strangers:
            problems.append(f"label {name}: visible_in names {strangers}, need some of {list(modalities)}")
        array, known, info, wrong = _label(name, values, given["classes"].get(name), seen, clips, steps)
        problems += wrong
        if not wrong:
            result.labels[name], result.info[name] = array, info
            if not known.all():
                result.labelled[name] = known
    result.splits, wrong = check_splits(given["splits"], clips)
    problems += wrong
    result.ids, wrong = _ids(ids, clips)
    problems += wrong
    for name, array in given["masks"].items():
        if array.dtype != bool or array.shape != (clips, steps):
            problems.append(f"mask of {name}: found {array.dtype} {array.shape}, need bool {(clips, steps)}")
        result.masks[name] = np.ma.filled(array, False)
    for name, array in given["media"].items():
        if array.dtype.kind != "U" or array.shape != (clips, steps):
            problems.append(f"media of {name}: found {array.dtype} {array.shape}, need text {(clips, steps)}")
            continue
        wrong = [problem for reference in np.unique(array) if (problem := reference_problem(str(reference)))]
        if wrong:
            problems.append(f"media of {name}: {len(wrong)} references cannot be used; {wrong[0]}")
        result.media[name] = array
    try:
        text = json.dumps(given["provenance"], allow_nan=False, ensure_ascii=False)
        result.provenance = json.loads(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        problems.append(f"provenance cannot be written as JSON ({error}); use text, numbers, lists and dicts")
    return result, [problem for problem in problems if problem]


def _as_names(what: str, given: Any) -> tuple[dict[str, list[str]], list[str]]:
    """Return lists of names by label, and what is none."""
    entries, problems = as_dict(what, given)
    lists = {}
    for name, names in entries.items():
        listed = _texts(names)
        if listed is None:
            problems.append(f"{what} of {name}: found {type(names).__name__}, need a list of names")
            continue
        lists[name] = listed
        if bad := [entry for entry in listed if not _plain(entry)]:
            problems.append(f"{what} of {name}: {_not_plain(bad)}")
    return lists, problems


def _texts(values: Any) -> list[str] | None:
    """Return the entries of a list as text, in which é is é however it was typed; None if it is none."""
    if isinstance(values, str | bytes | set | frozenset | Mapping):  # a set has no order, a dict perhaps another one
        return None
    try:
        return [unicodedata.normalize("NFC", str(value)) for value in values]
    except TypeError:
        return None


def _plain(text: str) -> bool:
    """Whether text can stand in a line: some letters, no control characters, no half of a surrogate pair."""
    return 0 < len(text) <= _LONGEST and not any(unicodedata.category(c) in ("Cc", "Cs") for c in text)


def _not_plain(names: Sequence[str]) -> str:
    return f"found {len(names)} like {names[0][:40]!r}; need 1 to {_LONGEST} letters without control characters"


def _label(
    name: str, array: np.ndarray, classes: Sequence[str] | None, seen: tuple[str, ...], clips: int, steps: int
) -> tuple[np.ndarray, np.ndarray, LabelInfo, list[str]]:
    """Return a label in the type it is kept in, where it is known if it is bool, what it means, and what is wrong."""
    names = tuple(classes) if classes is not None else ()
    problems = [] if matches(FILE_NAME, name) else [bad_name("label", name)]
    if len(set(names)) < len(names):
        problems.append(f"label {name}: class names repeat: {sorted({c for c in names if names.count(c) > 1})}")
    array = _numbers(array)
    if array.dtype.kind in "OU":
        array, names, wrong = _from_text(name, array, names)
        problems += wrong
    if array.ndim == 3 and (array.dtype.kind in "iu" or (name == "event" and array.dtype.kind == "f")):
        array, wrong = _switches(name, array)
        problems += wrong
    known = ~np.ma.getmaskarray(array).any(axis=-1) if array.dtype == bool and array.ndim else np.True_
    if isinstance(array, np.ma.MaskedArray):
        array = array.astype(np.int64) if array.dtype.kind in "iu" else array
        array = array.filled({"b": False, "i": -1, "f": np.nan}[array.dtype.kind])
    kind = {"b": "multilabel", "i": "category", "u": "category", "f": "continuous"}.get(array.dtype.kind, "")
    width = 0 if kind == "category" else 1
    level = "step" if array.ndim == 2 + width else "clip"
    shape = (clips, steps) if level == "step" else (clips,)
    each_step = array.dtype == bool and array.ndim == 3 and array.shape[:2] == (clips, steps) and array.shape[2] > 0
    if name == "event" and not each_step:
        problems.append(
            f"label event: found {array.dtype} {array.shape}, need bool [{clips},{steps},C]: the classes of each step, "
            "as probes learn them; give it so, or call it otherwise"
        )
    elif not kind:
        problems.append(f"label {name}: found type {array.dtype}, need bool, integer, text or floating")
    elif array.ndim not in (1 + width, 2 + width) or array.shape[: len(shape)] != shape or 0 in array.shape:
        need = f"[{clips}{',C' * width}] or [{clips},{steps}{',C' * width}]"
        problems.append(f"label {name}: found {array.dtype} {array.shape}, need {need}")
    if problems:
        return array, known, LabelInfo(name, kind, level, names, seen), problems
    if kind == "category":
        array, names, problems = _category(name, array, names if classes is not None or names else None)
    elif (kind == "multilabel" or names) and array.shape[-1] != len(names):
        problems.append(f"label {name}: found {array.shape[-1]} columns and {len(names)} class names; give one each")
    if not (known.any() if kind == "multilabel" else kind == "category" or np.isfinite(array).any()):
        problems.append(f"label {name}: nothing is known of it; leave it out")
    if kind == "continuous":
        bad = np.argwhere(np.isinf(array))
        if len(bad):
            problems.append(f"label {name}: found {len(bad)} values that are infinite, first at clip {bad[0][0]}")
        array = array.astype(np.float64 if array.dtype.itemsize > 4 else array.dtype.newbyteorder("<"))
    elif kind == "multilabel":
        array = array & known[..., None]
    return array, known, LabelInfo(name, kind, level, names, seen), problems


def _missing(value: Any) -> bool:
    """Whether a cell is None, NaN, or what pandas puts for it."""
    differs = value != value
    if isinstance(differs, bool | np.bool_):
        return value is None or bool(differs)
    return not isinstance(differs, np.ndarray)


def _numbers(array: np.ndarray) -> np.ndarray:
    """Return objects that are numbers where they are not missing, and whole ones a clip, as masked numbers."""
    if array.dtype == object:
        cells = np.ma.getdata(array)
        missing = np.ma.getmaskarray(array) | np.array([_missing(v) for v in cells.flat], bool).reshape(array.shape)
        values = cells[~missing].tolist()
        if not values or not all(isinstance(v, bool | int | float | np.bool_ | np.number) for v in values):
            return array
        found = np.array(values)
        filled = np.zeros(array.shape, found.dtype)
        filled[~missing] = found
        array = np.ma.array(filled, mask=missing)
    if array.dtype.kind == "f" and array.ndim == 1:  # as pandas keeps numbers of classes beside missing ones
        array = np.ma.masked_invalid(array)
        whole = array.compressed()
        if len(whole) and (whole == np.rint(whole)).all():
            return np.ma.array(array.filled(0).astype(np.int64), mask=array.mask)
    return array


def _switches(name: str, array: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return numbers that say which classes hold, 0 and 1, as masked bools; -1 and NaN are missing."""
    values, missing = np.ma.getdata(array), np.ma.getmaskarray(array)
    missing = missing | (values == -1) | (values != values)
    if len(odd := np.unique(values[~missing & (values != 0) & (values != 1)])):
        return array, [f"label {name}: found values like {odd[0]}, need 0 and 1, and -1 or NaN where it is unknown"]
    return np.ma.array(values == 1, mask=missing), []


def _category(
    name: str, array: np.ndarray, names: tuple[str, ...] | None
) -> tuple[np.ndarray, tuple[str, ...], list[str]]:
    """Number the classes of an integer label: as they are where they have names, else by the values that occur."""
    low, top = int(array.min()), int(array.max())
    if names is None:
        values = np.unique(array[array >= 0])
        if len(values) > MAX_CLASSES:
            return array, (), [f"label {name}: found {len(values):,} different values, need at most {MAX_CLASSES:,}"]
        names = tuple(str(v) for v in (range(top + 1) if top <= 4 * len(values) else values))
        if top > 4 * len(values):  # numbers that stand for something else, such as years: count those that occur
            array = np.where(array >= 0, np.searchsorted(values, array), array)
            top = len(values) - 1
    if top >= len(names) or low < -1:
        need = f"-1 (none) to {len(names) - 1} for its {len(names)} class names"
        return array, names, [f"label {name}: found values {array.min()} to {top}, need {need}"]
    return array.astype(np.int64), names, []


def _from_text(name: str, array: np.ndarray, names: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...], list[str]]:
    """Turn labels as text into numbers of classes; None, NaN and empty text are -1."""
    flat = ["" if _missing(v) else v for v in np.ma.filled(array, None).ravel().tolist()]
    strangers = sorted({type(v).__name__ for v in flat if not isinstance(v, str)})
    if strangers:
        return array, names, [f"label {name}: found values of type {', '.join(strangers)}, need text or numbers"]
    flat = [unicodedata.normalize("NFC", value) for value in flat]
    found = sorted(set(flat) - {""})
    if bad := [value for value in found if not _plain(value)]:
        return array, names, [f"label {name}: {_not_plain(bad)}"]
    if names and (unknown := [value for value in found if value not in set(names)]):
        return array, names, [f"label {name}: found classes {unknown[:5]}, need some of its {len(names)} class names"]
    place = {value: number for number, value in enumerate(names or found)} | {"": -1}
    return np.array([place[v] for v in flat], np.int64).reshape(array.shape), names or tuple(found), []


def check_splits(splits: dict[str, np.ndarray], clips: int) -> tuple[dict[str, np.ndarray], list[str]]:
    result, problems = {}, []
    if not splits:
        problems.append("found no splits, need at least one, e.g. splits={'train': rows, 'val': rows, 'test': rows}")
    owner = np.full(clips, -1)
    for number, (name, rows) in enumerate(splits.items()):
        if not matches(FILE_NAME, name):
            problems.append(bad_name("split", name))
        elif rows.size == 0:
            problems.append(f"split {name} is empty; give it clips or leave it out")
        elif rows.ndim != 1 or rows.dtype.kind not in "iu":
            problems.append(f"split {name}: found {rows.dtype} {rows.shape}, need a list of row numbers")
        elif rows.min() < 0 or rows.max() >= clips:
            problems.append(f"split {name}: found rows {rows.min()} to {rows.max()}, need 0 to {clips - 1}")
        else:
            rows = rows.astype(np.int64)
            if len(np.unique(rows)) < len(rows):
                problems.append(f"split {name}: {len(rows) - len(np.unique(rows))} rows are listed more than once")
            for other in np.unique(owner[rows]):
                if other >= 0:
                    shared = int((owner[rows] == other).sum())
                    problems.append(f"splits {list(splits)[other]} and {name} overlap in {shared} clips; need disjoint")
            owner[rows] = number
            result[name] = rows
    return result, problems


def _ids(ids: Sequence[str] | None, clips: int) -> tuple[np.ndarray, list[str]]:
    if ids is None:
        return np.array([f"clip-{row:06d}" for row in range(clips)]), []
    names = _texts(ids)
    if names is None:
        return np.empty(0, str), [f"ids: found {type(ids).__name__}, need a list of {clips} names"]
    problems = []
    if len(names) != clips:
        problems.append(f"found {len(names)} ids for {clips} clips; give one each")
    if bad := [name for name in names if not _plain(name)]:
        return np.empty(0, str), [*problems, f"ids: {_not_plain(bad)}"]
    forms, counts = np.unique(names, return_counts=True)
    repeated = forms[counts > 1]
    if len(repeated):
        shown = ", ".join(repeated[:5]) + (", ..." if len(repeated) > 5 else "")
        problems.append(f"found {len(repeated)} ids more than once ({shown}); ids must be unique")
    return np.array(names), problems
