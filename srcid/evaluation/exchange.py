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
from srcid.evaluation.ranking import RetrievalScore, ranked
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


class Unturned:
    """What is there before anything is turned: clips of a split and what probes answer of them, asked once."""

    def __init__(self, table: Codes, probes: ProbeResults, split: str) -> None:
        self.table = labelled_part(table)  # as probes see it: steps whose event is unknown are absent
        self.everything, self.probes, self.split = table, probes, split
        if not len(self.table.splits.get(split, ())):
            there = ", ".join(self.table.splits)
            raise EvaluationError(f"found no labelled clip in split '{split}' to turn a code in; there are {there}")
        self.rows = np.sort(np.asarray(self.table.splits[split], np.int64))
        numbers = self.table.labels.get("item")
        self.items = np.arange(self.table.clips) if numbers is None else np.asarray(numbers)
        self.asked = self.rows[self.items[self.rows] >= 0]  # clips that have partners to be found
        self._found: dict[Any, Any] = {}

    def features(self, representation: Any, modality: str, rows: np.ndarray) -> list[np.ndarray]:
        """Features of each layer ``[n, T, D]``."""
        vectors = (representation.vectors(self.table, layer, modality, rows) for layer in representation.layers)
        return [np.array(values) for values in vectors]

    def outputs(self, readout: Any, modality: str, rows: np.ndarray) -> np.ndarray:
        """What the probes of a readout answer of clips ``rows``, ``[P, n, ...]``."""
        key = id(readout), modality
        if key not in self._found:
            present = readout.representation.present(self.table, modality)[self.rows]
            self._found[key] = readout.ask(self.features(readout.representation, modality, self.rows), present)
        return self._found[key][:, np.searchsorted(self.rows, rows)]

    def pooled(self, representation: Any, modality: str) -> np.ndarray:
        """A vector for each of the clips ``asked``, ``[n, D]``; NaN where nothing is known of one."""
        key = "pooled", representation.name, modality
        if key not in self._found:
            features = self.features(representation, modality, self.asked)
            self._found[key] = pooled(features, representation.present(self.table, modality)[self.asked])
        return self._found[key]

    def retrieved(self, representation: Any, query: str, target: str) -> tuple[np.ndarray, RetrievalScore] | None:
        """Which of the clips ``asked`` are known in both modalities, and their partners' ranks; None: too few are."""
        key = "retrieved", representation.name, query, target
        if key not in self._found:
            queries, answers = self.pooled(representation, query), self.pooled(representation, target)
            both = np.isfinite(queries).all(-1) & np.isfinite(answers).all(-1)
            groups = self.items[self.asked[both]]
            enough = both.sum() > NEAREST
            self._found[key] = (
                (both, ranked((queries[both], groups), (answers[both], groups), (NEAREST,))) if enough else None
            )
        return self._found[key]


class Exchange:
    """Turns a code of a table in its clips, and asks what is then answered.

    Raises:
        EvaluationError: no such layer or code, or a code that no clip has; all at once.
    """

    def __init__(self, unturned: Unturned, turn: Turn) -> None:
        self.unturned, self.table, self.rows, self.turn = unturned, unturned.table, unturned.rows, turn
        table, probes, split = self.table, unturned.probes, unturned.split
        if not 1 <= turn.layer <= table.layers:
            raise EvaluationError(
                f"a code cannot be turned: found layer {turn.layer}; need one from 1 to {table.layers}"
            )
        self.readouts = [r for r in probes.readouts if turn.layer in r.representation.layers]
        self.notes = [] if self.readouts else ["no probe reads this layer"]
        self.classes = (*probes.classes, "background")
        self.codes = {m: np.asarray(table.code(turn.layer, m)) for m in table.modalities} if self._coded() else {}
        self.use = np.bincount(np.concatenate([c[self.rows][c[self.rows] >= 0] for c in self.codes.values()] or
                                              [np.zeros(0, int)]), minlength=1)  # fmt: skip
        problems = []
        if turn.code != LAYER_OUT:
            problems = [] if self.codes else ["the identity quantiser has no code; leave a layer out instead"]
            if self.codes and not (0 <= turn.code < len(self.use) and self.use[turn.code]):
                problems.append(f"code {turn.code} of layer {turn.layer} is in no clip of split '{split}'; "
                                f"it uses {', '.join(map(str, np.flatnonzero(self.use)[:12]))}, ...")  # fmt: skip
            if turn.into == turn.code:
                problems.append(f"found code {turn.code} turned into itself; need another one")
        self.target = None if problems else self._vector(unturned.everything, problems)
        EvaluationError.check("a code cannot be turned:", problems)

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

    def _features(self, representation: Any, modality: str, rows: np.ndarray, where: np.ndarray) -> list[np.ndarray]:
        """Features of each layer ``[n, T, D]``, turned at the steps ``where``."""
        features = self.unturned.features(representation, modality, rows)
        place = representation.layers.index(self.turn.layer)
        features[place][where] = self.target[representation.coordinates(self.table, self.turn.layer)]
        return features

    def _probes(self, modality: str, rows: np.ndarray, where: np.ndarray) -> Iterator:
        for readout in self.readouts:
            task, name = readout.task, readout.task.name
            if name not in ("classification", "localisation") or readout.representation.kind != "quantized":
                continue
            present = readout.representation.present(self.table, modality)[rows]
            before = self.unturned.outputs(readout, modality, rows)
            after = readout.ask(self._features(readout.representation, modality, rows, where), present)
            describe = _classified if name == "classification" else _localised
            for train, *pair in zip(readout.train, before, after, strict=True):
                yield (name, train, modality), describe(pair, task, rows, where, present, self.classes)

    def _retrieval(self, modality: str, rows: np.ndarray, where: np.ndarray) -> Iterator:
        first = next((r for r in self.readouts if r.representation.kind == "quantized"), None)
        if first is None:
            return
        read, there = first.representation, self.unturned
        mine = np.isin(rows, there.asked)
        some, at = rows[mine], np.searchsorted(there.asked, rows[mine])
        features = self._features(read, modality, some, where[mine])
        turned = pooled(features, read.present(self.table, modality)[some])
        for other in self.table.modalities:
            found = there.retrieved(read, modality, other) if other != modality else None
            if found is None or not found[0][at].any():
                continue
            both, before = found
            kept = both[at]
            answers, groups = there.pooled(read, other)[both], there.items[there.asked[both]]
            clips, place = some[kept], (np.cumsum(both) - 1)[at[kept]]
            after = ranked((turned[kept], there.items[clips]), (answers, groups), (NEAREST,))
            same = (before.top[place][:, :, None] == after.top[:, None]).any(-1).mean(-1)
            ranks = before.ranks[place[0]], after.ranks[0]
            yield ("retrieval", other, modality), Answers(
                clips, before.found[NEAREST][place], after.found[NEAREST], 1 - same,
                tuple(f"its partner comes at place {rank + 1:.3g}" for rank in ranks),
            )  # fmt: skip

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
