"""A code exchanged for another one in clips that have it, and what fitted probes, retrieval and the error then say.

Only stored vectors and fitted probes are read, never the model. What is known of the reconstruction is how far the
feature before quantisation lies from the vector, for the clips whose features the table keeps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, softmax

from srcid.evaluation.metrics import EvaluationError, with_background
from srcid.evaluation.ranking import ranked
from srcid.evaluation.representation import Codes, labelled_part
from srcid.evaluation.results import ProbeResults
from srcid.evaluation.retrieval import pooled
from srcid.statistics import Interval, t_interval, wilson_interval

NEAREST = 10  # clips found that retrieval is judged by
LAYER_OUT = -1


@dataclass(frozen=True)
class Turn:
    """In ``layer``, ``code`` becomes ``into``; with the code :data:`LAYER_OUT` the whole layer says nothing."""

    layer: int
    code: int = LAYER_OUT
    into: int = LAYER_OUT

    def __str__(self) -> str:
        if self.code == LAYER_OUT:
            return f"layer {self.layer} left out"
        return f"code {self.code} of layer {self.layer} turned into {self.into}"


@dataclass(frozen=True)
class Answers:
    """Of each clip: shares of right answers before and after, of other answers, and the answers of the first clip."""

    clips: np.ndarray
    before: np.ndarray
    after: np.ndarray
    moved: np.ndarray
    words: tuple[str, str] = ("", "")
    bounded: bool = True  # whether these are shares of answers

    def moved_interval(self) -> Interval:
        """Percent of other answers: Wilson's interval, which counts clips."""
        return _percent(self.moved) if self.bounded else Interval(math.nan, n=len(self.clips))

    def change_interval(self) -> Interval:
        """Change in points: Wilson's intervals of what became right and what became wrong, joined (MOVER)."""
        difference = self.after - self.before
        if not len(self.clips):
            return Interval(math.nan)
        if not self.bounded:
            return t_interval(100 * difference)
        gained, lost = (_percent(np.maximum(side, 0)) for side in (difference, -difference))
        value = gained.value - lost.value
        down = math.hypot(gained.value - gained.low, lost.high - lost.value)
        up = math.hypot(gained.high - gained.value, lost.value - lost.low)
        return Interval(value, value - down, value + up, n=len(self.clips))


def _percent(shares: np.ndarray) -> Interval:
    if not len(shares):
        return Interval(math.nan)
    return wilson_interval(float(shares.mean()), len(shares)).times(100)


def pool(found: Sequence[Answers]) -> Answers:
    """Answers of several random codes, the mean of each clip's: clips are what is counted."""
    if not found:
        return Answers(*(np.zeros(0),) * 4)
    clips, of = np.unique(np.concatenate([a.clips for a in found]), return_inverse=True)
    sums = (np.bincount(of, np.concatenate([getattr(a, name) for a in found])) for name in ("before", "after", "moved"))
    return Answers(clips, *(side / np.bincount(of) for side in sums), bounded=found[0].bounded)


