"""How inspection reads a CodeTable: codes as one symbol a step, labels as one symbol a step.

The functions here take a :class:`srcid.codes.CodeTable`, or plain arrays where there is none:
``{modality: int [N, T]}`` for codes (-1: missing or padded) and :class:`StepLabel` for labels. Layers and
stages count from 1. ``clips`` is the name of a split, an array of clip rows, or None for all clips.

Not every clip of every data set is labelled. A category is unknown at -1, a continuous value at NaN, and a
multi-label at steps where ``table.labelled[name]`` is False (all are known where there is no such mask). Unknown is
not background: no function here counts a step whose label is unknown.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from srcid.problems import ProblemsError

BACKGROUND = "background"
POOLED = "joint"


class InspectionError(ProblemsError):
    """Something cannot be shown; the message says what was found, what is needed, and what to do."""


@dataclass(frozen=True)
class Symbols:
    """Codes of one layer as one symbol a step: ``values[m]`` is int ``[n, T]``, -1 where there is none.

    Symbols run from 0 to ``size`` - 1 and mean the same in every modality. ``rows`` are the clips of the
    source that the n rows stand for, and ``sample`` names them: "300 test clips".
    """

    layer: int
    stage: int | None
    size: int
    values: dict[str, np.ndarray]
    rows: np.ndarray
    sample: str = ""

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.values)

    @property
    def clips(self) -> int:
        return len(self.rows)

    @property
    def steps(self) -> int:
        return next(iter(self.values.values())).shape[1]

    def counts(self) -> np.ndarray:
        """Clip-steps with each symbol, int ``[modalities, size]``."""
        return np.stack([np.bincount(v[v >= 0], minlength=self.size) for v in self.values.values()])


@dataclass(frozen=True)
class StepLabel:
    """A label seen step by step.

    Attributes:
        name: the label's name.
        classes: names of the classes; for multi-label ones "background" (no class at all) stands last.
        symbols: int ``[n, T]``, one symbol a step, -1 where unlabelled. Steps with several classes at once
            get symbols of their own, past the last class, so that symbols lose nothing.
        names: name of every symbol ("dog", "background", "dog + guitar").
        parts: the classes that every symbol stands for, as indices.
        note: what was done to the label on the way ("cut into 8 bins of equal size"), or empty.
    """

    name: str
    classes: tuple[str, ...]
    symbols: np.ndarray
    names: tuple[str, ...]
    parts: tuple[tuple[int, ...], ...]
    note: str = ""

    @cached_property
    def background(self) -> int:
        """Symbol of the background class, or -1 where the label has none."""
        return self.classes.index(BACKGROUND) if BACKGROUND in self.classes else -1

    def class_matrix(self) -> Any:
        """Sparse ``[symbols, classes]`` matrix of 0 and 1: which classes each symbol stands for (CSR)."""
        from scipy import sparse

        parts = sparse.lil_array((len(self.parts), len(self.classes)))
        for symbol, classes in enumerate(self.parts):
            parts[symbol, list(classes)] = 1.0
        return parts.tocsr()

    def members(self) -> Any:
        """Sparse ``[n * T, classes]`` matrix of 0 and 1: which classes hold at each step (CSR)."""
        from scipy import sparse

        matrix = self.class_matrix()
        nobody = sparse.csr_array((1, matrix.shape[1]))
        return sparse.vstack([matrix, nobody], format="csr")[self.symbols.ravel()]  # -1 reads the empty last row

    @classmethod
    def of(cls, values: np.ndarray, name: str = "label", classes: Iterable[str] | None = None, bins: int = 8,
           steps: int | None = None, labelled: np.ndarray | None = None) -> StepLabel:  # fmt: skip
        """Read an array as a label: bool = multi-label, integer = category, floating = continuous.

        Args:
            values: bool ``[n, T, C]`` or ``[n, C]``; int ``[n, T]`` or ``[n]`` (-1: none); float ``[n, T]``
                or ``[n]``. Arrays of one value a clip need ``steps``.
            classes: class names; numbers where None.
            bins: bins of equal size that continuous values are cut into.
            labelled: bool ``[n, T]`` or ``[n]``, where a multi-label is known; None: everywhere.
        """
        values = np.asarray(values)
        per_clip = values.ndim == (2 if values.dtype == bool else 1)
        if per_clip:
            if steps is None:
                raise InspectionError(f"label '{name}' has one value a clip; give steps= as well")
            values = np.repeat(values[:, None], steps, axis=1)
        if values.dtype == bool:
            return cls._multilabel(values, name, classes, labelled)
        if np.issubdtype(values.dtype, np.integer):
            count = int(values.max(initial=-1)) + 1
            names = tuple(classes) if classes else tuple(str(value) for value in range(count))
            if count > len(names):
                raise InspectionError(f"label '{name}' holds {count} categories but names only {len(names)}")
            parts = tuple((index,) for index in range(len(names)))
            return cls(name, names, values.astype(np.int32), names, parts)
        return cls._binned(values, name, bins)

    @classmethod
    def _multilabel(cls, values: np.ndarray, name: str, classes: Iterable[str] | None,
                    labelled: np.ndarray | None) -> StepLabel:  # fmt: skip
        count = values.shape[-1]
        names = tuple(classes) if classes else tuple(str(index) for index in range(count))
        number = values.sum(axis=-1)
        symbols = np.where(number == 1, values.argmax(axis=-1), count).astype(np.int32)
        every, parts = [*names, BACKGROUND], [(index,) for index in range(count + 1)]
        many = number > 1
        if many.any():
            packed = np.packbits(np.pad(values[many], ((0, 0), (0, -count % 64))), axis=1).view(np.uint64)
            _, first, inverse = np.unique(packed, axis=0, return_index=True, return_inverse=True)
            found = values[many][first]
            symbols[many] = count + 1 + inverse.ravel()
            parts += [tuple(int(index) for index in np.flatnonzero(row)) for row in found]
            every += [" + ".join(names[index] for index in np.flatnonzero(row)) for row in found]
        if labelled is not None:
            known = np.asarray(labelled)
            symbols[~np.broadcast_to(known[:, None] if known.ndim == 1 else known, many.shape)] = -1
        return cls(name, (*names, BACKGROUND), symbols, tuple(every), tuple(parts))

    @classmethod
    def _binned(cls, values: np.ndarray, name: str, bins: int) -> StepLabel:
        finite = np.isfinite(values)
        edges = np.quantile(values[finite], np.linspace(0, 1, bins + 1)) if finite.any() else np.zeros(1)
        edges = np.unique(edges)
        if len(edges) < 3:
            raise InspectionError(f"label '{name}' is constant; there is nothing to associate codes with")
        symbols = np.where(finite, np.searchsorted(edges[1:-1], values, side="right"), -1).astype(np.int32)
        names = tuple(f"{low:.3g} to {high:.3g}" for low, high in itertools.pairwise(edges))
        parts = tuple((index,) for index in range(len(names)))
        note = f"'{name}' is cut into {len(names)} bins of equal size"
        return cls(name, names, symbols, names, parts, note)


class Results(NamedTuple):
    """Results of one computation on several cases, and why there are none of the others."""

    results: tuple[Any, ...]
    notes: tuple[str, ...]


def for_each(compute: Callable[..., Any], source: Any, cases: Iterable[Mapping[str, Any]]) -> Results:
    """Call ``compute(source, **case)`` for every case; what cannot be computed is told in ``notes``, each once.

    So a view of what there is goes on where a label, a layer or a second modality is missing.
    """
    results, notes = [], {}
    for case in cases:
        try:
            results.append(compute(source, **case))
        except InspectionError as error:
            notes[str(error)] = None
    return Results(tuple(results), tuple(notes))


def layers_and_stages(table: Any) -> tuple[dict[str, int | None], ...]:
    """Layers, each followed by its stages where it has several: the ``layer=`` and ``stage=`` that can be asked for."""
    stages = (None, *range(1, table.stages + 1)) if table.stages > 1 else (None,)
    return tuple(dict(layer=layer, stage=stage) for layer in range(1, table.layers + 1) for stage in stages)


def split_numbers(table: Any) -> np.ndarray:
    """The split of each clip as its place in ``table.splits``, ``[N]``; -1 for clips that are in none."""
    numbers = np.full(table.clips, -1)
    for number, rows in enumerate(table.splits.values()):
        numbers[rows] = number
    return numbers


def clip_rows(table: Any, clips: str | np.ndarray | None) -> np.ndarray:
    """Rows of the clips meant by ``clips``: a split's name, rows, or None for all."""
    if clips is None:
        return np.arange(table.clips)
    if isinstance(clips, str):
        if clips not in table.splits:
            raise InspectionError(f"found no split '{clips}', only {', '.join(table.splits) or 'none at all'}")
        return np.asarray(table.splits[clips], dtype=np.int64)
    return np.asarray(clips, dtype=np.int64)


