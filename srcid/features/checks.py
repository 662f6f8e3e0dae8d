"""What a feature store may hold: every check made before a byte is written, and the words for what is wrong.

Checks return lists of sentences instead of raising, so that a caller can report all problems at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

CHUNK_BYTES = 32 * 2**20
"""Bytes of one modality that are looked at or copied at a time, so that memory stays bounded."""

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class StoreError(ValueError):
    """Data that cannot become a store, or a folder that cannot be read as one; lists every problem found."""

    def __init__(self, heading: str, problems: Sequence[str]):
        self.problems = tuple(problems)
        super().__init__("\n".join([heading, *(f"  - {problem}" for problem in problems)]))


@dataclass(frozen=True)
class LabelInfo:
    """What a label means.

    Attributes:
        name: name of the label; ``event`` is the one probes learn.
        kind: ``multilabel`` (bool, last axis = classes), ``category`` (integer, -1 = none) or ``continuous``.
        level: ``step`` (one value per clip and step) or ``clip``.
        classes: class names; for ``continuous`` the names of the dimensions, possibly empty.
        visible_in: the modalities that carry this factor.
    """

    name: str
    kind: str
    level: str
    classes: tuple[str, ...]
    visible_in: tuple[str, ...]


@dataclass
class Annotations:
    """Everything in a store that is not a feature, normalised; see :meth:`FeatureStore.create`."""

    labels: dict[str, np.ndarray] = field(default_factory=dict)
    info: dict[str, LabelInfo] = field(default_factory=dict)
    splits: dict[str, np.ndarray] = field(default_factory=dict)
    ids: np.ndarray = field(default_factory=lambda: np.empty(0, str))
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    media: dict[str, np.ndarray] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)


def chunks(array: np.ndarray) -> Iterator[slice]:
    """Yield slices over the first axis of about :data:`CHUNK_BYTES` each."""
    step = max(1, CHUNK_BYTES * len(array) // max(1, array.nbytes))
    return (slice(start, start + step) for start in range(0, len(array), step))


def check_names(modalities: Sequence[str], evaluation_only: bool) -> list[str]:
    """Modality names and their number."""
    need = 1 if evaluation_only else 2
    problems = [_bad_name("modality", name) for name in modalities if not _FILE_NAME.fullmatch(str(name))]
    if len(modalities) < need:
        advice = "add one" if evaluation_only else "add one, or say evaluation_only=True"
        problems.append(f"found {len(modalities)} modalities, need {need} or more; {advice}")
    return problems


def check_shape(name: str, shape: Sequence[int]) -> list[str]:
    """Shape ``[N, T, F]`` or ``[N, T, H, W, F]`` of one modality."""
    if len(shape) not in (3, 5):
        return [f"{name}: found rank {len(shape)} {tuple(shape)}, need [N,T,F] or [N,T,H,W,F]"]
    if min(shape) < 1:
        return [f"{name}: found an empty axis in {tuple(shape)}, need at least 1 everywhere"]
    return []


def check_finite(name: str, array: np.ndarray, first_clip: int = 0) -> list[str]:
    """Finiteness after conversion to the stored type: how many values are not, and where the first one is."""
    nan = infinite = 0
    where = ""
    for part in chunks(array):
        values = stored(array[part])
        finite = np.isfinite(values)
        if finite.all():
            continue
        nan += int(np.isnan(values).sum())
        infinite += int(np.isinf(values).sum())
        if not where:
            clip, step = np.argwhere(~finite)[0][:2]
            where = f"first at clip {first_clip + part.start + clip}, step {step}"
    if not where:
        return []
    found = f"{name}: found {nan} NaN and {infinite} infinite values ({where})"
    return [f"{found}; replace them or leave those clips out"]


def stored(array: np.ndarray) -> np.ndarray:
    """Contiguous values in the type they are stored in: float16 stays, every other number becomes float32."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, stored_dtype(array))


def stored_dtype(array: np.ndarray) -> np.dtype:
    """Type on disk of an array's values."""
    return np.dtype("<f2" if array.dtype == np.float16 else "<f4")