class Exchange:
    """Turns codes of a table in its clips, and asks what is then answered."""

    def __init__(self, table: Codes, probes: ProbeResults, turn: Turn, split: str) -> None:
        everything, table = table, labelled_part(table)  # as probes see it: steps whose event is unknown are absent
        self.table, self.turn = table, turn
        problems = []
        if not 1 <= turn.layer <= table.layers:
            problems.append(f"found layer {turn.layer}; need one from 1 to {table.layers}")
        if not len(table.splits.get(split, ())):
            problems.append(f"found no clip in split '{split}'; the table has {', '.join(table.splits)}")
        EvaluationError.check("a code cannot be turned:", problems)
        self.rows = np.sort(np.asarray(table.splits[split], np.int64))
        self.readouts = [r for r in probes.readouts if turn.layer in r.representation.layers]
        self.notes = [] if self.readouts else ["no probe reads this layer"]
        self.classes = (*probes.classes, "background")
        self.codes = {m: np.asarray(table.code(turn.layer, m)) for m in table.modalities} if self._coded() else {}
        self.use = np.bincount(np.concatenate([c[self.rows][c[self.rows] >= 0] for c in self.codes.values()] or
                                              [np.zeros(0, int)]), minlength=1)  # fmt: skip
        if turn.code != LAYER_OUT:
            problems = [] if self.codes else ["the identity quantiser has no code; leave a layer out instead"]
            if self.codes and not (0 <= turn.code < len(self.use) and self.use[turn.code]):
                problems.append(f"code {turn.code} of layer {turn.layer} is in no clip of split '{split}'; "
                                f"it uses {', '.join(map(str, np.flatnonzero(self.use)[:12]))}, ...")  # fmt: skip
            if turn.into == turn.code:
                problems.append(f"found code {turn.code} turned into itself; need another one")
        self.target = None if problems else self._vector(everything, problems)
        EvaluationError.check("a code cannot be turned:", problems)
        numbers = table.labels.get("item")
        self.items = np.arange(table.clips) if numbers is None else np.asarray(numbers)
        self._answers: dict[tuple[str, str], np.ndarray] = {}

    def _coded(self) -> bool:
        return np.shape(self.table.codes(self.turn.layer, self.table.modalities[0]))[-1] > 0

    def _vector(self, table: Codes, problems: list[str]) -> np.ndarray:
        """The vector that is put in place: of the other code, or the layer's mean over training clips."""
        layer = self.turn.layer
        if self.turn.code == LAYER_OUT:
            rows = table.splits.get("train", ())
            rows = np.asarray(rows if len(rows) else self.rows)
            means = [table.quantized(layer, m, rows)[np.asarray(table.masks[m], bool)[rows]] for m in table.modalities]
            return np.concatenate(means).mean(axis=0)
        for m, codes in self.codes.items():
            clip, step = np.nonzero(codes == self.turn.into)
            if len(clip):
                return np.asarray(table.quantized(layer, m, clip[:1])[0, step[0]])
        problems.append(f"code {self.turn.into} of layer {layer} is in no clip, so its vector is not known")
        return np.zeros(0)

    def where(self, modality: str, rows: np.ndarray, code: int) -> np.ndarray:
        """Steps of ``rows`` that are turned, bool ``[n, T]``."""
        there = np.asarray(self.table.masks[modality], bool)[rows]
        return there if code == LAYER_OUT else there & (self.codes[modality][rows] == code)

    def clips(self, modality: str, code: int, most: int, draw: np.random.Generator) -> tuple[np.ndarray, int]:
        """Up to ``most`` clips of the split in which a code occurs, drawn at random, and its steps in them."""
        where = self.where(modality, self.rows, code)
        some = np.flatnonzero(where.any(axis=1))
        some = np.sort(draw.permutation(some)[:most])
        return self.rows[some], int(where[some].sum())

    def ask(self, modality: str, rows: np.ndarray, code: int) -> Iterator[tuple[tuple[str, str, str], Answers]]:
        """Yield (task, train, test) and the answers before and after, of every probe, retrieval and reconstruction."""
        where = self.where(modality, rows, code)
        yield from self._probes(modality, rows, where)
        yield from self._retrieval(modality, rows, where)
        yield from self._reconstruction(modality, rows, where)

    def _features(self, representation: Any, modality: str, rows: np.ndarray, where: np.ndarray | None) -> list:
        """Features of each layer ``[n, T, D]``, turned at the steps ``where``."""
        features = []
        for layer in representation.layers:
            values = np.array(representation.vectors(self.table, layer, modality, rows))
            if where is not None and layer == self.turn.layer:
                values[where] = self.target[representation.coordinates(self.table, layer)]
            features.append(values)
        return features

    def _probes(self, modality: str, rows: np.ndarray, where: np.ndarray) -> Iterator:
        for readout in self.readouts:
            task, name = readout.task, readout.task.name
            if name not in ("classification", "localisation") or readout.representation.kind != "quantized":
                continue
            present = readout.representation.present(self.table, modality)[rows]
            outputs = [
                readout.ask(self._features(readout.representation, modality, rows, turned), present)
                for turned in (None, where)
            ]
            describe = _classified if name == "classification" else _localised
            for probe, train in enumerate(readout.train):
                pair = [values[probe] for values in outputs]
                yield (name, train, modality), describe(pair, task, rows, where, present, self.classes)

    def _retrieval(self, modality: str, rows: np.ndarray, where: np.ndarray) -> Iterator:
        others = [m for m in self.table.modalities if m != modality]
        first = next((r for r in self.readouts if r.representation.kind == "quantized"), None)
        if first is None or not others:
            return
        read, asked = first.representation, self.rows[self.items[self.rows] >= 0]
        mine = np.isin(rows, asked)
        some, at = rows[mine], np.searchsorted(asked, rows[mine])
        queries = self._pooled(read, modality, asked)
        features = self._features(read, modality, some, where[mine])
        turned = pooled(features, read.present(self.table, modality)[some])
        for other in others:
            answers = self._pooled(read, other, asked)
            both = np.isfinite(queries).all(-1) & np.isfinite(answers).all(-1)
            kept = both[at]
            if both.sum() <= NEAREST or not kept.any():
                continue
            offered, groups = (answers[both], self.items[asked[both]]), self.items[some[kept]]
            sides = queries[at][kept], turned[kept]
            before, after = (ranked((side, groups), offered, (NEAREST,)) for side in sides)
            same = (before.top[:, :, None] == after.top[:, None]).any(-1).mean(-1)
            yield ("retrieval", other, modality), Answers(
                some[kept], before.found[NEAREST], after.found[NEAREST], 1 - same,
                tuple(f"its partner comes at place {s.ranks[0] + 1:.3g}" for s in (before, after)),
            )  # fmt: skip

    def _pooled(self, representation: Any, modality: str, rows: np.ndarray) -> np.ndarray:
        key = representation.name, modality
        if key not in self._answers:
            features = self._features(representation, modality, rows, None)
            self._answers[key] = pooled(features, representation.present(self.table, modality)[rows])
        return self._answers[key]

    def _reconstruction(self, modality: str, rows: np.ndarray, where: np.ndarray) -> Iterator:
        try:
            kept, features = self.table.general(self.turn.layer, modality)
        except ValueError:  # the table keeps none
            return
        found = np.isin(rows, kept)
        if not found.any():
            return
        rows, where = rows[found], where[found]
        values = np.asarray(features)[np.searchsorted(kept, rows)]
        present = np.asarray(self.table.masks[modality], bool)[rows]
        before = np.array(self.table.quantized(self.turn.layer, modality, rows))
        after = before.copy()
        after[where] = self.target
        power = np.maximum((values**2).sum(-1).sum(1, where=present), 1e-12)
        errors = [((values - side) ** 2).sum(-1).sum(1, where=present) / power for side in (before, after)]
        words = tuple(f"{side[0]:.0%} of the features' power is lost" for side in errors)
        yield ("reconstruction", modality, modality), Answers(rows, *errors, np.zeros(len(rows)), words, False)


