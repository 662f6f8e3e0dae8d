"""Scores of probes, each with the clips behind it; and their means with both intervals.

A score has two sources of doubt and two intervals: Student's t over probe seeds (would another initial state say the
same?) and a bootstrap over the scored clips (would other clips?).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from srcid.evaluation.tables import comparison_table
from srcid.statistics import bootstrap_weights, t_interval

REPLICATES = 1000
TOGETHER = 512  # directions resampled in one matrix product: memory stays bounded
# columns that a frame has even without a row, and their types
_COLUMNS = dict(
    task=object, representation=object, train=object, test=object, same=bool, metric=object, score=float,
    seed_low=float, seed_high=float, clip_low=float, clip_high=float, seeds=int, clips=int, chance=float,
)  # fmt: skip


@dataclass(frozen=True)
class ProbeScore:
    """One probe scored on one modality.

    Attributes:
        task, representation, train, test, seed: which probe, and the modality it is scored on.
        epoch: the chosen epoch, from 1.
        values: scores in percent, by name; see the task.
        metric: the one of them that tables report.
        rows: scored clips, as rows of the table ``[n]``.
        counts: per clip what the score divides: (part, whole), ``[n, 2]``, the score is :func:`share` of the sums; or
            two such pairs, ``[n, 4]``, whose shares have the score as their harmonic mean.
        prediction: class per clip ``[n]``, or probabilities ``[n, T, classes + 1]`` float16, 0 at absent
            steps; None beyond the first seed.
        data: name of the data that the rows belong to; scores of equal ``data`` are of the same clips.
    """

    task: str
    representation: str
    train: str
    test: str
    seed: int
    epoch: int
    values: dict[str, float]
    metric: str
    rows: np.ndarray
    counts: np.ndarray
    prediction: np.ndarray | None = None
    data: str = ""

    @property
    def score(self) -> float:
        """The reported score in percent."""
        return self.values[self.metric]


@dataclass(frozen=True)
class ProbeResults:
    """All probes of one code table.

    Attributes:
        scores: one per task, representation, training modality, scored modality and seed.
        chance: per task the scores of always answering the most frequent class of the training clips.
        classes: names of the event classes.
        modalities: in the table's order.
        clips: per task the number of clips used, by split.
        params: the parameters they were fitted with.
        notes: what was left out and why, as sentences.
        readouts: the fitted probes of the first seed, :class:`srcid.evaluation.tasks.Readout`: one per task and
            representation. They can be asked about features that no clip has. None of protocol ``published``, where a
            probe has an epoch for each modality that it is scored on.
    """

    scores: tuple[ProbeScore, ...]
    chance: dict[str, dict[str, float]]
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    clips: dict[str, dict[str, int]]
    params: dict[str, Any]
    notes: tuple[str, ...] = field(default=())
    readouts: tuple[Any, ...] = field(default=())

    def select(self, **which: Any) -> list[ProbeScore]:
        """Return the scores whose fields equal all of ``which``: ``select(train="audio", seed=0)``."""
        return [s for s in self.scores if all(getattr(s, name) == value for name, value in which.items())]

    def scored_split(self, task: str) -> str:
        """The split of the clips that a task was scored on: "test", or by protocol ``published`` mostly "train"."""
        return list(self.clips.get(task, ["test"]))[-1]

    def frame(self, level: float = 0.95) -> pd.DataFrame:
        """Return one row per task, representation and direction: the mean over seeds and both intervals.

        Columns: task, representation, train, test, same, metric, score, seed_low, seed_high, clip_low, clip_high,
        seeds, clips, chance, and the means of all other scores; percent. ``attrs["split"]`` says by task whose
        clips were scored.
        """
        groups = by_direction(self.scores)
        if not groups:
            return pd.DataFrame(columns=list(_COLUMNS)).astype(_COLUMNS)
        drawn = resampled(list(groups.values()))
        samples = np.array([drawn[id(scores)] for scores in groups.values()]).reshape(len(groups), -1)
        ends = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=1).T
        rows = []
        for ((task, representation, train, test), scores), (low, high) in zip(groups.items(), ends, strict=True):
            seeds, first = t_interval(np.array([s.score for s in scores]), level), scores[0]
            rows.append(
                {
                    "task": task, "representation": representation, "train": train, "test": test,
                    "same": train == test, "metric": first.metric, "score": seeds.value,
                    "seed_low": seeds.low, "seed_high": seeds.high, "clip_low": low, "clip_high": high,
                    "seeds": len(scores), "clips": len(first.rows), "chance": self.chance[task][first.metric],
                    **{name: sum(s.values[name] for s in scores) / len(scores) for name in first.values},
                }
            )  # fmt: skip
        frame = pd.DataFrame(rows)
        frame.attrs["split"] = {task: self.scored_split(task) for task in frame["task"].unique()}
        return frame

    def table(self) -> pd.DataFrame:
        """Return the scores in the paper's layout as text, ``62.2 ± 1.1``: ± is half the t-interval over probe seeds.

        Rows are representations and, last, the score of always answering the most frequent class; columns as those of
        :func:`srcid.evaluation.tables.comparison_table`. Empty without scores.
        """
        rows = [
            dict(run=s.seed, method="", seed=s.seed, task=s.task, representation=s.representation, train=s.train,
                 test=s.test, score=s.score, chance=self.chance[s.task][s.metric])
            for s in self.scores
        ]  # fmt: skip
        if not rows:
            return pd.DataFrame(columns=pd.MultiIndex.from_tuples([], names=["task", "direction"]))
        names = list(dict.fromkeys(s.representation for s in self.scores))
        table = comparison_table(pd.DataFrame(rows), names)
        return table.rename(lambda name: name.strip(" ()") or "all").rename_axis("representation")

    @property
    def finding(self) -> str:
        """What the first representation reaches, in a sentence: see :func:`score_finding`."""
        return score_finding(self.frame())


def by_direction(scores: Iterable[ProbeScore]) -> dict[tuple[str, str, str, str], list[ProbeScore]]:
    """Put together the seeds of each (task, representation, training modality, scored modality)."""
    groups: dict[tuple[str, str, str, str], list[ProbeScore]] = {}
    for score in scores:
        groups.setdefault((score.task, score.representation, score.train, score.test), []).append(score)
    return groups


def score_finding(frame: pd.DataFrame) -> str:
    """Say what the representation that stands first reaches: across modalities, and for up to two tasks within them.

    In brackets the mean over directions of their intervals over clips: the interval of the mean is no wider.

    Args:
        frame: of :meth:`ProbeResults.frame`.
    """
    if not len(frame):
        return "No scores"
    first = frame[frame["representation"] == frame["representation"].iloc[0]]
    cells = first.groupby(["task", first["same"].astype(bool)], sort=False)[["score", "clip_low", "clip_high"]].mean()
    said = {key: f"{score:.0f} % [{low:.0f}, {high:.0f}]" for key, (score, low, high) in
            zip(cells.index, cells.to_numpy(), strict=True)}  # fmt: skip
    tasks = first.groupby("task", sort=False)["chance"].first()
    if len(tasks) > 2:
        return "Across modalities: " + ", ".join(f"{task} {said.get((task, False), '–')}" for task in tasks.index)
    parts = []
    for task, chance in tasks.items():
        ways = [f"{said[task, same]} {way}" for same, way in ((False, "across modalities"), (True, "within"))
                if (task, same) in said]  # fmt: skip
        parts.append(f"{task} {', '.join(ways)} (chance {chance:.0f} %)")
    return "; ".join(parts).capitalize()


def share(sums: np.ndarray) -> np.ndarray:
    """Return the percentage that sums of :attr:`ProbeScore.counts` ``[..., 2 or 4]`` stand for; 0 of nothing."""
    part, whole = sums[..., 0::2], sums[..., 1::2]
    shares = np.divide(part, whole, out=np.zeros_like(part, dtype=float), where=whole > 0)
    if shares.shape[-1] == 1:
        return 100.0 * shares[..., 0]
    total = shares.sum(-1)
    return 100.0 * np.divide(2 * shares.prod(-1), total, out=np.zeros_like(total), where=total > 0)


def resampled(groups: Sequence[Sequence[ProbeScore]]) -> Mapping[int, np.ndarray]:
    """Return by the ``id`` of each group (the seeds of a direction) its mean score in each bootstrap sample, percent.

    One draw of clips serves all scores of a data set, so that differences and averages are resampled together; groups
    that were scored on the same clips are resampled by one matrix product.
    """
    names = list(dict.fromkeys(group[0].data for group in groups))
    drawn = {}
    for place, data in enumerate(names):
        every = {group[0].rows.tobytes(): group[0].rows for group in groups if group[0].data == data}
        clips = np.unique(np.concatenate(list(every.values())))
        drawn[data] = clips, bootstrap_weights(len(clips), REPLICATES, seed=place)
    alike: dict[tuple, list[Sequence[ProbeScore]]] = {}
    for group in groups:
        first = group[0]
        alike.setdefault((first.data, first.rows.tobytes(), first.counts.shape, len(group)), []).append(group)
    found = {}
    for (data, *_, seeds), part in alike.items():
        clips, weights = drawn[data]
        weights = weights[:, np.searchsorted(clips, part[0][0].rows)]
        for start in range(0, len(part), TOGETHER):
            some = part[start : start + TOGETHER]
            counts = np.stack([s.counts for group in some for s in group], axis=1).astype(np.float32)
            scores = share(np.tensordot(weights, counts, axes=1))  # [replicates, groups * seeds]
            found |= dict(zip(map(id, some), scores.reshape(-1, len(some), seeds).mean(2).T, strict=True))
    return found
