"""What a map is made of: features or code vectors, and what is known of each point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from srcid.problems import ProblemsError
from srcid.statistics import contingency
from srcid.symbols import (
    StepLabel,
    check_layer,
    clip_rows,
    label_names,
    label_of,
    labels_of,
    mixed_radix,
    split_numbers,
    symbols_of,
)

LIMIT = 20_000


class MapError(ProblemsError):
    """Points that make no map, and all that stands against it."""


@dataclass(frozen=True)
class Points:
    """Points to map.

    Attributes:
        features: float ``[n, D]``.
        columns: what is known of each point, by name, ``[n]``. Feature points have code, layer, modality,
            label, clip, step, split, agreement (do all modalities have one code there?) and every label by
            its name; code vectors have code, symbol (its number in ``table.code``, -1 where a stage's vector
            is none by itself), layer, stage, uses, ``uses/<modality>``, modality (the only one that uses it,
            "several", "all" or "none") and label (the most frequent one where it is used).
        title: "general features of layer 1".
        note: how points were chosen, or empty.
        order: of columns that hold classes, their names in the order of the data.
    """

    features: np.ndarray
    columns: dict[str, np.ndarray]
    title: str = "points"
    note: str = ""
    order: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, features: np.ndarray, title: str = "points", **columns: np.ndarray) -> Points:
        """Wrap arrays.

        Raises:
            MapError: features that are no real numbers or not ``[n, D]``, or columns of another length.
        """
        try:
            features = np.asarray(features)
        except ValueError:  # rows of unequal length
            raise MapError(
                "no points:", "found features that are no array; need [n, D], all rows of one length"
            ) from None
        if features.dtype.kind not in "biuf":
            raise MapError("no points:", f"found features of type {features.dtype}; need real numbers")
        features = features if features.dtype.kind == "f" else features.astype(np.float64)
        columns = {name: np.asarray(column) for name, column in columns.items()}
        wrong = [name for name, column in columns.items() if column.shape != features.shape[:1]]
        if features.ndim != 2 or wrong:
            others = f" and columns of other lengths ({', '.join(wrong)})" if wrong else ""
            raise MapError("no points:", f"found features of shape {features.shape}{others}; need [n, D] and n entries")
        return cls(features, columns, title)

    def shuffled(self, seed: int = 0) -> Points:
        """The same points in random order, so that a drawing hides no group behind the last one."""
        order = np.random.default_rng(seed).permutation(len(self.features))
        columns = {name: column[order] for name, column in self.columns.items()}
        return Points(self.features[order], columns, self.title, self.note, self.order)


def feature_points(table: Any, layer: int = 1, kind: str = "general",
                   modalities: Sequence[str] | None = None, clips: Any = None, limit: int = LIMIT,
                   seed: int = 0) -> Points:  # fmt: skip
    """Gather general features before quantisation, or specific features, from the clips the table keeps.

    Above ``limit`` points, places (clip and step) are drawn at random within each class of the main label,
    in proportion, and taken in all modalities, so that modalities can be compared place by place.

    Args:
        kind: "general" or "specific".
        modalities: None for all. Specific features differ in width by modality; those that do are mapped
            apart.
        clips: split, rows, or None: the kept clips among these.

    Raises:
        MapError: nothing kept, unknown modality, widths that differ.
        InspectionError: no such layer.
    """
    check_layer(table, layer)
    names = tuple(table.modalities) if modalities is None else tuple(modalities)
    unknown = [m for m in names if m not in table.modalities]
    if kind not in ("general", "specific") or unknown:
        raise MapError(
            "no points:",
            f"found the kind '{kind}' and modalities {names}; need general or specific, "
            f"and some of {', '.join(table.modalities)}",
        )
    kept = {m: _kept(table, kind, layer, m) for m in names}
    widths = {m: values.shape[-1] for m, (_, values) in kept.items()}
    if len(set(widths.values())) > 1:
        told = ", ".join(f"{m} {width}" for m, width in widths.items())
        raise MapError(
            "no points:", f"found {kind} features of different widths ({told}), which share no map; choose one modality"
        )
    among = None if clips is None else clip_rows(table, clips)
    places = {m: _places(table, m, rows, among) for m, (rows, _) in kept.items()}
    every = np.unique(np.concatenate(list(places.values())))
    label = label_of(table) if label_names(table) else None
    strata = np.zeros(len(every), int) if label is None else label.symbols.ravel()[every]
    chosen = every[stratified(strata, max(limit // len(names), 1), seed)]
    found = {m: place[np.isin(place, chosen)] for m, place in places.items()}
    features = [_at(*kept[m], place, table.steps) for m, place in found.items()]
    total = sum(len(place) for place in places.values())
    count = sum(len(place) for place in found.values())
    note = ""
    if count < total:
        within = f" within each class of '{label.name}', in proportion" if label else ""
        note = f"{count:,} of {total:,} points, their places drawn at random{within} (seed {seed})"
    columns, order = _describe(table, layer, found)
    of = "" if names == tuple(table.modalities) else f", {', '.join(names)}"
    return Points(np.concatenate(features), columns, f"{kind} features of layer {layer}{of}", note, order)


def codebook_points(table: Any, layer: int = 1, clips: Any = None) -> Points:
    """Gather the code vectors of a layer, with how often each modality uses them.

    Raises:
        MapError: the quantiser has no codebook, or one of a single code.
        InspectionError: no such layer.
    """
    check_layer(table, layer)
    book = table.codebook(layer)
    if book is None:
        raise MapError("no points:", f"layer {layer} has no codebook (identity or raw fsq), so there is none to map")
    stages, size, width = book.shape
    if stages * size < 2:
        raise MapError("no points:", f"the codebook of layer {layer} has one code, and one point makes no map")
    whole = stages != table.stages  # fsq: one table of all combinations, which no single stage uses
    # which vector each clip-step uses, a {modality: int [n, T]} for every stage
    if whole:
        chosen = [_combined(table, layer, clips)]
    else:
        chosen = [symbols_of(table, layer, stage + 1, clips).values for stage in range(stages)]
    symbol = np.arange(size) if table.stages == 1 else np.full(stages * size, -1)
    if whole:
        joint = symbols_of(table, layer, None, clips).values
        for m, rows in chosen[0].items():
            symbol[rows[rows >= 0]] = joint[m][rows >= 0]
    uses = {f"uses/{m}": np.concatenate([_counts(own[m], size) for own in chosen]) for m in table.modalities}
    columns = {
        "code": np.tile(np.arange(size), stages),
        "symbol": symbol,
        "layer": np.full(stages * size, layer),
        "stage": np.repeat(np.arange(1, stages + 1), size),
        "uses": sum(uses.values()),
        **uses,
        "modality": _users(table.modalities, np.stack(list(uses.values()))),
    }
    order = {}
    if label_names(table):
        label = label_of(table, None, clips)
        columns["label"], order["label"] = np.concatenate([_frequent(own, label, size) for own in chosen]), label.names
    return Points(np.asarray(book).reshape(-1, width), columns, f"codebook of layer {layer}", order=order)


def stratified(strata: np.ndarray, limit: int, seed: int = 0) -> np.ndarray:
    """Choose up to ``limit`` positions at random within strata, in proportion to their sizes; sorted.

    What rounding down leaves goes to strata that have nothing yet, then to the largest remainders, ties at
    random.
    """
    n = len(strata)
    if n <= limit:
        return np.arange(n)
    _, member, counts = np.unique(strata, return_inverse=True, return_counts=True)
    exact = counts * (limit / n)
    take = np.floor(exact).astype(int)
    draw = np.random.default_rng(seed)
    order = np.lexsort((draw.random(len(counts)), -(exact - take), take > 0))
    take[order[: limit - take.sum()]] += 1
    shuffled = draw.permutation(n)
    by_stratum = shuffled[np.argsort(member[shuffled], kind="stable")]
    rank = np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(by_stratum[rank < np.repeat(take, counts)])


def _kept(table: Any, kind: str, layer: int, modality: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        return (table.general if kind == "general" else table.specific)(layer, modality)
    except ValueError as problem:
        raise MapError("no points:", str(problem)) from problem


def _places(table: Any, modality: str, rows: np.ndarray, among: np.ndarray | None) -> np.ndarray:
    """Valid places (clip * T + step) of the kept clips."""
    rows = rows if among is None else rows[np.isin(rows, among)]
    valid = np.asarray(table.masks[modality])[rows]
    return np.sort((rows[:, None] * table.steps + np.arange(table.steps))[valid])


def _at(rows: np.ndarray, values: np.ndarray, places: np.ndarray, steps: int) -> np.ndarray:
    where = np.full(int(rows.max(initial=0)) + 1, -1)
    where[rows] = np.arange(len(rows))
    clip, step = np.divmod(places, steps)
    return np.asarray(values)[where[clip], step]


def _describe(table: Any, layer: int,
              places: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, tuple[str, ...]]]:  # fmt: skip
    """Columns of feature points, modality after modality, and the order of those that hold classes."""
    place = np.concatenate(list(places.values()))
    clip, step = np.divmod(place, table.steps)
    modality = np.repeat(np.array(list(places)), [len(p) for p in places.values()])
    split = np.array([*table.splits, ""])[split_numbers(table)]
    columns = {"layer": np.full(len(place), layer), "modality": modality, "clip": clip, "step": step,
               "split": split[clip]}  # fmt: skip
    if table.stages:
        codes = symbols_of(table, layer).values
        columns["code"] = np.concatenate([codes[m].ravel()[p] for m, p in places.items()])
        every = np.stack([values.ravel() for values in codes.values()])
        same = ((every == every.max(axis=0)) | (every < 0)).all(axis=0) & ((every >= 0).sum(axis=0) > 1)
        columns["agreement"] = same[place]
    order = {}
    for label in labels_of(table).results:
        free = label.name if label.name not in columns else f"label/{label.name}"
        columns[free], order[free] = np.array([*label.names, ""])[label.symbols.ravel()[place]], label.names
    main = next((name for name in ("event", *label_names(table)) if name in order), None)
    return (columns | {"label": columns[main]}, order | {"label": order[main]}) if main else (columns, order)


def _users(modalities: Sequence[str], uses: np.ndarray) -> np.ndarray:
    """Who uses each code, from counts ``[modalities, codes]``."""
    number = (uses > 0).sum(axis=0)
    only = np.array(modalities)[uses.argmax(axis=0)]
    several = np.where(number == len(modalities), "all", "several")
    return np.where(number == 0, "none", np.where(number == 1, only, several))


def _frequent(chosen: dict[str, np.ndarray], label: StepLabel, size: int) -> np.ndarray:
    """The label's most frequent class among the steps that use each vector; "" where there is none."""
    met = sum(contingency(rows, label.symbols, size, len(label.names)) for rows in chosen.values())
    counts = met.toarray()
    return np.where(counts.any(axis=1), np.array(label.names)[counts.argmax(axis=1)], "")


def _counts(values: np.ndarray, size: int) -> np.ndarray:
    return np.bincount(values[values >= 0], minlength=size)


def _combined(table: Any, layer: int, clips: Any) -> dict[str, np.ndarray]:
    """Row of the table of all combinations that each clip-step uses; -1 where there is none."""
    rows = clip_rows(table, clips)
    return {m: mixed_radix(np.asarray(table.codes(layer, m))[rows], table.sizes) for m in table.modalities}
