"""What a feature store may hold: every check made before a byte is written, and the words for what is wrong.

Checks return lists of sentences instead of raising, so that a caller can report all problems at once.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from srcid.problems import ProblemsError

CHUNK_BYTES = 32 * 2**20
"""Bytes of one modality that are looked at or copied at a time, so that memory stays bounded."""

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_MODALITY = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")

RESERVED = frozenset((
    "T_destination", "add_module", "apply", "bfloat16", "buffers", "call_super_init", "children", "clear",
    "compile", "cpu", "cuda", "double", "dump_patches", "eval", "extra_repr", "float", "forward", "get_buffer",
    "get_extra_state", "get_parameter", "get_submodule", "half", "ipu", "items", "keys", "load_state_dict",
    "modules", "mtia", "named_buffers", "named_children", "named_modules", "named_parameters", "parameters",
    "pop", "register_backward_hook", "register_buffer", "register_forward_hook", "register_forward_pre_hook",
    "register_full_backward_hook", "register_full_backward_pre_hook", "register_load_state_dict_post_hook",
    "register_load_state_dict_pre_hook", "register_module", "register_parameter", "register_state_dict_post_hook",
    "register_state_dict_pre_hook", "requires_grad_", "set_extra_state", "set_submodule", "share_memory",
    "state_dict", "to", "to_empty", "train", "training", "type", "update", "values", "xpu", "zero_grad",
))  # fmt: skip
"""Names that no modality can have: those of ``torch.nn.ModuleDict``, in which the network keeps its parts."""


class StoreError(ProblemsError):
    """Data that cannot become a store, or a folder that cannot be read as one; lists every problem found."""


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


def as_arrays(what: str, given: Mapping[str, Any] | None) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the values of ``given`` as arrays (memory maps stay), and what of ``what`` is no array."""
    entries, problems = as_dict(what, given)
    arrays = {}
    for name, values in entries.items():
        try:
            arrays[name] = np.asanyarray(values)
        except (TypeError, ValueError) as error:
            problems.append(f"{what} {name}: found {type(values).__name__}, need one array ({error})")
    return arrays, problems


def as_dict(what: str, given: Mapping[str, Any] | None) -> tuple[dict[str, Any], list[str]]:
    """Return ``given`` as a dict, and what is wrong where it is none."""
    if given is None or isinstance(given, Mapping):
        return dict(given or {}), []
    return {}, [f"{what}: found {type(given).__name__}, need a dict by name"]


def check_target(path: Path) -> list[str]:
    """Nothing lies where a store is to be made."""
    if os.path.lexists(path):
        return [f"found something at {path}; stores are never overwritten: remove it or choose another path"]
    return []


def check_names(modalities: Sequence[str], evaluation_only: bool) -> list[str]:
    """Modality names and their number."""
    need = 1 if evaluation_only else 2
    problems = []
    for name in modalities:
        if not _matches(_MODALITY, name):
            problems.append(f"modality name {name!r} cannot be used; need a letter, then letters, digits, '_' and '-'")
        elif name in RESERVED:
            problems.append(f"modality name {name!r} has a meaning of its own in a network; need another one")
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


def check_type(name: str, array: np.ndarray) -> list[str]:
    """Type of one modality's values."""
    return [] if array.dtype.kind in "fiub" else [f"{name}: found values of type {array.dtype}, need real numbers"]


def check_counts(word: str, counts: Mapping[str, int]) -> list[str]:
    """Every modality has the same number of clips or steps."""
    if len(set(counts.values())) < 2:
        return []
    found = ", ".join(f"{name} {count}" for name, count in counts.items())
    return [f"found unequal numbers of {word} ({found}); every modality needs the same"]


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


def check_features(features: Mapping[str, np.ndarray]) -> list[str]:
    """Everything about the feature arrays of a store but their names; reads each value once."""
    problems, good = [], {}
    for name, array in features.items():
        wrong = check_shape(name, array.shape) + check_type(name, array)
        problems += wrong
        if not wrong:
            good[name] = array
    for axis, word in enumerate(("clips", "steps")):
        problems += check_counts(word, {name: array.shape[axis] for name, array in good.items()})
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
    result, problems = Annotations(), []
    given: dict[str, dict[str, Any]] = {}
    for what, convert, values in (
        ("labels", as_arrays, labels),
        ("splits", as_arrays, splits),
        ("masks", as_arrays, masks),
        ("media", as_arrays, media),
        ("classes", as_dict, classes),
        ("visible_in", as_dict, visible_in),
        ("provenance", as_dict, provenance),
    ):
        given[what], wrong = convert(what, values)
        problems += wrong
    named = list(as_dict("labels", labels)[0])
    for what, known in (("classes", named), ("visible_in", named), ("masks", modalities), ("media", modalities)):
        for name in sorted(set(given[what]) - set(known), key=str):
            problems.append(f"{what} names '{name}', which is none of {', '.join(map(str, known)) or 'no entries'}")
    for name, values in given["labels"].items():
        seen = tuple(given["visible_in"].get(name, modalities))
        strangers = sorted(set(seen) - set(modalities))
        if strangers:
            problems.append(f"label {name}: visible_in names {strangers}, need some of {list(modalities)}")
        array, info, wrong = _label(name, values, given["classes"].get(name), seen, clips, steps)
        problems += wrong
        if not wrong:
            result.labels[name], result.info[name] = array, info
    result.splits, wrong = _splits(given["splits"], clips)
    problems += wrong
    result.ids, wrong = _ids(ids, clips)
    problems += wrong
    for name, array in given["masks"].items():
        if array.dtype != bool or array.shape != (clips, steps):
            problems.append(f"mask of {name}: found {array.dtype} {array.shape}, need bool {(clips, steps)}")
        result.masks[name] = array
    for name, array in given["media"].items():
        if array.dtype.kind != "U" or array.shape != (clips, steps):
            problems.append(f"media of {name}: found {array.dtype} {array.shape}, need text {(clips, steps)}")
        result.media[name] = array
    try:
        result.provenance = json.loads(json.dumps(given["provenance"], allow_nan=False))
    except (TypeError, ValueError) as error:
        problems.append(f"provenance cannot be written as JSON ({error}); use text, numbers, lists and dicts")
    return result, problems


def _matches(pattern: re.Pattern[str], name: Any) -> bool:
    return isinstance(name, str) and pattern.fullmatch(name) is not None


def _bad_name(kind: str, name: str) -> str:
    return f"{kind} name {name!r} cannot be a file name; use letters, digits and '_', '-', '.' inside"


def _label(
    name: str, array: np.ndarray, classes: Sequence[str] | None, seen: tuple[str, ...], clips: int, steps: int
) -> tuple[np.ndarray, LabelInfo, list[str]]:
    kind = {"b": "multilabel", "i": "category", "u": "category", "f": "continuous"}.get(array.dtype.kind, "")
    width = 0 if kind == "category" else 1
    level = "step" if array.ndim == 2 + width else "clip"
    shape = (clips, steps) if level == "step" else (clips,)
    problems = [] if _matches(_FILE_NAME, name) else [_bad_name("label", name)]
    each_step = array.dtype == bool and array.ndim == 3 and array.shape[:2] == (clips, steps) and array.shape[2] > 0
    if name == "event" and not each_step:
        problems.append(
            f"label event: found {array.dtype} {array.shape}, need bool [{clips},{steps},C]: the classes of each step, "
            "as probes learn them; give it so, or call it otherwise"
        )
    elif not kind:
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
    for number, (name, rows) in enumerate(splits.items()):
        if not _matches(_FILE_NAME, name):
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
