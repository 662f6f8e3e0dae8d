"""Tables I, II and III as the paper lays them out, and the paper's own figures.

The paper's figures were measured on AVE, AVVP and UCF/VGG clips, with no interval and one seed as far as the paper
says. They stand beside ours only where a column is the same data set; elsewhere they carry :data:`OTHER_DATA` and can
be compared in nothing but order. FSQ's cross-modal figures on UCF <-> VGG are those of VQ to the digit in the paper.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from srcid.evaluation.comparison import ACROSS, AVERAGE, WITHIN, is_within, means, methods_of, score_matrix
from srcid.evaluation.metrics import EvaluationError
from srcid.evaluation.ranking import resampled_recall
from srcid.statistics import Interval, percentile_interval, t_interval

if TYPE_CHECKING:
    from srcid.evaluation.retrieval import RetrievalResults

OTHER_DATA = "*"
NOTE_TWO = (
    "Percent; ± is half the t-interval over training seeds, [ ] the interval over clips within a run. Classification "
    "and unpaired: accuracy; localisation: micro precision; cross-dataset: micro F1. (toc): the same codes, of whose "
    "vectors only the best coordinates are read. Costs: median step, trainable parameters, bits in use. Figures of the "
    f"paper are as printed, without intervals; {OTHER_DATA} other data: not to be compared with the column, only with "
    "each other."
)
NOTE_THREE = (
    "Percent of queries with a partner among the first k, mean of both directions; [ ] the interval over items within "
    "a run, ± over training seeds. The values of the paper's Table III (MSCOCO, Clotho) are not at hand, so none stand "
    "beside these."
)
# the paper's data set of each task, and the words by which a store may be the same
PAPER_DATA = {
    "classification": "AVE", "localisation": "AVVP", "cross-dataset": "AVE → AVVP", "unpaired": "UCF ↔ VGG",
}  # fmt: skip
_SAME_WORDS = {"AVE": {"ave"}, "AVVP": {"avvp"}, "AVE → AVVP": {"ave", "avvp"}, "UCF ↔ VGG": {"ucf", "vgg"}}
TABLE_TWO = ("CODIS", "TURN", "CMCM", "DCID", "SRCID (only1)", "SRCID", "CoDAAR")  # the last is later than the paper
_PRINTED = {"DCID": "DCID (VQ)"}  # as Table I calls it
_COSTS = {"ms_per_step": ("ms a step", ".0f"), "parameters": ("parameters, M", ".2f"), "bits": ("bits a step", ".1f")}


NOTE = "other data set, other score average"

# rows in the paper's order: V -> A and A -> V of each task; percent
_TASKS = ("AVE", "AVVP", "AVE → AVVP", "UCF ↔ VGG")
_ACROSS: dict[str, tuple[float, ...]] = {
    "DCID (VQ)": (54.1, 55.0, 63.4, 71.0, 53.0, 52.4, 67.1, 60.6),
    "DCID (FSQ)": (45.2, 50.4, 48.1, 54.9, 51.4, 44.0, 67.1, 60.6),
    "DCID (RVQ-2)": (49.3, 55.0, 58.4, 66.9, 57.4, 54.2, 68.9, 63.5),
    "DCID (RVQ-3)": (47.6, 53.2, 59.9, 67.2, 54.3, 53.0, 68.5, 62.4),
    "DCID (RVQ-4)": (48.5, 55.5, 58.7, 68.6, 56.3, 54.7, 69.4, 64.3),
    "CODIS": (36.8, 39.7, 46.7, 47.6, 37.8, 37.6, 50.8, 45.2),
    "TURN": (37.6, 39.2, 48.4, 50.2, 36.6, 38.4, 49.4, 46.1),
    "CMCM": (46.3, 45.8, 57.1, 58.2, 44.1, 45.2, 51.2, 48.3),
    "SRCID (only1)": (49.4, 53.5, 60.4, 77.2, 53.4, 52.9, 70.6, 59.5),
    "SRCID": (49.2, 54.2, 72.1, 85.6, 54.8, 53.7, 69.1, 59.0),
}
# m -> m: without AVE -> AVVP
_WITHIN: dict[str, tuple[float, ...]] = {
    "DCID (VQ)": (64.8, 65.8, 71.0, 72.9, 80.0, 85.4),
    "DCID (FSQ)": (76.5, 78.2, 65.8, 72.1, 98.5, 92.2),
    "DCID (RVQ-4)": (69.9, 70.3, 75.1, 75.6, 88.0, 90.8),
}
# the same quantiser or method in labels of runs
SAME_AS = {
    "DCID (VQ)": "dcid vq", "DCID (FSQ)": "dcid fsq", "DCID (RVQ-2)": "dcid rvq2", "DCID (RVQ-3)": "dcid rvq3",
    "DCID (RVQ-4)": "dcid rvq4", "CMCM": "cmcm vq", "SRCID (only1)": "srcid vq (only1)", "SRCID": "srcid vq",
}  # fmt: skip


def comparison_table(
    directions: pd.DataFrame,
    representations: Sequence[str] = ("all",),
    metrics: Mapping[str, str] | None = None,
    only_means: bool = False,
    clips: bool = False,
) -> pd.DataFrame:
    """Return Table I's layout as text: rows methods, columns tasks and directions, ``81.2 ± 1.3`` in percent.

    ± is half the t-interval over training seeds and missing where there is one seed. The last row answers the most
    frequent class always. The column ``seeds`` counts runs.

    Args:
        directions, representations, metrics: as for :func:`score_matrix`.
        only_means: leave out single directions, keep the means.
        clips: add ``[low, high]``, the interval over scored clips within a run (its mean over runs). For the mean of
            several directions it is that of perfectly correlated ones: the true interval is no wider.

    Raises:
        ComparisonError: as for :func:`score_matrix`.
    """
    matrix = score_matrix(directions, representations, metrics)
    summary = means(matrix).set_index(["method", "task", "direction"])
    columns = [key for key in matrix.columns if not only_means or key[1] in (ACROSS, WITHIN)]
    ends = [score_matrix(directions, representations, metrics, c) for c in ("clip_low", "clip_high") if clips]
    table = {}
    for method in methods_of(matrix):
        cells = {("", "seeds"): str(int(summary.loc[method]["seeds"].max()))}
        for key in columns:
            cell = summary.loc[(method, *key)]
            over_clips = [frame.xs(method, level="method")[key].mean() for frame in ends]
            cells[key] = _cell(Interval(*cell[["score", "low", "high"]]), *over_clips) if cell["seeds"] else ""
        table[method] = cells
    chance = score_matrix(directions, representations, metrics, "chance")[columns].mean()
    table["chance"] = {key: f"{value:.1f}" if np.isfinite(value) else "" for key, value in chance.items()}
    frame = pd.DataFrame.from_dict(table, orient="index", columns=[("", "seeds"), *columns]).fillna("")
    frame.columns = pd.MultiIndex.from_tuples(frame.columns, names=["task", "direction"])
    return frame


def tables_by_score(
    directions: pd.DataFrame, representations: Sequence[str], task: str, scores: Sequence[str]
) -> pd.DataFrame:
    """Return the means of one task and of the average by several scores of that task, side by side, as text."""
    found = {name: comparison_table(directions, representations, {task: name}, only_means=True) for name in scores}
    return pd.concat({name: table[[task, AVERAGE]] for name, table in found.items()}, axis=1)


def paper_scores() -> pd.DataFrame:
    """Return Tables I and II as printed, with their averages: a row a method, columns task and direction, percent.

    Columns are (task, ``V → A`` or ``A → V`` or ``m → m``) and (average, ``m → n`` or ``m → m``); what the paper does
    not give is NaN. ``m → m`` of a task is the mean over its two modalities.
    """
    columns = [(task, way) for task in _TASKS for way in ("V → A", "A → V", "m → m")]
    columns = [column for column in columns if column != ("AVE → AVVP", "m → m")]
    table = pd.DataFrame(index=list(_ACROSS), columns=pd.MultiIndex.from_tuples(columns), dtype=float)
    for method, scores in _ACROSS.items():
        for place, task in enumerate(_TASKS):
            table.loc[method, (task, "V → A")], table.loc[method, (task, "A → V")] = scores[2 * place : 2 * place + 2]
    for method, scores in _WITHIN.items():
        for place, task in enumerate(("AVE", "AVVP", "UCF ↔ VGG")):
            table.loc[method, (task, "m → m")] = np.mean(scores[2 * place : 2 * place + 2])
    table["average", "m → n"] = pd.Series({method: np.mean(scores) for method, scores in _ACROSS.items()})
    table["average", "m → m"] = pd.Series({method: np.mean(scores) for method, scores in _WITHIN.items()})
    table.columns.names = ["task", "direction"]
    return table


def table_two(
    directions: pd.DataFrame,
    data: Mapping[str, str],
    representations: Sequence[str] = ("all", "only1"),
    pair: tuple[str, str] = ("video", "audio"),
    costs: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return Table II: rows our methods and the paper's, columns task and direction, then averages and costs.

    Beside the average of a method stands the paper's. Methods of the paper come first, in its order; the note names
    those without a run.

    Args:
        directions: long frame of scores with the columns run, method and seed beside those of
            :meth:`srcid.evaluation.results.ProbeResults.frame`; other tasks than the paper's are passed over.
        data: name of the data of each task, see :class:`srcid.evaluation.suite.TaskTables`.
        representations: ``toc`` and ``only1+toc`` are the rows with TOC.
        pair: the modalities that stand for the paper's V and A: their two directions are shown beside the mean over
            all. Where they are not there, only means are shown and the paper's directions as their mean.
        costs: rows of :class:`srcid.evaluation.tradeoff.Quality`, for milliseconds a step, parameters and bits.

    The frame is empty, and its note says so, where there is no score across modalities (a store without labels).

    Raises:
        ComparisonError: as :func:`comparison_table`.
    """
    directions = directions[directions["task"].isin(PAPER_DATA)]
    if not (directions["train"] != directions["test"]).any():
        empty = pd.DataFrame()
        empty.attrs["note"] = "No task could be scored across modalities, so there is no Table II."
        return empty
    ours = comparison_table(directions, representations, clips=True)
    ways = {f"{pair[0]} → {pair[1]}": "V → A", f"{pair[1]} → {pair[0]}": "A → V", ACROSS: ACROSS}
    both = [(task, way) for task, way in ours.columns if way in ways and task != AVERAGE]
    third = any(way not in ways and way != "seeds" and not is_within(way) for _, way in ours.columns)
    if not third and any(way != ACROSS for _, way in both):  # the paper's two directions are all there are
        both = [(task, way) for task, way in both if way != ACROSS]
    tasks, order = list(dict.fromkeys(task for task, _ in both)), list(ways)
    both.sort(key=lambda column: (tasks.index(column[0]), order.index(column[1])))
    columns = [*both, (AVERAGE, ACROSS)]
    rank = {method: _place(method) for method in ours.index}
    ours = ours.loc[sorted(ours.index, key=lambda method: rank[method]), [("", "seeds"), *columns]]
    printed, theirs = paper_scores(), pd.DataFrame("", index=list(TABLE_TWO[:-1]), columns=ours.columns, dtype=object)
    all_same = all(same_data(task, data.get(task, "")) for task in PAPER_DATA)
    for task, way in columns:
        column = (PAPER_DATA.get(task, task), ways[way])
        mark = "" if (all_same if task == AVERAGE else same_data(task, data.get(task, ""))) else f" {OTHER_DATA}"
        two = [column] if column in printed else [(column[0], "V → A"), (column[0], "A → V")]
        for method in theirs.index:
            theirs.loc[method, (task, way)] = f"{printed.loc[_PRINTED.get(method, method), two].mean():.1f}{mark}"
    beside = {method: next((name for name in theirs.index if _is(method, name)), "") for method in ours.index}
    ours[AVERAGE, "the paper"] = [theirs.loc[name, (AVERAGE, ACROSS)] if name else "" for name in beside.values()]
    if costs is not None:
        for quantity, (title, form) in _COSTS.items():
            cells = [costs[quantity, "mean"].get(method.partition(" (")[0], np.nan) for method in ours.index]
            ours["cost", title] = ["" if np.isnan(cell) else f"{cell:{form}}" for cell in cells]
        ours.loc[ours.index.str.contains("only1"), [("cost", _COSTS["bits"][0])]] = ""  # known for all layers together
    frame = pd.concat({"these runs": ours, "the paper": theirs.reindex(columns=ours.columns, fill_value="")},
                      names=["source", "method"])  # fmt: skip
    header = {
        task: task if same_data(task, name) or task not in PAPER_DATA else f"{task} ({name}; paper {PAPER_DATA[task]})"
        for task, name in data.items()
    }
    names = [(header.get(task, task), way) for task, way in frame.columns]
    frame.columns = pd.MultiIndex.from_tuples(names, names=frame.columns.names)
    absent = [name for name in TABLE_TWO if not any(_is(method, name) for method in ours.index)]
    frame.attrs["note"] = NOTE_TWO + (f" No runs of {', '.join(absent)}." if absent else "")
    return frame


