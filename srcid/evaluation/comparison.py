"""Methods against each other over training seeds: the layout of Table I, and paired differences.

Everything starts from the scores of many runs in long form, a row per run, task, representation and direction (the
frame ``directions`` of :func:`srcid.runs.collect`). A training seed is the unit: two methods are compared on the seeds
that both have, because runs of one seed see the same batches and share much of their luck. Intervals are Student's t
over seeds; the interval over clips, within a run, stands beside them where asked for and answers another question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from srcid.evaluation.metrics import EvaluationError
from srcid.params import suggest
from srcid.statistics import holm, t_interval, t_test

if TYPE_CHECKING:
    import pandas as pd

ACROSS, WITHIN, AVERAGE = "m → n", "m → m", "average"
_NEEDED = ("run", "method", "seed", "task", "representation", "train", "test", "score")


class ComparisonError(EvaluationError):
    """Scores that cannot be compared as asked; the message says what to do."""


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
    import pandas as pd

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
    for task in dict.fromkeys(tidy["task"]):
        mine = sorted((key for key in everything if key[0] == task), key=lambda key: _same(key[1]))
        for key in mine:
            ordered[key] = cells[key]
            for group in (task, AVERAGE):
                groups.setdefault((group, WITHIN if _same(key[1]) else ACROSS), []).append(key)
        for key in ((task, ACROSS), (task, WITHIN)):
            if key in groups:
                ordered[key] = cells[groups[key]].mean(axis=1, skipna=False)
    for key in ((AVERAGE, ACROSS), (AVERAGE, WITHIN)):
        if key in groups:
            ordered[key] = cells[groups[key]].mean(axis=1, skipna=False)
    matrix = pd.DataFrame(ordered)
    matrix.columns = pd.MultiIndex.from_tuples(ordered, names=["task", "direction"])
    return matrix


def methods_of(matrix: pd.DataFrame) -> list[str]:
    """Methods of a :func:`score_matrix`, in its order."""
    return list(dict.fromkeys(matrix.index.get_level_values("method")))


def means(matrix: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Return mean and t-interval over seeds of every cell: columns method, task, direction, score, low, high, seeds.

    A single seed has no interval (NaN). Runs without the cell are left out of ``seeds``.
    """
    import pandas as pd

    rows = []
    for method in methods_of(matrix):
        part = matrix.xs(method, level="method")
        for task, direction in matrix.columns:
            values = part[task, direction].dropna().to_numpy()
            low, high = t_interval(values, level).ends
            score = float(values.mean()) if len(values) else np.nan
            rows.append((method, task, direction, score, low, high, len(values)))
    return pd.DataFrame(rows, columns=["method", "task", "direction", "score", "low", "high", "seeds"])


