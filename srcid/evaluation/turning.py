"""Turning a code: what would probes and retrieval say if a code were another one, or a layer were not there?

A code's page tells what goes *with* a code; this asks what *follows* from it. In clips that have the code its vector is
exchanged for another code's, everything else stays, and fitted probes answer again. A layer is left out by giving all
its steps the layer's mean vector (mean ablation), which says nothing and lies where vectors lie, as zero may not.

Any exchange moves something. So the same is done to random codes of the layer that are used about as often, in clips
that have them; only what goes beyond these is owed to the code. The unit is a clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from srcid.evaluation.exchange import LAYER_OUT, Answers, Exchange, Turn, Unturned, pool
from srcid.evaluation.metrics import EvaluationError
from srcid.evaluation.representation import Codes
from srcid.evaluation.results import ProbeResults
from srcid.statistics import Interval

ORDER = ("classification", "localisation", "retrieval", "reconstruction")


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
        names = ("moved", "change", "control_moved", "control_change")
        rows = []
        for e in self.effects:
            row = dict(task=e.task, train=e.train, test=e.test, clips=e.change.n, before=e.before, after=e.after)
            for name in names:
                row |= getattr(e, name).columns(name)
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
        more = sum(e.moved.low > e.control_moved.high for e in beside)
        most = f"{top.task}, {top.train} → {top.test}, {top.moved.text('.0f')} %"
        return (
            f"{said}: {more} of {len(beside)} directions of the probes move more than for random codes; most: {most}, "
            f"random codes {top.control_moved.text('.0f')} %"
        )


class Turner:
    """Turns codes in the clips of a split; what probes answer before is asked once.

    Args:
        table: the codes, those that the probes were fitted on.
        probes: of :func:`srcid.evaluation.probes.fit_probes`; its ``readouts`` are asked.
        split: whose clips are turned.

    Raises:
        EvaluationError: no such split, or nothing labelled in it.
    """

    def __init__(self, table: Codes, probes: ProbeResults, split: str = "test") -> None:
        self.unturned = Unturned(table, probes, split)

    def turn(self, turn: Turn, most: int = 200, controls: int = 5, seed: int = 0) -> Turned:
        """Turn a code in up to ``most`` clips that have it, each modality by itself, and ask again.

        Args:
            controls: random codes of equal use: drawn from twice as many whose use is nearest.

        Raises:
            EvaluationError: no such layer or code, or a code that no clip has; all at once.
        """
        exchange = Exchange(self.unturned, turn)
        draw = np.random.default_rng(seed)
        use = exchange.use
        codes: tuple[int, ...] = ()
        notes = list(exchange.notes)
        if turn.code != LAYER_OUT and controls:
            others = np.setdiff1d(np.flatnonzero(use), [turn.code, turn.into])
            near = others[np.argsort(abs(use[others] - use[turn.code]), kind="stable")][: 2 * controls]
            codes = tuple(int(c) for c in np.sort(draw.permutation(near)[:controls]))
        if not codes:
            alone = turn.code != LAYER_OUT
            notes.append("no other code is used" if alone else "there is no random code to compare with")
        own, counts = {}, {}
        random: dict[tuple[str, str, str], list[Answers]] = {}
        with threadpool_limits(1):  # products this small take twice as long on two threads
            for modality in exchange.table.modalities:
                rows, steps = exchange.clips(modality, turn.code, most, draw)
                counts[modality] = len(rows), steps
                if not len(rows):
                    notes.append(f"no clip has the code in {modality}")
                    continue
                own |= dict(exchange.ask(modality, rows, turn.code))
                for code in codes:
                    others, _ = exchange.clips(modality, code, most, draw)
                    for key, found in exchange.ask(modality, others, code) if len(others) else ():
                        random.setdefault(key, []).append(found)
        effects = []
        for key, found in own.items():
            beside = pool(random.get(key, []))
            effects.append(
                Effect(
                    *key, before=100 * float(found.before.mean()), after=100 * float(found.after.mean()),
                    moved=found.moved_interval(), change=found.change_interval(),
                    control_moved=beside.moved_interval(), control_change=beside.change_interval(),
                )
            )  # fmt: skip
        effects.sort(key=lambda e: ORDER.index(e.task))
        params = dict(most=most, controls=controls, seed=seed)
        sample = f"{self.unturned.split} clips: " + ", ".join(f"{clips} in {m}" for m, (clips, _) in counts.items())
        return Turned(turn, sample, tuple(effects), codes, counts, tuple(dict.fromkeys(notes)), params)

    def clip(self, turn: Turn, clip: int) -> pd.DataFrame:
        """Turn a code in one clip of the split, and say what each probe and retrieval answer before and after.

        Returns:
            a row a task and direction: the answer in words before and after; empty where the clip does not have the
            code.

        Raises:
            EvaluationError: as :meth:`turn`, or no such clip in the split.
        """
        exchange = Exchange(self.unturned, turn)
        if clip not in exchange.rows:
            raise EvaluationError(f"found clip {clip}, need a row of split '{self.unturned.split}'")
        rows = []
        with threadpool_limits(1):
            for modality in exchange.table.modalities:
                where = exchange.where(modality, np.array([clip]), turn.code)
                if where.any():
                    rows += [
                        dict(task=key[0], train=key[1], test=key[2], steps=int(where.sum()), before=found.words[0],
                             after=found.words[1])
                        for key, found in exchange.ask(modality, np.array([clip]), turn.code)
                    ]  # fmt: skip
        return pd.DataFrame(rows, columns=["task", "train", "test", "steps", "before", "after"])
