"""Features as people have them: lists of unequal length, a column of a DataFrame, rows one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from srcid.features.checks import StoreError


def padded(features: Any, masks: Any) -> tuple[Any, Any, list[str]]:
    """Bring clips of unequal length to one, and mask the steps that were added.

    Args:
        features: per modality an array, or a sequence (list, column of a DataFrame) of one array ``[t, F]`` or
            ``[t, H, W, F]`` a clip; a DataFrame counts as its columns.
        masks: masks of steps, as for :meth:`FeatureStore.create`.

    Returns:
        Features as arrays ``[N, T, ...]`` where they were sequences of unequal length, T being the longest; masks; and
        sentences on clips that do not fit the others of their modality.
    """
    if hasattr(features, "columns") and hasattr(features, "to_dict"):
        features = {str(name): features[name] for name in features.columns}
    if not isinstance(features, Mapping):
        return features, masks, []
    features, problems = dict(features), []
    clips = {name: found for name, values in features.items() if (found := _clips(values)) is not None}
    lengths = [len(clip) for found in clips.values() for clip in found]
    lengths += [np.shape(v)[1] for n, v in features.items() if n not in clips and np.ndim(v) >= 3] if clips else []
    masks = dict(masks or {}) if clips and (masks is None or isinstance(masks, Mapping)) else masks
    for name, found in clips.items():
        tails = [clip.shape[1:] for clip in found]
        odd = [n for n, tail in enumerate(tails) if tail != tails[0] or found[n].dtype.kind not in "fiub"]
        if odd:
            clip = found[odd[0]]
            need = ", ".join(map(str, ("t", *tails[0])))
            problems.append(f"{name}: clip {odd[0]} is {clip.dtype} {list(clip.shape)}, need numbers [{need}]")
            continue
        values = np.zeros((len(found), max(lengths), *tails[0]), np.result_type(*{clip.dtype for clip in found}))
        present = np.arange(max(lengths)) < np.array([[len(clip)] for clip in found])
        for row, clip in enumerate(found):
            values[row, : len(clip)] = clip
        features[name] = values
        if isinstance(masks, dict) and not present.all():
            _mask_absent(masks, name, present)
    return features, masks, problems


def unmasked(arrays: dict[str, np.ndarray], masks: Any) -> tuple[dict[str, np.ndarray], Any]:
    """Return features without masked values (``numpy.ma``), and the masks of steps that say so."""
    covered = {
        name: ~np.ma.getmaskarray(array).reshape(*array.shape[:2], -1).any(axis=2)
        for name, array in arrays.items()
        if isinstance(array, np.ma.MaskedArray) and array.ndim >= 3 and array.size
    }
    if not covered or not (masks is None or isinstance(masks, Mapping)):
        return arrays, masks
    masks = dict(masks or {})
    for name, present in covered.items():
        _mask_absent(masks, name, present)
    return {name: array.filled(0) if name in covered else array for name, array in arrays.items()}, masks


def _mask_absent(masks: dict[str, Any], name: str, present: np.ndarray) -> None:
    """Let steps that are not ``present`` be missing, whatever the mask says; one that is none stays, to be refused."""
    given = np.asarray(masks.get(name, True))
    masks[name] = present & given if given.dtype == bool and given.shape in ((), present.shape) else given


def _clips(values: Any) -> list[np.ndarray] | None:
    """Return the clips of a sequence that makes no one array; None where it does, or is no sequence of clips."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        return None
    try:
        clips = [np.asarray(clip) for clip in values]
    except Exception:  # whatever a foreign object says when it is asked for its numbers
        return None
    ranks = {clip.ndim for clip in clips}
    if len(ranks) != 1 or not ranks <= {2, 4}:
        return None
    return clips


def gather(
    rows: Iterable[Mapping[str, Any]], features: Sequence[str], labels: Sequence[str], split: str, name: str | None
) -> dict[str, Any]:
    """Return the arguments of :meth:`FeatureStore.create` that rows, one a clip, amount to.

    Raises:
        StoreError: a row lacks what others have, or there is none.
    """
    wanted = [*features, *labels, split, *([name] if name else [])]
    columns: dict[str, list[Any]] = {column: [] for column in wanted}
    for number, row in enumerate(rows):
        if lacking := [column for column in wanted if column not in row]:
            problem = f"row {number} has no {', '.join(lacking)}; it has {list(row)}"
            raise StoreError("the rows make no store:", [problem])
        for column in wanted:
            columns[column].append(row[column])
    if not columns[split]:
        raise StoreError("the rows make no store:", ["found no rows"])
    splits = np.array([str(value) for value in columns[split]])
    return dict(
        features={m: columns[m] for m in features},
        labels={label: columns[label] for label in labels},
        splits={part: np.flatnonzero(splits == part) for part in dict.fromkeys(splits.tolist())},
        ids=columns[name] if name else None,
    )


def joined_clips(values: Any, steps: int) -> Any:
    """Join a label given as one array a clip, None where a clip has none; anything else is returned as it is.

    Args:
        values: a sequence of arrays ``[t, ...]``, or ``[C]``, with t at most ``steps``.
        steps: T.

    Returns:
        A masked array ``[N, T, ...]`` or ``[N, C]``, masked where a clip has no label or fewer steps.
    """
    if isinstance(values, str) or (isinstance(values, np.ndarray) and values.dtype != object):
        return values
    try:
        clips = [None if value is None or value is np.ma.masked else np.ma.asanyarray(value) for value in values]
    except Exception:
        return values
    given = [clip for clip in clips if clip is not None and clip.ndim]
    shapes = {clip.shape for clip in given}
    if not given or (len(given) == len(clips) and len(shapes) == 1):
        return values
    # a clip without a label is None, or the NaN that pandas puts in its place
    stray = [clip for clip in clips if clip is not None and clip.ndim == 0 and not (clip != clip).all()]
    if stray or len({shape[1:] for shape in shapes}) > 1 or any(clip.dtype.kind not in "biuf" for clip in given):
        return values
    length = steps if len(shapes) > 1 or given[0].ndim > 1 else len(given[0])
    if max(map(len, given)) > length:
        return values
    joined = np.ma.masked_all((len(clips), length, *given[0].shape[1:]), np.result_type(*(c.dtype for c in given)))
    for row, clip in enumerate(clips):
        if clip is not None and clip.ndim:
            joined[row, : len(clip)] = clip
    return joined
