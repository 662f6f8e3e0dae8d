"""Scores as tables: every probe in a row, means with both intervals, and the layout of the paper's Tables I
and II.

A score has two sources of doubt and two intervals: Student's t over probe seeds (would another initial state
say the same?) and a bootstrap over the scored clips (would other clips?). Averages over directions are
resampled as one: the same clips are drawn for every score of a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from srcid.statistics import bootstrap_weights, percentile_interval, t_interval

if TYPE_CHECKING:
    import pandas as pd

    from srcid.evaluation.probes import ProbeResults, ProbeScore
    from srcid.evaluation.retrieval import RetrievalResults, RetrievalScore

    Runs = ProbeResults | Mapping[str, ProbeResults]

REPLICATES = 1000
TOGETHER = 512  # cells resampled in one matrix product: memory stays bounded
Interval = Literal["seeds", "clips", "both", "none"]
# columns that a frame has even without a row, and their types
_PROBE = dict(
    run=object, task=object, representation=object, train=object, test=object, same=bool, seed=int, epoch=int,
    clips=int, metric=object, score=float,
)  # fmt: skip
_SUMMARY = dict(
    run=object, task=object, representation=object, train=object, test=object, same=bool, metric=object, score=float,
    seed_low=float, seed_high=float, clip_low=float, clip_high=float, seeds=int, clips=int, chance=float,
)  # fmt: skip


def probe_frame(runs: Runs) -> pd.DataFrame:
    """Return one row per probe and scored modality, with all its scores in percent."""
    import pandas as pd

    rows = [
        {
            "run": run, "task": s.task, "representation": s.representation, "train": s.train,
            "test": s.test, "same": s.train == s.test, "seed": s.seed, "epoch": s.epoch, "clips": len(s.rows),
            "metric": s.metric,
            "score": s.score, **s.values,
        }
        for run, results in _named(runs).items()
        for s in results.scores
    ]  # fmt: skip
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(_PROBE)).astype(_PROBE)


def probe_summary(runs: Runs, level: float = 0.95) -> pd.DataFrame:
    """Return one row per task, representation and direction: the mean over seeds and both intervals.

    Columns: run, task, representation, train, test, same, metric, score, seed_low, seed_high, clip_low,
    clip_high, seeds, clips, chance, and the means of all other scores; percent.
    """
    import pandas as pd

    rows = []
    for run, results in _named(runs).items():
        groups = _groups(results)
        for key, cell in _cells(results, groups).items():
            (representation, task, train, test), scores = key, groups[key]
            first = scores[0]
            rows.append(
                {
                    "run": run, "task": task, "representation": representation, "train": train,
                    "test": test, "same": train == test, "metric": first.metric,
                    **cell.describe(level), "seeds": len(scores),
                    "clips": len(first.rows), "chance": results.chance[task][first.metric],
                    **{name: sum(s.values[name] for s in scores) / len(scores) for name in first.values},
                }
            )  # fmt: skip
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(_SUMMARY)).astype(_SUMMARY)


def paper_table(
    runs: Runs, interval: Interval = "seeds", level: float = 0.95, tasks: Sequence[str] | None = None
) -> pd.DataFrame:
    """Return the scores in the paper's layout, as text such as ``62.2 ± 1.1`` or ``62.2 [60.9, 63.4]``.

    Rows are representations (of each run, where several are given) and, last, the score of always answering
    the most frequent class. Columns are task and direction, then the averages over all cross-modal and all
    same-modality directions. Cells that were not made are empty, and so is the table of results without scores.

    Args:
        interval: over seeds (± half width), over clips (in brackets), both, or none.
    """
    import pandas as pd

    named = _named(runs)
    table: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    for run, results in named.items():
        cells = {
            key: cell for key, cell in _cells(results, _groups(results)).items() if tasks is None or key[1] in tasks
        }
        for representation in dict.fromkeys(key[0] for key in cells):
            mine = {key[1:]: cell for key, cell in cells.items() if key[0] == representation}
            table[run, representation] = {
                **{(task, f"{m} → {n}"): cell.text(interval, level) for (task, m, n), cell in mine.items()},
                **{
                    ("average", name): _Cell.mean(cell for (_, m, n), cell in mine.items() if (m == n) == same).text(
                        interval, level
                    )
                    for name, same in (("cross-modal", False), ("same modality", True))
                    if any((m == n) == same for _, m, n in mine)
                },
            }
    columns = _ordered(dict.fromkeys(column for row in table.values() for column in row))
    frame = pd.DataFrame(
        [[row.get(column, "") for column in columns] for row in table.values()],
        index=pd.MultiIndex.from_tuples(table, names=["run", "representation"]),
        columns=pd.MultiIndex.from_tuples(columns, names=["task", "direction"]),
        dtype=object,
    )
    for run, results in named.items() if columns else ():
        frame.loc[(run, "chance"), :] = _chance_row(results, columns)
    if len(named) == 1:
        return frame.droplevel("run")
    return frame.reindex([run for run in named], level="run")


def retrieval_frame(runs: RetrievalResults | Mapping[str, RetrievalResults], level: float = 0.95) -> pd.DataFrame:
    """Return one row per run, representation and direction: recall@k with its interval over items and chance, ranks.

    Columns: run, representation, query, target, queries, candidates, and for each k ``R@k``, ``R@k low``,
    ``R@k high``, ``chance R@k`` (percent); ``median rank``, ``mean rank`` (from 1).
    """
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "run": run, "representation": s.representation, "query": s.query, "target": s.target,
                "queries": len(s.ranks), "candidates": len(s.ranks if s.candidates is None else s.candidates),
                **{
                    name: value
                    for k, recall in s.recall.items()
                    for low, high in [percentile_interval(resampled_recall(s, k), level).ends]
                    for name, value in {
                        f"R@{k}": recall, f"R@{k} low": low, f"R@{k} high": high, f"chance R@{k}": s.chance[k]
                    }.items()
                },
                "median rank": s.median_rank, "mean rank": s.mean_rank,
            }
            for run, results in (runs if isinstance(runs, Mapping) else {"": runs}).items()
            for s in results.scores
        ]
    )  # fmt: skip


def resampled_recall(score: RetrievalScore, k: int) -> np.ndarray:
    """Return recall@k, percent, of each bootstrap sample of items ``[R]``; candidates stay as they are.

    Items are drawn alike in both directions between two modalities, so that their mean can be taken by sample.
    """
    items, owner = np.unique(score.groups, return_inverse=True)
    weights = bootstrap_weights(len(items), REPLICATES)
    asked = np.bincount(owner, minlength=len(items))
    found = np.bincount(owner, weights=score.found[k], minlength=len(items))
    return 100.0 * (weights @ found) / (weights @ asked)


@dataclass(frozen=True)
class _Cell:
    """A score of each seed ``[S]`` and of each bootstrap sample ``[R]``, percent."""

    seeds: np.ndarray
    replicates: np.ndarray

    @classmethod
    def mean(cls, cells: Iterable[_Cell]) -> _Cell:
        """Average over directions, seed by seed and sample by sample."""
        found = list(cells)
        return cls(np.mean([c.seeds for c in found], axis=0), np.mean([c.replicates for c in found], axis=0))

    def describe(self, level: float) -> dict[str, float]:
        seeds, clips = t_interval(self.seeds, level).ends, percentile_interval(self.replicates, level).ends
        return {
            "score": float(self.seeds.mean()), "seed_low": seeds[0], "seed_high": seeds[1],
            "clip_low": clips[0], "clip_high": clips[1],
        }  # fmt: skip

    def text(self, interval: Interval, level: float) -> str:
        d = self.describe(level)
        parts = [f"{d['score']:.1f}"]
        if interval in ("seeds", "both") and np.isfinite(d["seed_low"]):
            parts.append(f"± {(d['seed_high'] - d['seed_low']) / 2:.1f}")
        if interval in ("clips", "both"):
            parts.append(f"[{d['clip_low']:.1f}, {d['clip_high']:.1f}]")
        return " ".join(parts)


Key = tuple[str, str, str, str]


def _groups(results: ProbeResults) -> dict[Key, list[ProbeScore]]:
    """The scores of each (representation, task, train, test): one a seed."""
    groups: dict[Key, list[ProbeScore]] = {}
    for score in results.scores:
        groups.setdefault((score.representation, score.task, score.train, score.test), []).append(score)
    return groups


def _cells(results: ProbeResults, groups: Mapping[Key, list[ProbeScore]]) -> dict[Key, _Cell]:
    """Resample scores over clips.

    One draw of clips serves all scores of a data set, so that differences and averages are resampled together; cells
    that were scored on the same clips are resampled by one matrix product.
    """
    drawn = {}
    for place, data in enumerate(dict.fromkeys(score.data for score in results.scores)):
        every = {score.rows.tobytes(): score.rows for score in results.scores if score.data == data}
        clips = np.unique(np.concatenate(list(every.values())))
        drawn[data] = clips, bootstrap_weights(len(clips), REPLICATES, seed=place)
    alike: dict[tuple[str, bytes, int], list[Key]] = {}
    for key, scores in groups.items():
        alike.setdefault((scores[0].data, scores[0].rows.tobytes(), len(scores)), []).append(key)
    cells = {}
    for (data, _, seeds), keys in alike.items():
        clips, weights = drawn[data]
        weights = weights[:, np.searchsorted(clips, groups[keys[0]][0].rows)]
        for start in range(0, len(keys), TOGETHER):
            part = keys[start : start + TOGETHER]
            counts = np.stack([s.counts for key in part for s in groups[key]], axis=1).astype(np.float32)
            hits, whole = np.moveaxis(np.tensordot(weights, counts, axes=1), -1, 0)  # [R, keys * seeds]
            shares = np.divide(hits, whole, out=np.zeros_like(hits), where=whole > 0)
            replicates = 100.0 * shares.reshape(-1, len(part), seeds).mean(2).T
            for key, drawn_scores in zip(part, replicates, strict=True):
                cells[key] = _Cell(np.array([score.score for score in groups[key]]), drawn_scores)
    return {key: cells[key] for key in groups}


def _chance_row(results: ProbeResults, columns: Sequence[tuple[str, str]]) -> list[str]:
    reported = {score.task: score.metric for score in results.scores}
    chance = {task: results.chance[task][metric] for task, metric in reported.items()}
    average = float(np.mean(list(chance.values()))) if chance else float("nan")
    values = [average if task == "average" else chance.get(task, float("nan")) for task, _ in columns]
    return ["" if np.isnan(value) else f"{value:.1f}" for value in values]


def _ordered(columns: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Keep tasks together, cross-modal directions before same-modality ones, averages last."""
    columns = list(columns)
    tasks = [*dict.fromkeys(task for task, _ in columns if task != "average"), "average"]

    def same(direction: str) -> bool:
        first, _, second = direction.partition(" → ")
        return first == second or direction == "same modality"

    return sorted(columns, key=lambda column: (tasks.index(column[0]), same(column[1])))


def _named(runs: Runs) -> Mapping[str, ProbeResults]:
    return runs if isinstance(runs, Mapping) else {"": runs}
