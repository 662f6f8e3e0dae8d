"""Turning a code: what would probes and retrieval say if a code were another one, or a layer were not there?

A code's page tells what goes *with* a code; this asks what *follows* from it. In clips that have the code its vector is
exchanged for another code's, everything else stays, and fitted probes answer again. A layer is left out by giving all
its steps the layer's mean vector (mean ablation), which says nothing and lies where vectors lie, as zero may not.

Any exchange moves something. So the same is done to random codes of the layer that are used about as often, in clips
that have them; only what goes beyond these is owed to the code. The unit is a clip.

Only stored vectors and fitted probes are read, never the model. What is known of the reconstruction is how far the
feature before quantisation lies from the vector, for the clips whose features the table keeps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, softmax

from srcid.evaluation.metrics import EvaluationError, with_background
from srcid.evaluation.ranking import retrieve
from srcid.evaluation.representation import Codes, labelled_part
from srcid.evaluation.results import ProbeResults
from srcid.evaluation.retrieval import pooled
from srcid.statistics import Interval, t_interval, wilson

if TYPE_CHECKING:
    import pandas as pd

NEAREST = 10  # clips found that retrieval is judged by
LAYER_OUT = -1
ORDER = ("classification", "localisation", "retrieval", "reconstruction")


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
class Effect:
    """What a turn does to one direction of one task, over clips.

    Attributes:
        task, train, test: which probe, and the modality that was turned and asked; of retrieval ``test`` asks and
            ``train`` answers; of reconstruction both are the modality.
        before, after: percent of right answers (classification: clips; localisation: steps; retrieval: clips with
            their partner among the first 10), or of reconstruction the error, percent of the features' power.
        moved: percent of other answers than before (retrieval: of other clips among the first 10).
        change: ``after`` - ``before``.
        control_moved, control_change: the same of random codes of equal use; unknown where there is none.
    """

    task: str
    train: str
    test: str
    before: float
    after: float
    moved: Interval
    change: Interval
    control_moved: Interval
    control_change: Interval


@dataclass(frozen=True)
class Turned:
    """What a turn does to all that reads the codes.

    Attributes:
        effects: one a task and direction.
        controls: the random codes of equal use.
        counts: by modality, the clips that were turned, and their steps with the code.
        notes: what was left out and why, as sentences.
    """

    turn: Turn
    sample: str
    effects: tuple[Effect, ...]
    controls: tuple[int, ...]
    counts: dict[str, tuple[int, int]]
    notes: tuple[str, ...]
    params: dict[str, Any]

    def frame(self) -> pd.DataFrame:
        """One row a task and direction; percent and points."""
        import pandas as pd

        names = ("moved", "change", "control_moved", "control_change")
        rows = []
        for e in self.effects:
            row = dict(task=e.task, train=e.train, test=e.test, clips=e.change.n, before=e.before, after=e.after)
            for name in names:
                found = getattr(e, name)
                row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
            rows.append(row)
        return pd.DataFrame(rows)

    @property
    def finding(self) -> str:
        """How many directions of the probes move more than those of the random codes do, and which most."""
        said = f"{str(self.turn).capitalize()} ({self.sample})"
        asked = [e for e in self.effects if e.task in ("classification", "localisation")]
        if not asked:
            return f"{said}: no probe was asked"
        beside = [e for e in asked if e.control_moved.known]
        if not beside:
            top = max(asked, key=lambda e: e.moved.value)
            return f"{said}: other answers in up to {top.moved.text('.0f')} % ({top.task}, {top.train} → {top.test})"
        top = max(beside, key=lambda e: e.moved.value - e.control_moved.value)
        sure = sum(e.moved.low > e.control_moved.high for e in beside)
        most = f"{top.task}, {top.train} → {top.test}, {top.moved.text('.0f')} %"
        return (
            f"{said}: {sure} of {len(beside)} directions of the probes move more than for random codes; most: {most}, "
            f"random codes {top.control_moved.text('.0f')} %"
        )


def turn_code(
    table: Codes,
    probes: ProbeResults,
    turn: Turn,
    split: str = "test",
    most: int = 200,
    controls: int = 5,
    seed: int = 0,
) -> Turned:
    """Turn a code in up to ``most`` clips of a split that have it, each modality by itself, and ask again.

    Args:
        table: the codes, those that the probes were fitted on.
        probes: of :func:`srcid.evaluation.probes.fit_probes`; its ``readouts`` are asked.
        controls: random codes of equal use: drawn from twice as many whose use is nearest.

    Raises:
        EvaluationError: no such split, layer or code, or a code that no clip has; all at once.
    """
    turner = _Turner(table, probes, turn, split)
    draw = np.random.default_rng(seed)
    use = turner.use
    codes: tuple[int, ...] = ()
    notes = list(turner.notes)
    if turn.code != LAYER_OUT and controls:
        others = np.setdiff1d(np.flatnonzero(use), [turn.code, turn.into])
        near = others[np.argsort(abs(use[others] - use[turn.code]), kind="stable")][: 2 * controls]
        codes = tuple(int(c) for c in np.sort(draw.permutation(near)[:controls]))
    if not codes:
        notes.append("no other code is used" if turn.code != LAYER_OUT else "there is no random code to compare with")
    own, counts = {}, {}
    random: dict[tuple[str, str, str], list[_Answers]] = {}
    for modality in table.modalities:
        rows, steps = turner.clips(modality, turn.code, most, draw)
        counts[modality] = len(rows), steps
        if not len(rows):
            notes.append(f"no clip has the code in {modality}")
            continue
        own |= {key: found for key, found in turner.ask(modality, rows, turn.code)}
        for code in codes:
            others, _ = turner.clips(modality, code, most, draw)
            for key, found in turner.ask(modality, others, code) if len(others) else ():
                random.setdefault(key, []).append(found)
    effects = []
    for key, found in own.items():
        beside = _pool(random.get(key, []))
        effects.append(
            Effect(
                *key, before=100 * float(found.before.mean()), after=100 * float(found.after.mean()),
                moved=found.moved_interval(), change=found.change_interval(),
                control_moved=beside.moved_interval(), control_change=beside.change_interval(),
            )
        )  # fmt: skip
    effects.sort(key=lambda e: ORDER.index(e.task))
    params = dict(most=most, controls=controls, seed=seed)
    sample = f"{split} clips: " + ", ".join(f"{clips} in {m}" for m, (clips, _) in counts.items())
    return Turned(turn, sample, tuple(effects), codes, counts, tuple(dict.fromkeys(notes)), params)


def turn_clip(table: Codes, probes: ProbeResults, turn: Turn, clip: int, split: str = "test") -> pd.DataFrame:
    """Turn a code in one clip of the split, and say what each probe and retrieval answer before and after.

    Returns:
        a row a task and direction: the answer in words before and after; empty where the clip does not have the code.

    Raises:
        EvaluationError: as :func:`turn_code`, or no such clip in the split.
    """
    import pandas as pd

    turner = _Turner(table, probes, turn, split)
    if clip not in turner.rows:
        raise EvaluationError(f"found clip {clip}, need a row of split '{split}'")
    rows = []
    for modality in table.modalities:
        where = turner.where(modality, np.array([clip]), turn.code)
        if where.any():
            rows += [
                dict(task=key[0], train=key[1], test=key[2], steps=int(where.sum()), before=found.words[0],
                     after=found.words[1])
                for key, found in turner.ask(modality, np.array([clip]), turn.code)
            ]  # fmt: skip
    return pd.DataFrame(rows, columns=["task", "train", "test", "steps", "before", "after"])


@dataclass(frozen=True)
class _Answers:
    """Of each clip: shares of right answers before and after, of other answers, and the answers of the first clip."""

    clips: np.ndarray
    before: np.ndarray
    after: np.ndarray
    moved: np.ndarray
    words: tuple[str, str] = ("", "")
    bounded: bool = True  # whether these are shares of answers

    def moved_interval(self) -> Interval:
        """Percent of other answers: Wilson's interval, which counts clips."""
        return _percent(self.moved) if self.bounded else _unknown(len(self.clips))

    def change_interval(self) -> Interval:
        """Change in points: Wilson's intervals of what became right and what became wrong, joined (MOVER)."""
        difference = self.after - self.before
        if not len(self.clips):
            return _unknown(0)
        if not self.bounded:
            found = t_interval(100 * difference)
            return Interval(found.value, found.low, found.high, n=len(self.clips))
        gained, lost = (_percent(np.maximum(side, 0)) for side in (difference, -difference))
        value = gained.value - lost.value
        down = math.hypot(gained.value - gained.low, lost.high - lost.value)
        up = math.hypot(gained.high - gained.value, lost.value - lost.low)
        return Interval(value, value - down, value + up, n=len(self.clips))


