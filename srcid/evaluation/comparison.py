"""Methods against each other over training seeds: the layout of Table I, and paired differences.

Everything starts from the scores of many runs in long form, a row per run, task, representation and direction (the
frame ``directions`` of :func:`srcid.runs.collect`). A training seed is the unit: two methods are compared on the seeds
that both have, because runs of one seed see the same batches and share much of their luck. Intervals are Student's t
over seeds; the interval over clips, within a run, stands beside them where asked for and answers another question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from srcid.evaluation.metrics import EvaluationError
from srcid.params import suggest
from srcid.statistics import ALPHA, Interval, holm, t_interval, t_test

ACROSS, WITHIN, AVERAGE = "m → n", "m → m", "average"
_NEEDED = ("run", "method", "seed", "task", "representation", "train", "test", "score")


class ComparisonError(EvaluationError):
    """Scores that cannot be compared as asked; its problems say what to do."""


def score_matrix(
    directions: pd.DataFrame,
    representations: Sequence[str] = ("all",),
    metrics: Mapping[str, str] | None = None,
    column: str = "score",
) -> pd.DataFrame:
    """Return one row a run and representation, one column a task and direction, percent.

    Rows are indexed by method, seed and run; what a representation other than ``all`` scores is a method of its own,
    such as ``srcid vq (only1)``. After the directions of a task come their means :data:`ACROSS` and :data:`WITHIN`
    modalities, and last the averages over all directions of all tasks. A run that lacks a direction which others have
    has no mean (NaN) rather than one over something else.

    Args:
        directions: frame with at least the columns run, method, seed, task, representation, train, test, score; a
            column ``data`` must say the same everywhere.
        representations: those to show, by :func:`srcid.evaluation.probes.fit_probes`'s names.
        metrics: a score other than the task's own, by task: ``{"localisation": "f1"}``.
        column: what to read instead of the score, such as ``clip_low``, ``clip_high`` or ``chance``. These belong to
            the task's own score: with another one in ``metrics`` they are NaN.

    Raises:
        ComparisonError: missing columns, no rows, several data sets, or two runs of one method and seed.
    """
    metrics = dict(metrics or {})
    rows = _checked(directions, representations, metrics, column)
    value = rows[column].astype(float)
    for task, name in metrics.items():
        chosen = (rows["task"] == task) & (rows["metric"] != name if "metric" in rows else True)
        value = value.mask(chosen, rows[name].astype(float) if column == "score" else np.nan)
    suffix = rows["representation"].map(lambda name: "" if name == "all" else f" ({name})")
    tidy = pd.DataFrame(
        {
            "method": rows["method"] + suffix, "seed": rows["seed"], "run": rows["run"], "task": rows["task"],
            "direction": rows["train"] + " → " + rows["test"], "value": value,
        }
    )  # fmt: skip
    _refuse_twins(tidy)
    cells = tidy.set_index(["method", "seed", "run", "task", "direction"])["value"].unstack(["task", "direction"])
    # unstacking sorts; methods, tasks and directions keep the order in which they came
    methods = {name: place for place, name in enumerate(dict.fromkeys(tidy["method"]))}
    cells = cells.iloc[np.lexsort((cells.index.get_level_values("seed"), cells.index.get_level_values(0).map(methods)))]
    ordered, everything = {}, dict.fromkeys(zip(tidy["task"], tidy["direction"], strict=True))
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}

    def add_means(of: str) -> None:
        for key in ((of, ACROSS), (of, WITHIN)):
            if key in groups:
                ordered[key] = cells[groups[key]].mean(axis=1, skipna=False)

    for task in dict.fromkeys(tidy["task"]):
        mine = sorted((key for key in everything if key[0] == task), key=lambda key: is_within(key[1]))
        for key in mine:
            ordered[key] = cells[key]
            for group in (task, AVERAGE):
                groups.setdefault((group, WITHIN if is_within(key[1]) else ACROSS), []).append(key)
        add_means(task)
    add_means(AVERAGE)
    matrix = pd.DataFrame(ordered)
    matrix.columns = pd.MultiIndex.from_tuples(ordered, names=["task", "direction"])
    return matrix


def methods_of(matrix: pd.DataFrame) -> list[str]:
    """Methods of a :func:`score_matrix`, in its order."""
    return list(dict.fromkeys(matrix.index.get_level_values("method")))


def choose_reference(methods: Sequence[str], wanted: str) -> tuple[str, str]:
    """Return the method that others are held against: ``wanted``, or one that is there, and a sentence if it differs.

    Looked for in this order: the label itself, one that begins like it, one with the same quantiser, the first.
    """
    quantizer = wanted.partition(" ")[2]
    tests = (
        lambda name: name == wanted,
        lambda name: name.startswith(f"{wanted},"),
        lambda name: name.partition(" ")[2].partition(",")[0] == quantizer,
        lambda name: True,
    )
    found = next((name for test in tests for name in methods if test(name)), wanted)
    return found, "" if found == wanted else f"There are no runs of {wanted}: the reference is {found}."


def means(matrix: pd.DataFrame) -> pd.DataFrame:
    """Return mean and t-interval over seeds of every cell: columns method, task, direction, score, low, high, seeds.

    A single seed has no interval (NaN). Runs without the cell are left out of ``seeds``.
    """
    rows = []
    for method in methods_of(matrix):
        part = matrix.xs(method, level="method")
        for key in matrix.columns:
            score = t_interval(part[key].dropna().to_numpy())
            rows.append((method, *key, score.value, score.low, score.high, score.n))
    return pd.DataFrame(rows, columns=["method", "task", "direction", "score", "low", "high", "seeds"])


@dataclass(frozen=True)
class Differences:
    """How much better each method is than a reference on the same seeds, in points.

    Attributes:
        rows: method, reference, task, direction, difference (mean over the seeds that both have), low, high
            (t-interval), p (two-sided t-test), p_holm (after Holm's correction for all rows), seeds (the pairs),
            missing (seeds that one of the two lacks; left out). Below ``LEAST`` pairs, and where all pairs differ by
            the same amount, p is NaN.
        reference: as asked.
    """

    rows: pd.DataFrame
    reference: str

    @property
    def certain(self) -> np.ndarray:
        """Which rows differ from 0 after correction."""
        return self.rows["p_holm"].to_numpy(float) < ALPHA

    def frame(self) -> pd.DataFrame:
        """Return the rows rounded for reading, without what is the same in all of them."""
        shown = self.rows[["method", "task", "direction", "difference", "low", "high", "p_holm"]]
        shown = shown.round({"difference": 1, "low": 1, "high": 1, "p_holm": 4})
        missing = self.rows["missing"].map(lambda seeds: ", ".join(map(str, seeds)))
        return shown.assign(pairs=self.rows["seeds"].map(len), without_partner=missing)

    @property
    def finding(self) -> str:
        """How many differences remain after correction."""
        if not len(self.rows):
            return f"No method shares a seed with {self.reference}"
        count = int(self.certain.sum())
        text = f"Against {self.reference} on the same seeds, {count} of {len(self.rows)} differences are certain"
        return f"{text} after correction for their number"


def paired(matrix: pd.DataFrame, reference: str, columns: Sequence[tuple[str, str]] | None = None) -> Differences:
    """Compare each method with ``reference`` seed by seed.

    Args:
        matrix: of :func:`score_matrix`.
        reference: method that the others are held against.
        columns: (task, direction) pairs; default: the means :data:`ACROSS` and :data:`WITHIN` of tasks and overall.

    Raises:
        ComparisonError: unknown reference or columns.
    """
    check_names(matrix, [reference], columns or [])
    columns = columns or [key for key in matrix.columns if key[1] in (ACROSS, WITHIN)]
    rows = []
    for method in methods_of(matrix):
        for key in columns if method != reference else ():
            seeds, missing, gaps = seed_differences(matrix, method, reference, key)
            gap = t_interval(gaps)
            p = t_test(gaps, 0.0, "two-sided")
            rows.append((method, reference, *key, gap.value, gap.low, gap.high, p, seeds, missing))
    names = ["method", "reference", "task", "direction", "difference", "low", "high", "p", "seeds", "missing"]
    frame = pd.DataFrame(rows, columns=names)
    frame.insert(8, "p_holm", holm(frame["p"].to_numpy(float)))
    return Differences(frame, reference)


@dataclass(frozen=True)
class Leader:
    """The method of the highest mean, and which others cannot be told from it.

    Attributes:
        method, score: the method, and its mean over seeds with its t-interval.
        equals: methods whose paired difference to it is not certain, the highest first.
    """

    method: str
    score: Interval
    equals: tuple[str, ...]

    def says(self, where: str) -> str:
        """Name a winner only if there is one; ``where`` it scores begins the sentence, ``m → n`` for example."""
        score = f"{self.method} ({self.score.text()} %)"
        if not self.equals:
            return f"{where}: {score} scores highest"
        others = ", ".join(self.equals[:2]) + (f" and {len(self.equals) - 2} more" if len(self.equals) > 2 else "")
        return f"{where}: undecided between {score} and {others}"


def leader(matrix: pd.DataFrame, column: tuple[str, str]) -> Leader | None:
    """Find the method with the highest mean of a column; all pairs are tested seed by seed, Holm-corrected together.

    The correction counts every pair, since the best was chosen by what it is judged by. None where fewer than two
    methods have the column.
    """
    values = {name: matrix.xs(name, level="method")[column].dropna().to_numpy() for name in methods_of(matrix)}
    scores = {name: t_interval(found) for name, found in values.items() if len(found)}
    if len(scores) < 2:
        return None
    ranked = sorted(scores, key=lambda name: -scores[name].value)
    pairs = list(combinations(scores, 2))
    p = holm(np.array([t_test(seed_differences(matrix, *pair, column)[2], 0.0, "two-sided") for pair in pairs]))
    certain = {frozenset(pair) for pair, value in zip(pairs, p, strict=True) if value < ALPHA}
    equals = tuple(name for name in ranked[1:] if frozenset((ranked[0], name)) not in certain)
    return Leader(ranked[0], scores[ranked[0]], equals)


def seed_differences(
    matrix: pd.DataFrame, method: str, reference: str, column: tuple[str, str]
) -> tuple[tuple[int, ...], tuple[int, ...], np.ndarray]:
    """Return the seeds that both methods have, those that only one has, and the differences ``[seeds]``."""
    first, second = (matrix[column].xs(name, level="method").droplevel("run").dropna() for name in (method, reference))
    both = sorted(set(first.index) & set(second.index))
    missing = tuple(sorted(int(seed) for seed in set(first.index) ^ set(second.index)))
    gaps = first.loc[both].to_numpy(float) - second.loc[both].to_numpy(float)
    return tuple(int(seed) for seed in both), missing, gaps


def check_names(matrix: pd.DataFrame, methods: Sequence[str], columns: Sequence[tuple[str, str]]) -> None:
    """Refuse methods and (task, direction) pairs that the matrix does not have, all at once.

    Raises:
        ComparisonError: with what there is instead.
    """
    there = methods_of(matrix)
    problems = [
        f"found method '{name}'{suggest(name, there)}; there are {', '.join(there)}"
        for name in dict.fromkeys(methods)
        if name not in there
    ]
    known = [" ".join(key) for key in matrix.columns]
    problems += [
        f"found column '{' '.join(key)}'{suggest(' '.join(key), known)}; there are {', '.join(known)}"
        for key in dict.fromkeys(columns)
        if tuple(key) not in matrix.columns
    ]
    ComparisonError.check("these scores cannot be compared so:", problems)


def _checked(directions, representations, metrics, column):
    """Return the rows to show, or say all that is wrong with them."""
    problems = [f"found no column '{name}'" for name in (*_NEEDED, column) if name not in directions]
    problems += [f"found no score '{name}' of {task}" for task, name in metrics.items() if name not in directions]
    if not problems:
        rows = directions[directions["representation"].isin(list(representations))]
        if not len(rows):
            there = ", ".join(dict.fromkeys(directions["representation"])) or "nothing"
            problems.append(f"found no scores of {', '.join(representations)}; there is {there}")
        if "data" in rows and rows["data"].nunique() > 1:
            counts = rows.groupby("data")["run"].nunique()
            found = ", ".join(f"{name} ({count} runs)" for name, count in counts.items())
            problems.append(f"found several data sets, {found}; need one: keep the rows of one value of 'data'")
    ComparisonError.check("these scores cannot be compared:", problems)
    # the representations of a method follow it, in the order asked for
    place = {name: index for index, name in enumerate(representations)}
    order = {name: index for index, name in enumerate(dict.fromkeys(rows["method"]))}
    keys = np.lexsort((rows["representation"].map(place), rows["method"].map(order)))
    return rows.iloc[keys]


def _refuse_twins(tidy) -> None:
    counts = tidy.groupby(["method", "seed"], sort=False)["run"].unique()
    twins = [f"{method}, seed {seed}: {', '.join(runs)}" for (method, seed), runs in counts.items() if len(runs) > 1]
    ComparisonError.check("found several runs of one method and seed, need one each: leave the others out", twins)


def is_within(direction: str) -> bool:
    """Whether a direction such as ``audio → text`` or :data:`WITHIN` stays in one modality."""
    first, _, second = direction.partition(" → ")
    return first == second or direction == WITHIN
