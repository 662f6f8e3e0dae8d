"""Code tables of one model read as one: for probes that learn on one data set and are asked about another.

A :class:`JoinedCodes` holds the clips of several tables one after the other and has the modalities of all. A clip
lacks the modalities that its own table lacks, and probes leave such clips out of that modality only. So the same
:func:`srcid.evaluation.probes.fit_probes` does three things: a table on its own, a probe carried to another data set
(:func:`cross_dataset`), and data sets that share no clip and no modality (:func:`unpaired`). Nothing is encoded anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace

import numpy as np

from srcid.evaluation.metrics import EvaluationError
from srcid.evaluation.representation import Codes
from srcid.features.checks import SPLITS
from srcid.symbols import joint_symbols, known_of


@dataclass(frozen=True)
class Part:
    """Some clips and modalities of a code table.

    Attributes:
        table: the table.
        rows: its clips; all by default.
        modalities: all by default.
        name: as messages call it.
    """

    table: Codes
    rows: np.ndarray | None = None
    modalities: tuple[str, ...] | None = None
    name: str = ""


class JoinedCodes:
    """Several parts as one table, with the event classes that all of them have; see :class:`Codes`.

    Clips are padded to the longest part. A clip whose events are all of other classes is left out; ``notes`` says
    how many. Classes are the same if their names are, but for case, blanks and underscores.

    Args:
        parts: tables, or parts of tables, made by one model.
        gives: for each part the splits that it contributes to; clips of other splits are left out.

    Raises:
        EvaluationError: other models, unknown modalities, no event labels, no class in common; all at once.
    """

    def __init__(self, parts: Sequence[Codes | Part], gives: Sequence[Sequence[str]]) -> None:
        parts = [part if isinstance(part, Part) else Part(part) for part in parts]
        names = [part.name or f"table {place}" for place, part in enumerate(parts, 1)]
        check_parts(parts, names)
        self.tables = [part.table for part in parts]
        held = [part.modalities or tuple(part.table.modalities) for part in parts]
        self.modalities = tuple(dict.fromkeys(m for part in held for m in part))
        self.layers, self.steps = self.tables[0].layers, max(table.steps for table in self.tables)
        columns, classes = _shared_classes(self.tables)
        if not classes:
            known = "; ".join(f"{n}: {', '.join(_classes(t))}" for n, t in zip(names, self.tables, strict=True))
            raise EvaluationError(f"found no event class that all tables have; need one or more ({known})")
        self.notes: tuple[str, ...] = ()
        self._rows, self._held, events, known = [], held, [], []
        for part, name, own, splits in zip(parts, names, columns, gives, strict=True):
            rows = np.arange(part.table.clips) if part.rows is None else np.unique(np.asarray(part.rows, np.int64))
            rows = rows[np.isin(rows, np.concatenate([part.table.splits.get(s, rows[:0]) for s in splits]))]
            marked = np.asarray(part.table.labels["event"], bool)[rows]
            foreign = marked.any((1, 2)) & ~marked[..., own].any((1, 2))
            if foreign.any():
                said = f"{name}: {int(foreign.sum())} of {len(rows)} clips have events of other classes only"
                self.notes += (f"{said} than the {len(classes)} in common, and were left out.",)
            self._rows.append(rows[~foreign])
            events.append(self._pad(marked[~foreign][..., own], False))
            known.append(self._pad(known_of(part.table, "event", rows[~foreign]), False))
        ends = np.cumsum([0, *map(len, self._rows)])
        self._ranges = list(pairwise(ends))
        self.clips = int(ends[-1])
        self.labels = {"event": np.concatenate(events)}
        self.labelled = {"event": np.concatenate(known)}
        self.label_info = {"event": SimpleNamespace(kind="multilabel", classes=classes)}
        self.masks = {m: self._stacked(m, lambda table, m=m: np.asarray(table.masks[m], bool), False)
                      for m in self.modalities}  # fmt: skip
        self.splits = {
            split: np.concatenate(
                [start + np.flatnonzero(np.isin(rows, table.splits.get(split, rows[:0])))
                 for table, rows, (start, _), own in zip(self.tables, self._rows, self._ranges, gives, strict=True)
                 if split in own] or [np.zeros(0, np.int64)]
            )
            for split in SPLITS
        }  # fmt: skip

    def codes(self, layer: int, modality: str) -> np.ndarray:
        """Codes ``[N, T, S]``; -1 where a clip lacks the modality or the step."""
        return self._stacked(modality, lambda table: np.asarray(table.codes(layer, modality)), -1)

    def code(self, layer: int, modality: str) -> np.ndarray:
        """One symbol per step ``[N, T]``, the same in all parts and modalities; -1 where there is none."""
        joint = joint_symbols(np.stack([self.codes(layer, m) for m in self.modalities]))
        return joint[self.modalities.index(modality)]

    def codebook(self, layer: int) -> np.ndarray | None:
        """Code vectors ``[S, L, D]``, or None."""
        return self.tables[0].codebook(layer)

    def quantized(self, layer: int, modality: str, rows: np.ndarray | None = None) -> np.ndarray:
        """Quantised features ``[n, T, D]``; zeros where a clip lacks the modality or the step."""
        rows = np.arange(self.clips) if rows is None else np.asarray(rows)
        found = []
        for table, own, held, (start, stop) in zip(self.tables, self._rows, self._held, self._ranges, strict=True):
            where = np.flatnonzero((rows >= start) & (rows < stop))
            if modality in held and len(where):
                found.append((where, self._pad(table.quantized(layer, modality, own[rows[where] - start]), 0)))
        width = found[0][1].shape[-1] if found else np.asarray(self.codebook(layer)).shape[-1]
        values = np.zeros((len(rows), self.steps, width), np.float32)
        for where, part in found:
            values[where] = part
        return values

    def general(self, layer: int, modality: str) -> tuple[np.ndarray, np.ndarray]:
        """The kept continuous features of the clips that have the modality: (rows ``[n]``, ``[n, T, D]``)."""
        rows, values = [], []
        for table, own, held, (start, _) in zip(self.tables, self._rows, self._held, self._ranges, strict=True):
            if modality in held:
                kept, features = table.general(layer, modality)
                place = np.full(table.clips, -1)
                place[own] = np.arange(len(own))
                wanted = place[kept] >= 0
                rows.append(start + place[kept[wanted]])
                values.append(self._pad(np.asarray(features)[wanted], 0))
        return np.concatenate(rows), np.concatenate(values)

    def _stacked(self, modality: str, read: Callable[[Codes], np.ndarray], empty: int) -> np.ndarray:
        """Join ``read(table)`` ``[clips, T, ...]`` over the parts, ``empty`` where a part lacks the modality."""
        found = [
            self._pad(read(table)[rows], empty) if modality in held else len(rows)
            for table, rows, held in zip(self.tables, self._rows, self._held, strict=True)
        ]
        like = next(part for part in found if not isinstance(part, int))
        return np.concatenate(
            [np.full((p, *like.shape[1:]), empty, like.dtype) if isinstance(p, int) else p for p in found]
        )

    def _pad(self, values: np.ndarray, empty: float) -> np.ndarray:
        short = self.steps - values.shape[1]
        return np.pad(values, ((0, 0), (0, short), *((0, 0),) * (values.ndim - 2)), constant_values=empty)


def cross_dataset(source: Codes | Part, target: Codes | Part) -> JoinedCodes:
    """Join two data sets so that probes learn and are chosen on ``source`` and are scored on ``target``'s test clips.

    AVE → AVVP in the paper. Errors: see :class:`JoinedCodes`.
    """
    return JoinedCodes([source, target], [("train", "val"), ("test",)])


def unpaired(*parts: Codes | Part) -> JoinedCodes:
    """Join data sets each of which brings modalities of its own: UCF's video and VGGSound's audio in the paper.

    A probe of one modality then learns on one data set, and its score on another modality is of another data set.

    Raises:
        EvaluationError: a modality in two parts, and as for :class:`JoinedCodes`.
    """
    parts = [part if isinstance(part, Part) else Part(part) for part in parts]
    named = [m for part in parts for m in (part.modalities or part.table.modalities)]
    if twice := sorted({m for m in named if named.count(m) > 1}):
        raise EvaluationError(
            f"found {', '.join(twice)} in several of the tables; need each modality in one: "
            "say which to read, Part(table, modalities=(...))"
        )
    return JoinedCodes(parts, [SPLITS] * len(parts))


def one_then_more(table: Codes) -> JoinedCodes:
    """Split one table into two data sets: probes learn on clips of one class and are scored on clips of several.

    What AVE → AVVP asks, for those who have a single data set.

    Raises:
        EvaluationError: there are no clips of one kind, or no event labels.
    """
    check_parts([Part(table)], ["the table"])
    kinds = np.asarray(table.labels["event"], bool).any(1).sum(1)
    if not ((kinds == 1).any() and (kinds > 1).any()):
        counts = f"{int((kinds == 1).sum())} clips of one event class and {int((kinds > 1).sum())} of several"
        raise EvaluationError(f"found {counts}; need both")
    one, more = np.flatnonzero(kinds == 1), np.flatnonzero(kinds > 1)
    return cross_dataset(Part(table, one, name="clips of one class"), Part(table, more, name="clips of several"))


def never_paired(table: Codes) -> JoinedCodes:
    """Split one table into as many data sets as it has modalities, and let each show one of them only.

    What UCF <-> VGGSound asks, for those who have a single data set: the clips that a probe learns on are never
    those that it is asked about, in any split.

    Raises:
        EvaluationError: no event labels.
    """
    order = np.random.default_rng(0).permutation(table.clips)
    shares = np.array_split(order, len(table.modalities))
    return unpaired(*(Part(table, rows, (m,), m) for m, rows in zip(table.modalities, shares, strict=True)))


def check_parts(parts: Sequence[Part], names: Sequence[str]) -> None:
    """Raise with all that keeps ``parts`` from being read together."""
    problems = []
    for part, name in zip(parts, names, strict=True):
        problems += [
            f"{name} has no modality '{m}'; it has {', '.join(part.table.modalities)}"
            for m in part.modalities or ()
            if m not in part.table.modalities
        ]
        label = part.table.labels.get("event")
        if label is None:
            there = ", ".join(part.table.labels) or "none"
            problems.append(f"{name} has labels: {there}; need 'event', bool [clips, steps, classes]")
        elif label.dtype != bool or label.ndim != 3:
            problems.append(f"{name} has label 'event' {label.dtype} {label.shape}; need bool [clips, steps, classes]")
        other = _other_model(parts[0].table, part.table)
        if other:
            problems.append(f"{name} was made by another model than {names[0]}: {other}; encode both with one model")
    EvaluationError.check("tables cannot be read together:", problems)


def _other_model(first: Codes, second: Codes) -> str:
    """Say in what two tables show that different models made them, or nothing."""
    if first is second:
        return ""
    if first.layers != second.layers:
        return f"found {second.layers} layers, need {first.layers}"
    marks = [getattr(table, "model", "") for table in (first, second)]
    if all(marks):
        return "" if marks[0] == marks[1] else f"found weights {marks[1][:8]}, need {marks[0][:8]}"
    books = [[table.codebook(layer) for layer in range(1, first.layers + 1)] for table in (first, second)]
    if any(b is None for b in (*books[0], *books[1])):  # without codebooks, all that is known are the parameters
        same = getattr(first, "params", None) == getattr(second, "params", None)
        return "" if same else "found other parameters"
    for layer, (a, b) in enumerate(zip(*books, strict=True), 1):
        if not np.array_equal(a, b):
            return f"found another codebook in layer {layer}"
    return ""


def _classes(table: Codes) -> tuple[str, ...]:
    return tuple(table.label_info["event"].classes)


def _shared_classes(tables: Sequence[Codes]) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Return each table's columns of the classes that all have, in the first one's order, and their names."""

    def plain(name: str) -> str:
        return " ".join(name.casefold().replace("_", " ").split())

    places = [{plain(name): place for place, name in enumerate(_classes(table))} for table in tables]
    shared = [name for name in places[0] if all(name in other for other in places[1:])]
    names = _classes(tables[0])
    return [np.array([own[n] for n in shared], int) for own in places], tuple(names[places[0][n]] for n in shared)
