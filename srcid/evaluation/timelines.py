"""Localisation clip by clip: what is true, what probes say, and the codes they read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from srcid.evaluation.details import predicted_cells
from srcid.evaluation.metrics import EvaluationError
from srcid.evaluation.representation import Codes, labelled_part, true_events
from srcid.evaluation.results import ProbeResults, ProbeScore


@dataclass(frozen=True)
class Timeline:
    """One clip: what is true, what probes say, and the codes they read.

    Attributes:
        clip: row of the table; ``name``: its id.
        classes: the event classes that are true or predicted somewhere in the clip ``[C]``.
        truth: ``[T, C]``.
        said: by direction (train, test): predicted events ``[T, C]``.
        present: by modality, steps that exist ``[T]``.
        codes: by (layer, modality), one symbol a step ``[T]``, -1 where there is none; empty without a quantiser.
        f1: micro F1 of the clip's events, mean over directions across modalities, percent.
        quantile: place of that F1 among all scored clips, 0 (worst) to 1.
        modalities: of the table, in its order.
        representation: what the probes read.
    """

    clip: int
    name: str
    classes: tuple[str, ...]
    truth: np.ndarray
    said: dict[tuple[str, str], np.ndarray]
    present: dict[str, np.ndarray]
    codes: dict[tuple[int, str], np.ndarray]
    f1: float
    quantile: float
    modalities: tuple[str, ...]
    representation: str

    @property
    def found(self) -> float:
        """Percentage of true events and steps that probes of other modalities name, mean over directions."""
        said = [steps for pair, steps in self.said.items() if pair[0] != pair[1]] or list(self.said.values())
        true = self.truth.sum()
        return 100 * float(np.mean([(steps & self.truth).sum() / true for steps in said])) if true and said else np.nan

    @property
    def finding(self) -> str:
        """The clip, and how well its events are found."""
        name = f" ({self.name})" if self.name else ""
        place = f"F1 across modalities {self.f1:.0f} %, better than {self.quantile:.0%} of test clips"
        return f"clip {self.clip}{name}: {place}"


def timelines(
    results: ProbeResults,
    table: Codes,
    clips: Sequence[int] = (),
    task: str = "localisation",
    representation: str = "all",
) -> tuple[Timeline, ...]:
    """Return the timelines of ``clips`` (rows of the table), or of a good, a middling and a bad one.

    Good, middling and bad are the 90 %, 50 % and 10 % quantiles of the clips' F1 across modalities.

    Raises:
        EvaluationError: no such scores, or clips that were not scored.
    """
    scores = [s for s in results.select(task=task, representation=representation, seed=0) if s.prediction is not None]
    across = [s for s in scores if s.train != s.test] or scores
    if not scores:
        raise EvaluationError(f"found no scores of {task}, {representation}")
    rows = np.unique(np.concatenate([s.rows for s in across]))
    total, asked = np.zeros(len(rows)), np.zeros(len(rows), int)
    for s in across:
        said, truth = (cells[..., :-1].sum((1, 2)) for cells in predicted_cells(s, table))
        hits = np.logical_and(*predicted_cells(s, table))[..., :-1].sum((1, 2))
        place = np.searchsorted(rows, s.rows)
        total[place] += 2 * hits / np.maximum(said + truth, 1)
        asked[place] += 1
    f1 = 100 * total / asked
    order = np.argsort(f1, kind="stable")
    quantile = np.empty(len(rows))
    quantile[order] = np.arange(len(rows)) / max(len(rows) - 1, 1)
    unknown = sorted(set(map(int, clips)) - set(rows.tolist()))
    if unknown:
        raise EvaluationError(f"found clips {unknown}, which were not scored; need rows such as {rows[:3].tolist()}")
    chosen = list(clips) or [int(rows[order[round(q * (len(rows) - 1))]]) for q in (0.9, 0.5, 0.1)]
    return tuple(
        _timeline(clip, scores, table, float(f1[i]), float(quantile[i]), representation)
        for clip in chosen
        for i in [int(np.searchsorted(rows, clip))]
    )


def _timeline(
    clip: int, scores: Sequence[ProbeScore], table: Codes, f1: float, quantile: float, representation: str
) -> Timeline:
    truth = true_events(table)[clip]
    said = {
        (s.train, s.test): s.prediction[i, :, :-1] > 0.5
        for s in scores
        for i in np.flatnonzero(s.rows == clip)
    }  # fmt: skip
    shown = np.flatnonzero(np.logical_or.reduce([truth, *said.values()]).any(0))
    names = table.label_info["event"].classes
    codes = {}
    if getattr(table, "stages", 1):
        codes = {(k, m): table.code(k, m)[clip] for k in range(1, table.layers + 1) for m in table.modalities}
    ids = getattr(table, "ids", ())
    return Timeline(
        int(clip), str(ids[clip]) if len(ids) else "", tuple(str(names[c]) for c in shown), truth[:, shown],
        {pair: steps[:, shown] for pair, steps in said.items()},
        {m: np.asarray(labelled_part(table).masks[m], bool)[clip] for m in table.modalities},
        codes, f1, quantile, tuple(table.modalities), representation,
    )  # fmt: skip