def _classified(pair: list[np.ndarray], task: Any, rows: np.ndarray, where: np.ndarray, present: np.ndarray,
                classes: Sequence[str]) -> Answers:  # fmt: skip
    answers = [values.argmax(-1) for values in pair]
    right = [(answer == task.truth[rows]) & task.usable[rows] for answer in answers]
    words = tuple(f"{classes[values[0].argmax()]} {softmax(values[0])[values[0].argmax()]:.0%}" for values in pair)
    return Answers(rows, *(side.astype(float) for side in right), (answers[0] != answers[1]).astype(float), words)


def _localised(pair: list[np.ndarray], task: Any, rows: np.ndarray, where: np.ndarray, present: np.ndarray,
               classes: Sequence[str]) -> Answers:  # fmt: skip
    """Of the turned steps: a probe sees no others, so only there can anything change."""
    answers, truth = [values > 0 for values in pair], with_background(task.events[rows])
    steps = np.maximum((where & present).sum(1), 1)

    def share(of: np.ndarray) -> np.ndarray:
        return (of & where & present).sum(1) / steps

    words = tuple(_steps(values[0], where[0] & present[0], classes) for values in pair)
    right = (share((answer == truth).all(-1)) for answer in answers)
    return Answers(rows, *right, share((answers[0] != answers[1]).any(-1)), words)


def _steps(outputs: np.ndarray, where: np.ndarray, classes: Sequence[str]) -> str:
    """What is answered at the turned steps, the most frequent answer first."""
    said = [" + ".join(classes[c] for c in np.flatnonzero(step > 0)) or "nothing" for step in outputs[where]]
    told, first, counts = np.unique(said, return_index=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    surest = expit(outputs[where].max(-1))
    return ", ".join(f"{told[i]} ({counts[i]} of {len(said)} steps, {surest[first[i]]:.0%})" for i in order[:3])