def _is(label: str, row: str) -> bool:
    """Whether a label of runs (``srcid vq (only1+toc)``) is of a row of Table II, with TOC or without."""
    kind, _, first = row.casefold().partition(" (")
    method, _, read = label.partition(" (")
    return method in (kind, f"{kind} vq") and read.startswith("only1") == first.startswith("only1")


def _place(label: str) -> tuple[int, int]:
    """Where the row of a label stands: as in the paper, those with TOC below those without, chance last."""
    places = [place for place, row in enumerate(TABLE_TWO) if _is(label, row)]
    return (places[0] if places else len(TABLE_TWO) + (label == "chance")), int("toc" in label)


def same_data(task: str, name: str) -> bool:
    """Whether data called ``name`` are those of the paper's column for ``task``."""
    words = {word.rstrip("0123456789") for word in re.split(r"[↔→/_\s-]+", name.casefold())}
    need = _SAME_WORDS.get(PAPER_DATA.get(task, ""), set())
    # vgg also where it says vggsound, ucf where it says ucf101; nothing else may be named
    known = {"vggsound": "vgg", "k": "", "class": "", "sound": ""}
    return bool(need) and {known.get(w, w) for w in words} - {""} == need


def table_three(methods: Mapping[str, Sequence[RetrievalResults]], cutoffs: Sequence[int] = (1, 5, 10)) -> pd.DataFrame:
    """Return Table III: rows methods, columns pairs of modalities and recall@k, the mean of both directions, as text.

    Args:
        methods: by method, the results of its runs (training seeds); several data sets add columns.
        cutoffs: the k to show.

    Raises:
        EvaluationError: nothing was scored, or no recall at a cutoff.
    """
    table: dict[str, dict[tuple[str, str, str], str]] = {}
    chance: dict[tuple[str, str, str], list[float]] = {}
    for method, runs in methods.items():
        cells: dict[tuple[str, tuple[str, str, str]], list[tuple[float, np.ndarray]]] = {}
        for results in runs:
            for first in results.scores:
                back = results.select(query=first.target, target=first.query, representation=first.representation)
                if not back or first.query > first.target:
                    continue
                if missing := [k for k in cutoffs if k not in first.recall]:
                    raise EvaluationError(f"found recall at {', '.join(map(str, first.recall))}; need {missing}")
                label = method if first.representation == "all" else f"{method} ({first.representation})"
                for k in cutoffs:
                    column = (results.data, f"{first.query} ↔ {first.target}", f"R@{k}")
                    ways = (first, back[0])
                    mean = float(np.mean([s.recall[k] for s in ways]))
                    draws = np.mean([resampled_recall(s, k) for s in ways], axis=0)
                    cells.setdefault((label, column), []).append((mean, draws))
                    chance.setdefault(column, []).append(float(np.mean([s.chance[k] for s in ways])))
        for (label, column), found in cells.items():
            seeds = t_interval(np.array([mean for mean, _ in found]))
            items = percentile_interval(np.mean([draws for _, draws in found], axis=0))
            table.setdefault(label, {})[column] = _cell(seeds, *items.ends)
    if not table:
        raise EvaluationError("found no retrieval scores; need those of one run")
    table["chance"] = {column: f"{np.mean(values):.1f}" for column, values in chance.items()}
    columns = list(dict.fromkeys(column for row in table.values() for column in row))
    frame = pd.DataFrame([[row.get(c, "") for c in columns] for row in table.values()], index=list(table), dtype=object)
    frame.columns = pd.MultiIndex.from_tuples(columns, names=["data", "pair", "recall"])
    frame.index.name = "method"
    frame.attrs["note"] = NOTE_THREE
    return frame


def _cell(score: Interval, low: float = np.nan, high: float = np.nan) -> str:
    """``81.2 ± 1.3 [79.9, 82.6]``: half the interval over seeds, and that over clips, each where there is one."""
    text = f"{score.value:.1f}" + (f" ± {(score.high - score.low) / 2:.1f}" if score.known else "")
    return text + (f" [{low:.1f}, {high:.1f}]" if np.isfinite(low) else "")