def check_features(features: Mapping[str, np.ndarray], evaluation_only: bool) -> list[str]:
    """Everything about the feature arrays of a store; reads each value once."""
    problems = check_names(list(features), evaluation_only)
    good = {}
    for name, array in features.items():
        wrong = check_shape(name, array.shape)
        if array.dtype.kind not in "fiub":
            wrong.append(f"{name}: found values of type {array.dtype}, need real numbers")
        problems += wrong
        if not wrong:
            good[name] = array
    for axis, word in enumerate(("clips", "steps")):
        counts = {name: array.shape[axis] for name, array in good.items()}
        if len(set(counts.values())) > 1:
            found = ", ".join(f"{name} {count}" for name, count in counts.items())
            problems.append(f"found unequal numbers of {word} ({found}); every modality needs the same")
    for name, array in good.items():
        problems += check_finite(name, array)
    return problems


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
    """Return the normalised annotations of ``clips`` x ``steps``, and all that is wrong with them."""
    labels, classes, splits = dict(labels or {}), dict(classes or {}), dict(splits or {})
    visible_in = dict(visible_in or {})
    result, problems = Annotations(), []
    for kind, names, known in (
        ("classes", classes, labels),
        ("visible_in", visible_in, labels),
        ("masks", masks or {}, modalities),
        ("media", media or {}, modalities),
    ):
        for name in sorted(set(names) - set(known)):
            problems.append(f"{kind} names '{name}', which is none of {', '.join(known) or 'no entries'}")
    for name, values in labels.items():
        seen = tuple(visible_in.get(name, modalities))
        strangers = sorted(set(seen) - set(modalities))
        if strangers:
            problems.append(f"label {name}: visible_in names {strangers}, need some of {list(modalities)}")
        array, info, wrong = _label(name, np.asarray(values), classes.get(name), seen, clips, steps)
        problems += wrong
        if not wrong:
            result.labels[name], result.info[name] = array, info
    result.splits, wrong = _splits(splits, clips)
    problems += wrong
    result.ids, wrong = _ids(ids, clips)
    problems += wrong
    for name, values in (masks or {}).items():
        array = np.asarray(values)
        if array.dtype != bool or array.shape != (clips, steps):
            problems.append(f"mask of {name}: found {array.dtype} {array.shape}, need bool {(clips, steps)}")
        result.masks[name] = array
    for name, values in (media or {}).items():
        array = np.asarray(values)
        if array.dtype.kind != "U" or array.shape != (clips, steps):
            problems.append(f"media of {name}: found {array.dtype} {array.shape}, need text {(clips, steps)}")
        result.media[name] = array
    try:
        result.provenance = json.loads(json.dumps(dict(provenance or {}), allow_nan=False))
    except (TypeError, ValueError) as error:
        problems.append(f"provenance cannot be written as JSON ({error}); use text, numbers, lists and dicts")
    return result, problems


def _bad_name(kind: str, name: str) -> str:
    return f"{kind} name {name!r} cannot be a file name; use letters, digits and '_', '-', '.' inside"


def _label(
    name: str, array: np.ndarray, classes: Sequence[str] | None, seen: tuple[str, ...], clips: int, steps: int
) -> tuple[np.ndarray, LabelInfo, list[str]]:
    kind = {"b": "multilabel", "i": "category", "u": "category", "f": "continuous"}.get(array.dtype.kind, "")
    width = 0 if kind == "category" else 1
    level = "step" if array.ndim == 2 + width else "clip"
    shape = (clips, steps) if level == "step" else (clips,)
    problems = [] if _FILE_NAME.fullmatch(name) else [_bad_name("label", name)]
    if not kind:
        problems.append(f"label {name}: found type {array.dtype}, need bool, integer or floating")
    elif array.ndim not in (1 + width, 2 + width) or array.shape[: len(shape)] != shape:
        need = f"[{clips}{',C' * width}] or [{clips},{steps}{',C' * width}]"
        problems.append(f"label {name}: found {array.dtype} {array.shape}, need {need}")
    names = tuple(str(c) for c in classes) if classes is not None else ()
    if len(set(names)) < len(names):
        problems.append(f"label {name}: class names repeat: {sorted({c for c in names if names.count(c) > 1})}")
    if problems:
        return array, LabelInfo(name, kind, level, names, seen), problems
    if kind == "category":
        array = array.astype(np.int64)
        top = int(array.max(initial=-1))
        names = names if classes is not None else tuple(str(c) for c in range(top + 1))
        if top >= len(names) or array.min(initial=0) < -1:
            problems.append(
                f"label {name}: found values {array.min()} to {top}, need -1 (none) to {len(names) - 1} "
                f"for its {len(names)} class names"
            )
    elif (kind == "multilabel" or names) and array.shape[-1] != len(names):
        problems.append(f"label {name}: found {array.shape[-1]} columns and {len(names)} class names; give one each")
    if kind == "continuous":
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            problems.append(f"label {name}: found {len(bad)} values that are not finite, first at clip {bad[0][0]}")
    return array, LabelInfo(name, kind, level, names, seen), problems


def _splits(splits: dict[str, np.ndarray], clips: int) -> tuple[dict[str, np.ndarray], list[str]]:
    result, problems = {}, []
    if not splits:
        problems.append("found no splits, need at least one, e.g. splits={'train': rows, 'val': rows, 'test': rows}")
    owner = np.full(clips, -1)
    for number, (name, values) in enumerate(splits.items()):
        rows = np.asarray(values)
        if not _FILE_NAME.fullmatch(name):
            problems.append(_bad_name("split", name))
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
    array = np.array([str(i) for i in ids])
    problems = []
    if array.shape != (clips,):
        problems.append(f"found {len(array)} ids for {clips} clips; give one each")
    names, counts = np.unique(array, return_counts=True)
    repeated = names[counts > 1]
    if len(repeated):
        shown = ", ".join(repeated[:5]) + (", ..." if len(repeated) > 5 else "")
        problems.append(f"found {len(repeated)} ids more than once ({shown}); ids must be unique")
    return array, problems