def comparison_table(
    directions: pd.DataFrame,
    representations: Sequence[str] = ("all",),
    metrics: Mapping[str, str] | None = None,
    only_means: bool = False,
    clips: bool = False,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return Table I's layout as text: rows methods, columns tasks and directions, ``81.2 ± 1.3`` in percent.

    ± is half the t-interval over training seeds and missing where there is one seed. The last row answers the most
    frequent class always. The column ``seeds`` counts runs.

    Args:
        directions, representations, metrics: as for :func:`score_matrix`.
        only_means: leave out single directions, keep the means.
        clips: add ``[low, high]``, the interval over scored clips within a run (its mean over runs). For the mean of
            several directions it is that of perfectly correlated ones: the true interval is no wider.
        level: of the intervals.

    Raises:
        ComparisonError: as for :func:`score_matrix`.
    """
    import pandas as pd

    matrix = score_matrix(directions, representations, metrics)
    summary = means(matrix, level).set_index(["method", "task", "direction"])
    columns = [key for key in matrix.columns if not only_means or key[1] in (ACROSS, WITHIN)]
    ends = {}
    if clips:
        ends = {c: score_matrix(directions, representations, metrics, c) for c in ("clip_low", "clip_high")}
    table = {}
    for method in methods_of(matrix):
        cells = {("", "seeds"): str(int(summary.loc[method]["seeds"].max()))}
        for key in columns:
            cell = summary.loc[(method, *key)]
            if not cell["seeds"]:
                cells[key] = ""
                continue
            cells[key] = f"{cell['score']:.1f}"
            if np.isfinite(cell["low"]):
                cells[key] += f" ± {(cell['high'] - cell['low']) / 2:.1f}"
            if clips:
                low, high = (frame.xs(method, level="method")[key].mean() for frame in ends.values())
                cells[key] += f" [{low:.1f}, {high:.1f}]" if np.isfinite(low) else ""
        table[method] = cells
    chance = score_matrix(directions, representations, metrics, "chance")[columns].mean()
    table["chance"] = {key: f"{value:.1f}" if np.isfinite(value) else "" for key, value in chance.items()}
    frame = pd.DataFrame.from_dict(table, orient="index", columns=[("", "seeds"), *columns]).fillna("")
    frame.columns = pd.MultiIndex.from_tuples(frame.columns, names=["task", "direction"])
    return frame


def paired(
    matrix: pd.DataFrame,
    reference: str,
    columns: Sequence[tuple[str, str]] | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return how much better each method is than ``reference`` on the same seeds, in points.

    Columns: method, reference, task, direction, difference (mean over the seeds that both have), low, high
    (t-interval), p (two-sided t-test), p_holm (p after Holm's correction for all rows of this frame), seeds (the
    pairs), missing (seeds that one of the two lacks; left out). Below ``LEAST`` pairs, and where all pairs differ
    by the same amount, p is NaN.

    Args:
        matrix: of :func:`score_matrix`.
        reference: method that the others are held against.
        columns: (task, direction) pairs; default: the means :data:`ACROSS` and :data:`WITHIN` of tasks and overall.

    Raises:
        ComparisonError: unknown reference or columns.
    """
    import pandas as pd

    check_names(matrix, [reference], columns or [])
    columns = columns or [key for key in matrix.columns if key[1] in (ACROSS, WITHIN)]
    rows = []
    for method in methods_of(matrix):
        for key in columns if method != reference else ():
            seeds, missing, gaps = seed_differences(matrix, method, reference, key)
            low, high = t_interval(gaps, level).ends
            gap = float(gaps.mean()) if len(gaps) else np.nan
            rows.append((method, reference, *key, gap, low, high, t_test(gaps, 0.0, "two-sided"), seeds, missing))
    names = ["method", "reference", "task", "direction", "difference", "low", "high", "p", "seeds", "missing"]
    frame = pd.DataFrame(rows, columns=names)
    frame.insert(8, "p_holm", holm(frame["p"].to_numpy(float)))
    return frame


def seed_differences(
    matrix: pd.DataFrame, method: str, reference: str, column: tuple[str, str]
) -> tuple[tuple[int, ...], tuple[int, ...], np.ndarray]:
    """Return the seeds that both methods have, those that only one has, and the differences ``[seeds]``."""
    first, second = (matrix[column].xs(name, level="method").droplevel("run").dropna() for name in (method, reference))
    both = sorted(set(first.index) & set(second.index))
    missing = tuple(sorted(int(seed) for seed in set(first.index) ^ set(second.index)))
    gaps = first.loc[both].to_numpy(float) - second.loc[both].to_numpy(float)
    return tuple(int(seed) for seed in both), missing, gaps


def quality(matrix: pd.DataFrame, costs: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Return what each method scores and costs: rows methods, columns (quantity, ``mean`` | ``low`` | ``high``).

    Quantities: ``across`` and ``within`` (average scores, percent), ``reconstruction`` (validation, mean squared error
    of layer 1's input, mean over modalities; features are on their own scale, so it compares runs of one data set),
    ``ms_per_step`` (median, smallest and largest of the runs: what else the machine did is no chance of the seed),
    ``parameters`` (millions), ``memory`` (GB, largest resident size of the process) and ``bits`` (a step's, in use:
    entropy of the codes over all modalities, stages joined, summed over layers, which bounds their joint entropy from
    above). What was not measured or is not defined, such as the bits of the identity, is NaN.

    Args:
        matrix: of :func:`score_matrix`, for one representation.
        costs: a row a run, indexed by its name, with the columns of ``cost.json``.
    """
    import pandas as pd

    costs = costs.reindex(matrix.index.get_level_values("run"))
    found = pd.DataFrame(index=matrix.index)
    for name, direction in (("across", ACROSS), ("within", WITHIN)):
        found[name] = matrix.get((AVERAGE, direction), pd.Series(np.nan, matrix.index))

    def column(name: str) -> np.ndarray:
        return costs[name].to_numpy(float) if name in costs else np.full(len(costs), np.nan)

    rebuilt = [name for name in costs if name.startswith("val/recon/1/")]
    used = [name for name in costs if name.startswith("bits/") and name.endswith("/joint")]
    found["reconstruction"] = costs[rebuilt].mean(axis=1).to_numpy(float) if rebuilt else np.nan
    found["ms_per_step"] = column("ms_per_step")
    found["parameters"] = column("parameters") / 1e6
    found["memory"] = column("memory_mb") / 1024
    found["bits"] = costs[used].sum(axis=1, min_count=1).to_numpy(float) if used else np.nan
    rows = {}
    for method in methods_of(matrix):
        part = found.xs(method, level="method")
        cells = {name: part[name].dropna().to_numpy(float) for name in found}
        ends = {name: t_interval(values, level).ends for name, values in cells.items()}
        rows[method] = {(name, "mean"): values.mean() if len(values) else np.nan for name, values in cells.items()}
        rows[method] |= {(name, end): ends[name][i] for name in cells for i, end in enumerate(("low", "high"))}
        if len(times := cells["ms_per_step"]):
            found_times = dict(mean=np.median(times), low=times.min(), high=times.max())
            rows[method] |= {("ms_per_step", part): value for part, value in found_times.items()}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.columns = pd.MultiIndex.from_tuples(frame.columns, names=["quantity", ""])
    return frame.sort_index(axis=1, level=0, sort_remaining=False)


def ablation(matrix: pd.DataFrame, params: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Return scores by codebook size and by the layers whose CLUB term is off, as in the paper's Fig. 3.

    Runs with the vector quantiser only. Columns: family (the method without these two options), codebook_size,
    club_off (tuple of layers), direction (:data:`ACROSS` or :data:`WITHIN`, averages over tasks), score, low, high,
    seeds; sorted.

    Args:
        matrix: of :func:`score_matrix`, for one representation.
        params: a row a run with the columns family, quantizer, codebook_size and club_off.
    """
    import pandas as pd

    if not len(matrix):
        raise ComparisonError("no run was scored, so there is nothing to compare in an ablation")

    rows = []
    about = params.loc[params["quantizer"] == "vq", ["family", "codebook_size", "club_off"]]
    about = about.assign(club_off=about["club_off"].map(tuple))
    matrix = matrix[matrix.index.get_level_values("run").isin(about.index)]
    keys = [tuple(about.loc[run]) for run in matrix.index.get_level_values("run")]
    for key in sorted(set(keys), key=lambda key: (list(dict.fromkeys(k[0] for k in keys)).index(key[0]), key[1:])):
        part = matrix[[other == key for other in keys]]
        for direction in (ACROSS, WITHIN):
            if (AVERAGE, direction) in part:
                values = part[AVERAGE, direction].dropna().to_numpy()
                score = values.mean() if len(values) else np.nan
                rows.append((*key, direction, score, *t_interval(values, level).ends, len(values)))
    names = ["family", "codebook_size", "club_off", "direction", "score", "low", "high", "seeds"]
    return pd.DataFrame(rows, columns=names)


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
    if problems:
        raise ComparisonError("these scores cannot be compared so:", problems)


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
    if problems:
        raise ComparisonError("these scores cannot be compared:", problems)
    # the representations of a method follow it, in the order asked for
    place = {name: index for index, name in enumerate(representations)}
    order = {name: index for index, name in enumerate(dict.fromkeys(rows["method"]))}
    keys = np.lexsort((rows["representation"].map(place), rows["method"].map(order)))
    return rows.iloc[keys]


def _refuse_twins(tidy) -> None:
    counts = tidy.groupby(["method", "seed"], sort=False)["run"].unique()
    twins = [f"{method}, seed {seed}: {', '.join(runs)}" for (method, seed), runs in counts.items() if len(runs) > 1]
    if twins:
        raise ComparisonError(
            "found several runs of one method and seed, need one each: leave the others out"
            + "".join(f"\n  - {twin}" for twin in twins)
        )


def _same(direction: str) -> bool:
    first, _, second = direction.partition(" → ")
    return first == second