def sample_name(table: Any, clips: str | np.ndarray | None) -> str:
    """Say which clips are meant: "300 test clips", "all 3,000 clips", "12 of 3,000 clips"."""
    count = len(clip_rows(table, clips))
    if isinstance(clips, str):
        return f"{count:,} {clips} clips"
    return f"all {count:,} clips" if clips is None else f"{count:,} of {table.clips:,} clips"


def joint_symbols(codes: np.ndarray) -> np.ndarray:
    """One symbol for each combination of the last axis of ``codes`` ``[..., S]``; -1 where one of them is below 0.

    A single stage keeps its codes. Combinations that occur are numbered in order, the same wherever they occur.
    """
    if codes.shape[-1] == 1:
        return codes[..., 0].astype(np.int64)
    flat = codes.reshape(-1, codes.shape[-1])
    there = (flat >= 0).all(-1)
    numbers = np.full(len(flat), -1, np.int64)
    numbers[there] = np.unique(flat[there], axis=0, return_inverse=True)[1].ravel()
    return numbers.reshape(codes.shape[:-1])


def mixed_radix(codes: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Place of each combination ``[..., S]`` among all there could be, ``[...]``; -1 where a code is below 0."""
    numbers = np.ravel_multi_index(tuple(np.moveaxis(np.maximum(codes, 0), -1, 0)), tuple(sizes))
    return np.where((codes >= 0).all(axis=-1), numbers, -1)


def place_name(layer: int, stage: int | None = None) -> str:
    """Return "layer 1", or "layer 1, stage 2"."""
    return f"layer {layer}" + (f", stage {stage}" if stage else "")


def symbols_of(source: Any, layer: int = 1, stage: int | None = None, clips: Any = None) -> Symbols:
    """Read the codes of one layer as one symbol a step.

    Args:
        source: a CodeTable, a mapping ``{modality: int [N, T]}``, or Symbols (returned as they are).
        layer: layer, from 1.
        stage: one stage of a residual or finite scalar quantiser, from 1; None joins them to one symbol.
        clips: split, rows, or None for all clips.

    Raises:
        InspectionError: no such layer or stage, or no codes at all (the identity quantiser).
    """
    if isinstance(source, Symbols):
        return source
    if isinstance(source, Mapping):
        if not source:
            raise InspectionError("found no modality; give {modality: codes [N, T]}")
        values = {m: np.asarray(array) for m, array in source.items()}
        shapes = {m: array.shape for m, array in values.items()}
        if len(set(shapes.values())) > 1 or len(next(iter(shapes.values()))) != 2:
            raise InspectionError(f"found codes of shapes {shapes}; need one shape [N, T] for all")
        count = len(next(iter(values.values())))
        rows = np.arange(count) if clips is None else np.asarray(clips)
        values = {m: array[rows] for m, array in values.items()}
        size = 1 + max(int(array.max(initial=-1)) for array in values.values())
        return Symbols(layer, stage, _require_codes(size, layer), values, rows, f"{len(rows):,} clips")
    check_layer(source, layer)
    rows = clip_rows(source, clips)
    _require_codes(source.stages, layer)
    if stage is None:
        size, read = source.symbols(layer), {m: source.code(layer, m) for m in source.modalities}
    elif 1 <= stage <= source.stages:
        size = source.sizes[stage - 1]
        read = {m: source.codes(layer, m)[..., stage - 1] for m in source.modalities}
    else:
        raise InspectionError(f"found {source.stages} stage(s) in layer {layer}, not a stage {stage}")
    values = {m: np.asarray(array) if clips is None else np.asarray(array)[rows] for m, array in read.items()}
    return Symbols(layer, stage, _require_codes(size, layer), values, rows, sample_name(source, clips))


def _require_codes(size: int, layer: int) -> int:
    if size < 1:
        raise InspectionError(
            f"layer {layer} has no codes (identity quantiser, or every step is masked), so nothing can be "
            "said of them; choose a run with a quantiser"
        )
    return size


def check_layer(table: Any, layer: int) -> None:
    """Raise unless ``table`` has ``layer`` (from 1)."""
    if not 1 <= layer <= table.layers:
        raise InspectionError(f"found {table.layers} layer(s) in this table, not a layer {layer}")


def label_names(table: Any) -> tuple[str, ...]:
    """Names that :func:`label_of` knows; a continuous label of d dimensions gives ``name[0]`` and so on."""
    names = []
    for name, array in table.labels.items():
        info = table.label_info[name]
        wide = info.kind == "continuous" and array.ndim == (3 if info.level == "step" else 2)
        many = wide and array.shape[-1] > 1
        names += [f"{name}[{index}]" for index in range(array.shape[-1])] if many else [name]
    return tuple(names)


def label_of(table: Any, name: str | StepLabel | None = None, clips: Any = None, bins: int = 8) -> StepLabel:
    """Read a label of the table step by step; None takes "event", or the first label.

    Raises:
        InspectionError: the table has no such label.
    """
    if isinstance(name, StepLabel):
        return name
    known = label_names(table)
    if name is None and known:
        name = "event" if "event" in known else known[0]
    if name not in known:
        found = f"has the labels {', '.join(known)}" if known else "has no labels"
        raise InspectionError(f"found no label '{name or 'event'}': this table {found}; add it to the store")
    rows = clip_rows(table, clips)
    base, _, dimension = name.partition("[")
    info, array = table.label_info[base], np.asarray(table.labels[base])[rows]
    if info.kind == "continuous":
        wide = array.ndim == (3 if info.level == "step" else 2)
        array = array[..., int(dimension[:-1]) if dimension else 0] if wide else array
    known = known_of(table, base, rows) if info.kind == "multilabel" else None
    return StepLabel.of(array, name, info.classes or None, bins=bins, steps=table.steps, labelled=known)


def labels_of(table: Any, clips: Any = None) -> Results:
    """Every label of a table as :func:`label_of` gives it; a constant one says nothing and is told in the notes."""
    return for_each(label_of, table, [dict(name=name, clips=clips) for name in label_names(table)])


def known_of(table: Any, name: str, rows: np.ndarray) -> np.ndarray:
    """Where a label of the table is known, bool ``[n, T]``, or ``[n, 1]`` if it has one value a clip."""
    info, values = table.label_info[name], np.asarray(table.labels[name])[rows]
    if info.kind == "multilabel":
        mask = table.labelled.get(name)
        known = np.ones(values.shape[:-1], bool) if mask is None else np.asarray(mask)[rows]
    else:
        known = values >= 0 if info.kind == "category" else np.isfinite(values).all(-1)
    return known if known.ndim == 2 else known[:, None]


def foreground_of(table: Any, clips: Any = None) -> tuple[np.ndarray, np.ndarray] | None:
    """Steps at which the label "event" holds a class other than background, and steps at which it is known.

    Returns:
        two bool ``[n, T]``; None without such a label.
    """
    if isinstance(table, (Mapping, Symbols)) or "event" not in label_names(table):
        return None
    event = label_of(table, "event", clips)
    known = event.symbols >= 0
    return known & (event.symbols != event.background), known


def require_modalities(codes: Symbols, what: str) -> Symbols:
    """Return ``codes``, or raise if they are of one modality only and ``what`` compares modalities."""
    if len(codes.modalities) < 2:
        only = next(iter(codes.modalities))
        raise InspectionError(f"found one modality only ({only}); {what} needs two or more, so it is not shown")
    return codes


def select_modality(codes: Symbols, modality: str | None) -> Symbols:
    """Return the codes of one modality, or all of them for None."""
    if modality is None:
        return codes
    if modality not in codes.modalities:
        raise InspectionError(f"found no modality '{modality}', only {', '.join(codes.modalities)}")
    return replace(codes, values={modality: codes.values[modality]})


def label_for(codes: Symbols, source: Any, label: str | StepLabel | None, clips: Any) -> StepLabel:
    """Read a label for exactly the steps of ``codes``."""
    if isinstance(source, Mapping) and not isinstance(label, StepLabel):
        raise InspectionError("found codes as arrays and no label of them; give label=StepLabel.of(values, ...)")
    seen = label_of(source, label, clips)
    shape = (codes.clips, codes.steps)
    if seen.symbols.shape != shape:
        raise InspectionError(f"found the label '{seen.name}' of shape {seen.symbols.shape} for codes {shape}")
    return seen
