"""What a feature store may hold: every check made before a byte is written, and the words for what is wrong.

Checks return lists of sentences instead of raising, so that a caller can report all problems at once.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from srcid.problems import ProblemsError
from srcid.values import reserved

CHUNK_BYTES = 32 * 2**20
"""Bytes of one modality that are looked at or copied at a time, so that memory stays bounded."""

SPLITS = ("train", "val", "test")
"""The splits that training, probes and this package's own data sets have."""

MAX_CLASSES = 10**6
"""Classes that a label may have."""

FILE_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
MODALITY = r"[A-Za-z][A-Za-z0-9_-]{0,99}"
"""Patterns of the names of labels and splits, and of modalities: they become file names."""

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
            # as objects, or NumPy would turn what is missing among text into text: NaN into "nan"
            text = isinstance(values, list | tuple) and any(isinstance(value, str) for value in values)
            arrays[name] = np.array(values, object) if text else np.asanyarray(values)
        except Exception as error:  # whatever a foreign object says when it is asked for its numbers
            problems.append(f"{what} {name}: found {type(values).__name__}, need one array ({str(error)[:200]})")
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


def check_room(path: Path, need: int) -> list[str]:
    """The disk on which a store is to be made has room for ``need`` bytes."""
    there = next((parent for parent in path.absolute().parents if os.path.exists(parent)), Path.cwd())
    free = shutil.disk_usage(there).free
    if free >= need:
        return []
    found, wanted = (f"{size / 1e6:,.1f} MB" for size in (free, need))
    return [f"found {found} free on the disk of {there}, need {wanted}; make room or choose another"]


def check_names(modalities: Sequence[str], evaluation_only: bool) -> list[str]:
    """Modality names and their number."""
    if not isinstance(evaluation_only, bool):
        return [f"evaluation_only: found {evaluation_only!r:.60}, need True or False"]
    need = 1 if evaluation_only else 2
    problems = [problem] if (problem := only_case("modalities", modalities)) else []
    for name in modalities:
        if not matches(MODALITY, name):
            form = "a letter, then letters, digits, '_' and '-', and none of Windows' own (CON, NUL, COM1, ...)"
            problems.append(f"modality name {name!r:.60} cannot be used; need {form}")
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
    if not all(isinstance(n, int | np.integer) for n in shape):
        return [f"{name}: found shape {tuple(shape)}, need whole numbers"]
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


def matches(pattern: str, name: Any) -> bool:
    """Whether ``name`` is text of this form throughout, and no device of Windows."""
    return isinstance(name, str) and re.fullmatch(pattern, name) is not None and not reserved(name)


def only_case(what: str, names: Iterable[Any]) -> str:
    """The sentence on names that some systems take for one and the same file, or nothing."""
    seen: dict[str, str] = {}
    pairs = [(seen.setdefault(name.lower(), name), name) for name in names if isinstance(name, str)]
    found = [f"{first!r:.60} and {name!r:.60}" for first, name in pairs if first != name]
    return f"{what} {found[0]} differ in case only; they name one file on some systems" if found else ""


def bad_name(kind: str, name: Any) -> str:
    """The sentence on a name that cannot be a file name."""
    need = "at most 100 letters, digits and '_', '-', '.' inside, and none of Windows' own (CON, NUL, COM1, ...)"
    return f"{kind} name {name!r:.60} cannot be a file name; use {need}"