def _unknown(n: int) -> Interval:
    return Interval(math.nan, math.nan, math.nan, n=n)


def _percent(shares: np.ndarray) -> Interval:
    if not len(shares):
        return _unknown(0)
    mean = float(shares.mean())
    low, high = (float(end[0]) for end in wilson(np.array([mean]), np.array([len(shares)])))
    return Interval(100 * mean, 100 * low, 100 * high, n=len(shares))


def _pool(found: Sequence[_Answers]) -> _Answers:
    """Answers of several random codes, the mean of each clip's: clips are what is counted."""
    if not found:
        return _Answers(*(np.zeros(0),) * 4)
    clips, of = np.unique(np.concatenate([a.clips for a in found]), return_inverse=True)
    sums = (np.bincount(of, np.concatenate([getattr(a, name) for a in found])) for name in ("before", "after", "moved"))
    return _Answers(clips, *(side / np.bincount(of) for side in sums), bounded=found[0].bounded)


class _Turner:
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

    def ask(self, modality: str, rows: np.ndarray, code: int) -> Iterator[tuple[tuple[str, str, str], _Answers]]:
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
        queries = self._pooled(read, modality, asked)
        turned = queries.copy()
        mine = np.isin(rows, asked)
        turned[np.searchsorted(asked, rows[mine])] = pooled(
            self._features(read, modality, rows[mine], where[mine]), read.present(self.table, modality)[rows[mine]]
        )
        for other in others:
            answers = self._pooled(read, other, asked)
            both = np.isfinite(queries).all(-1) & np.isfinite(answers).all(-1)
            kept = asked[both]
            place = np.searchsorted(kept, rows[np.isin(rows, kept)])
            if len(kept) <= NEAREST or not len(place):
                continue
            groups = self.items[kept], self.items[kept]
            before, after = (retrieve(side[both], answers[both], groups, (NEAREST,))[0] for side in (queries, turned))
            same = [np.isin(b, a).mean() for b, a in zip(before.top[place], after.top[place], strict=True)]
            yield ("retrieval", other, modality), _Answers(
                kept[place], before.found[NEAREST][place], after.found[NEAREST][place], 1 - np.array(same),
                tuple(f"its partner comes at place {s.ranks[place[0]] + 1:.3g}" for s in (before, after)),
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
        yield ("reconstruction", modality, modality), _Answers(rows, *errors, np.zeros(len(rows)), words, False)


def _classified(pair: list[np.ndarray], task: Any, rows: np.ndarray, where: np.ndarray, present: np.ndarray,
                classes: Sequence[str]) -> _Answers:  # fmt: skip
    answers = [values.argmax(-1) for values in pair]
    right = [(answer == task.truth[rows]) & task.usable[rows] for answer in answers]
    words = tuple(f"{classes[values[0].argmax()]} {softmax(values[0])[values[0].argmax()]:.0%}" for values in pair)
    return _Answers(rows, *(side.astype(float) for side in right), (answers[0] != answers[1]).astype(float), words)


def _localised(pair: list[np.ndarray], task: Any, rows: np.ndarray, where: np.ndarray, present: np.ndarray,
               classes: Sequence[str]) -> _Answers:  # fmt: skip
    """Of the turned steps: a probe sees no others, so only there can anything change."""
    answers, truth = [values > 0 for values in pair], with_background(task.events[rows])
    steps = np.maximum((where & present).sum(1), 1)

    def share(of: np.ndarray) -> np.ndarray:
        return (of & where & present).sum(1) / steps

    words = tuple(_steps(values[0], where[0] & present[0], classes) for values in pair)
    right = (share((answer == truth).all(-1)) for answer in answers)
    return _Answers(rows, *right, share((answers[0] != answers[1]).any(-1)), words)


def _steps(outputs: np.ndarray, where: np.ndarray, classes: Sequence[str]) -> str:
    """What is answered at the turned steps, the most frequent answer first."""
    said = [" + ".join(classes[c] for c in np.flatnonzero(step > 0)) or "nothing" for step in outputs[where]]
    told, first, counts = np.unique(said, return_index=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    surest = expit(outputs[where].max(-1))
    return ", ".join(f"{told[i]} ({counts[i]} of {len(said)} steps, {surest[first[i]]:.0%})" for i in order[:3])
