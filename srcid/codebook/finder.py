"""Find clips by what is known of them: their split, a class, a code, modalities that differ; surest doubts first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from srcid.codes import CodeTableError
from srcid.symbols import InspectionError, check_layer, clip_rows, label_of, split_numbers, symbols_of

# orders: a column of the table, and whether the smallest come first
SORTS = {"margin": True, "differ": False, "steps": False, "clip": True}


def find_clips(
    table: Any,
    clips: Any = None,
    layer: int = 1,
    code: int = -1,
    label: str | None = None,
    name: str = "",
    differ: tuple[str, str] | None = None,
    sort: str = "margin",
) -> pd.DataFrame:
    """Find the clips with a step, in any modality, for which all that is asked holds at once.

    Args:
        table: a CodeTable.
        clips: split, rows, or None for all clips.
        code: symbol that the step has, as in ``table.code``; -1 for any.
        label, name: the step holds class ``name`` of this label (None for "event", or the first); "" for any.
        differ: two modalities that have different codes at the step; None for any.
        sort: one of :data:`SORTS`.

    Returns:
        a row a clip: ``clip`` (row of the table), ``id``, ``split``, ``classes`` of the label, ``steps`` (how many
        hold, over modalities), ``differ`` (share of the steps at which the two modalities differ; without two, any),
        ``margin`` (the smallest of these steps), and of that step ``modality``, ``step`` and ``code``. What could not
        be told is in ``attrs["notes"]``.

    Raises:
        InspectionError: no codes, no such split, layer, code, class, modality or order.
    """
    if sort not in SORTS:
        raise InspectionError(f"found the order '{sort}', need one of {', '.join(SORTS)}")
    check_layer(table, layer)
    codes = symbols_of(table, layer, None, clips)
    if not -1 <= code < codes.size:
        raise InspectionError(f"found codes 0 to {codes.size - 1} in layer {layer}, not a code {code}")
    rows, values, notes = clip_rows(table, clips), np.stack(list(codes.values.values())), []
    wanted = (values >= 0) & ((values == code) | (code < 0))
    classes, holds = _classes(table, label, name, rows, notes)
    wanted &= holds
    different, both = _differing(codes.modalities, values, differ)
    if differ is not None:
        places = np.isin(codes.modalities, differ)
        wanted &= different & places[:, None, None]
    margin = _margins(table, layer, codes.modalities, rows, notes)
    found = np.flatnonzero(wanted.any((0, 2)))
    # of equal or unknown margins the first step that holds
    doubt = np.where(wanted, np.where(np.isnan(margin), np.inf, margin), np.nan)
    flat = doubt[:, found].transpose(1, 0, 2).reshape(len(found), len(values) * codes.steps)
    first = np.nanargmin(flat, axis=1) if len(found) else np.zeros(0, int)
    modality, step = np.unravel_index(first, (len(values), codes.steps))
    split = np.array([*table.splits, ""], object)[split_numbers(table)]
    frame = pd.DataFrame(
        {
            "clip": rows[found],
            "id": np.asarray(table.ids)[rows[found]],
            "split": split[rows[found]],
            "classes": [classes[i] for i in found],
            "steps": wanted.sum((0, 2))[found],
            "differ": (different.sum(1) / np.maximum(both.sum(1), 1))[found],
            "margin": margin[modality, found, step],
            "modality": np.array(codes.modalities, object)[modality],
            "step": step,
            "code": values[modality, found, step],
        }
    )
    frame = frame.sort_values([sort, "clip"], ascending=[SORTS[sort], True], kind="stable", ignore_index=True)
    frame.attrs["notes"] = tuple(notes)
    return frame


def _classes(table: Any, label: str | None, name: str, rows: np.ndarray,
             notes: list[str]) -> tuple[list[str], np.ndarray]:  # fmt: skip
    """Classes of each clip in words, and where the class asked for holds, ``[n, T]``."""
    try:
        seen = label_of(table, label, rows)
    except InspectionError as problem:
        if name:
            raise
        notes.append(str(problem))
        return [""] * len(rows), np.ones((len(rows), table.steps), bool)
    if name and name not in seen.classes:
        raise InspectionError(f"found no class '{name}' of '{seen.name}', need one of {', '.join(seen.classes)}")
    members = np.asarray(seen.members().todense(), bool).reshape(len(rows), table.steps, -1)
    told = members.any(axis=1)
    if seen.background >= 0:
        told[:, seen.background] &= told.sum(axis=1) == 1  # nothing but background
    words = [" + ".join(np.array(seen.classes, object)[line]) for line in told]
    holds = members[..., seen.classes.index(name)] if name else np.ones(members.shape[:2], bool)
    return words, holds


def _differing(modalities: tuple[str, ...], values: np.ndarray,
               differ: tuple[str, str] | None) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Where two modalities have different codes, and where both have one, ``[n, T]``; of all pairs where None."""
    if differ is not None and (lost := [m for m in differ if m not in modalities]):
        raise InspectionError(f"found no modality '{lost[0]}', only {', '.join(modalities)}")
    names = modalities if differ is None else differ
    part = values[[modalities.index(m) for m in names]]
    both = (part >= 0).all(axis=0)
    return both & (part != part[0]).any(axis=0), both


def _margins(table: Any, layer: int, modalities: tuple[str, ...], rows: np.ndarray, notes: list[str]) -> np.ndarray:
    try:
        return np.stack([table.margin(layer, m)[rows] for m in modalities])
    except CodeTableError as problem:
        notes.append(str(problem))
        return np.full((len(modalities), len(rows), table.steps), np.nan)
