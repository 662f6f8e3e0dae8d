"""All tasks of the paper's Table II for one model: which table each of them reads, and all probes in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from srcid.codes import encode_once
from srcid.evaluation.joined import Part, cross_dataset, never_paired, one_then_more, unpaired
from srcid.evaluation.metrics import EvaluationError, unknown
from srcid.evaluation.probes import TASKS, fit_probes
from srcid.evaluation.representation import Codes, Representation
from srcid.evaluation.results import ProbeResults
from srcid.evaluation.retrieval import RetrievalResults, code_retrieval
from srcid.features import FeatureStore
from srcid.params import EvaluationParams

SINGLE = ("classification", "localisation", "open-set")  # tasks that read one table
# the others: how the run's own table is cut for them, and how tables of other data are joined
JOINED = {"cross-dataset": (one_then_more, cross_dataset), "unpaired": (never_paired, unpaired)}


@dataclass(frozen=True)
class TaskTables:
    """What each task reads.

    Attributes:
        tables: by task.
        data: by task, the name of its data.
        notes: tasks that cannot be done and why, clips that were left out; as sentences.
    """

    tables: dict[str, Codes]
    data: dict[str, str]
    notes: tuple[str, ...] = ()

    def only(self, *tasks: str) -> TaskTables:
        """Return the same with these tasks alone."""
        return replace(self, tables={task: table for task, table in self.tables.items() if task in tasks})


def task_tables(own: Codes, name: str = "", others: Mapping[str, Sequence[Codes | Part]] | None = None) -> TaskTables:
    """Say which table each task of :data:`TASKS` reads, all made by one model.

    Without further tables everything is asked of ``own``: cross-dataset by :func:`one_then_more`, unpaired by
    :func:`never_paired`.

    Args:
        own: the table of the run.
        name: name of its data.
        others: tables of other data by task: one for each of :data:`SINGLE`, (source, target) for
            ``cross-dataset``, one for each modality for ``unpaired``. A :class:`Part` carries a name.

    Returns:
        The tables; a task whose tables cannot be joined is left out and said in ``notes``.

    Raises:
        EvaluationError: an unknown task, or a wrong number of tables for one.
    """
    others = {task: [p if isinstance(p, Part) else Part(p) for p in given] for task, given in (others or {}).items()}
    problems = unknown("task", others, TASKS)
    for task, (low, high, need) in {
        **dict.fromkeys(SINGLE, (1, 1, "one")),
        "cross-dataset": (2, 2, "two, source and target"), "unpaired": (2, 99, "one for each modality"),
    }.items():  # fmt: skip
        if task in others and not low <= len(others[task]) <= high:
            problems.append(f"found {len(others[task])} tables for {task}; need {need}")
    EvaluationError.check("tables cannot be used:", problems)

    tables: dict[str, Codes] = {}
    data: dict[str, str] = {}
    notes: list[str] = []
    for task in TASKS:
        given = others.get(task)
        data[task] = " / ".join(part.name for part in given) if given else name
        if task in SINGLE:
            tables[task] = given[0].table if given else own
            continue
        split, join = JOINED[task]
        try:
            tables[task] = join(*given) if given else split(own)
            notes += [f"{task}: {note}" for note in tables[task].notes]
        except EvaluationError as error:
            notes.append(f"{task} was left out: {error}.")
    return TaskTables(tables, data, tuple(notes))


def read_stores(
    stores: Mapping[str, str | Sequence[str]], load: Callable[[], Any], keep: Path
) -> tuple[dict[str, list[Part]], tuple[str, ...]]:
    """Open the feature stores that tasks are to read beside the run's own, and have them encoded once.

    Args:
        stores: by task one folder or several; ``folder#modality`` takes one modality of it.
        load: loads the model, if a store has to be encoded.
        keep: folder of the code tables that are made.

    Returns:
        (parts by task, for :func:`task_tables`; sentences on tasks that were left out since one of their stores
        cannot be read or does not suit the model).
    """
    found: dict[str, list[Part]] = {}
    notes = []
    tables: dict[str, tuple[Codes, str]] = {}
    for task, folders in stores.items():
        parts = []
        try:
            for folder in [folders] if isinstance(folders, str) else folders:
                path, _, modality = folder.partition("#")
                if path not in tables:
                    store = FeatureStore.open(path, verify=False)
                    table = encode_once(load, store, keep / store.checksum[:12])
                    tables[path] = table, str(store.provenance.get("name") or store.path.name)
                table, name = tables[path]
                parts.append(Part(table, None, (modality,) if modality else None, name))
        except (ValueError, OSError) as error:  # of stores and of code tables: the message says what to do
            notes.append(f"{task} was left out: {error}.")
            continue
        found[task] = parts
    return found, tuple(notes)


@dataclass(frozen=True)
class RunTasks:
    """What each task reads, for several runs on one data set.

    Attributes:
        tables: by run.
        captions: by run, the tables that retrieval reads.
        stores: tasks that read other stores than the runs' own.
        notes: what was left out and why, as sentences.
    """

    tables: dict[str, TaskTables]
    captions: dict[str, list[Part]]
    stores: tuple[str, ...]
    notes: tuple[str, ...]

    def retrieval(self, run: str, representations: Sequence[str]) -> list[RetrievalResults]:
        """Score zero-shot retrieval of a run on each of its :attr:`captions`."""
        return [code_retrieval(part.table, representations, data=part.name) for part in self.captions[run]]


def run_tasks(
    codes: Mapping[str, Codes],
    data: str,
    stores: Mapping[str, str | Sequence[str]],
    load: Callable[[str], Any],
    keep: Path,
) -> RunTasks:
    """Say what the tasks read for each run: its own code table, or ``stores`` by task, or by the word ``retrieval``.

    Args:
        codes: code table by run; ``data`` is the name of what they were made of.
        load: loads the model of a run, to encode further stores.
        keep: folder for these code tables.
    """
    tables, captions, notes = {}, {}, []
    for run, own in codes.items():
        others, lost = read_stores(stores, partial(load, run), keep / run)
        captions[run] = others.pop("retrieval", [Part(own, name=data)])
        tables[run] = task_tables(own, data, others)
        notes += [*lost, *tables[run].notes]
    return RunTasks(tables, captions, tuple(stores), tuple(dict.fromkeys(notes)))


def score_runs(
    directions: pd.DataFrame,
    about: pd.DataFrame,
    tasks: RunTasks,
    representations: Sequence[str],
    progress: Callable[[str], None] | None = None,
) -> tuple[pd.DataFrame, dict[str, list[ProbeResults]]]:
    """Fit the probes that runs have not fitted themselves, with each run's own settings.

    Args:
        directions: what the runs scored, in long form (``directions`` of :func:`srcid.runs.collect`).
        about: a row a run: method, seed, and the fields of :class:`srcid.params.EvaluationParams`.
        representations: names; of a run with one layer, those that read layer 1 alone are left out.
        progress: called with the name of each stack before it is fitted.

    Returns:
        (the runs' own scores of these representations and the new ones in long form, what was fitted by run).
    """
    frames, fitted = [], {}
    for run, tables in tasks.tables.items():
        layers = next(iter(tables.tables.values())).layers if tables.tables else 1
        names = [name for name in representations if layers > 1 or not name.startswith("only")]
        mine = directions[(directions["run"] == run) & directions["representation"].isin(names)]
        mine = mine[~mine["task"].isin(tasks.stores)]
        have = set(zip(mine["task"], mine["representation"], strict=True))
        lacking: dict[tuple[str, ...], list[str]] = {}
        for task in tables.tables:
            lacking.setdefault(tuple(r for r in names if (task, r) not in have), []).append(task)
        params = EvaluationParams(**{name: about.at[run, name] for name in EvaluationParams.model_fields})
        say = None if progress is None else lambda stack, run=run: progress(f"{run}: {stack}")
        fitted[run] = [fit_tasks(tables.only(*some), params, asked, progress=say)
                       for asked, some in lacking.items() if asked]  # fmt: skip
        label = {name: about.at[run, name] for name in ("method", "seed")}
        frames += [mine.drop(columns="data", errors="ignore")]
        frames += [results.frame().assign(run=run, **label) for results in fitted[run] if results.scores]
    frames = [frame for frame in frames if len(frame)]
    return pd.concat(frames, ignore_index=True) if frames else directions.iloc[:0], fitted


def fit_tasks(
    tables: TaskTables,
    params: EvaluationParams,
    representations: Sequence[str | Representation] = ("all", "only1"),
    progress: Callable[[str], None] | None = None,
) -> ProbeResults:
    """Fit the probes of all tasks, each on its own table; tasks of one table share what is read.

    Returns:
        As :func:`fit_probes`, the scores of all tasks together; ``classes`` and ``modalities`` are those of the first
        table. What a table cannot give is said in ``notes`` and the other tasks are done.
    """
    groups: dict[int, list[str]] = {}
    for task, table in tables.tables.items():
        groups.setdefault(id(table), []).append(task)
    parts = []
    for tasks in groups.values():
        found = fit_probes(tables.tables[tasks[0]], params, tasks, representations, progress=progress, data=tasks[0])
        whose = f"{' and '.join(tasks)}: no probe was fitted"
        said = [note.replace("no probe was fitted", whose) for note in found.notes]
        said.sort(key=lambda note: note.startswith("representation "))  # what tables share comes last
        parts.append(replace(found, notes=tuple(said)))
    if not parts:
        settings = {field: getattr(params, field) for field in EvaluationParams.model_fields}
        return ProbeResults((), {}, (), (), {}, settings, tables.notes)
    order = {task: place for place, task in enumerate(TASKS)}
    scores = sorted((s for part in parts for s in part.scores), key=lambda s: order[s.task])
    return replace(
        parts[0],
        scores=tuple(scores),
        chance={task: values for part in parts for task, values in part.chance.items()},
        clips={task: counts for part in parts for task, counts in part.clips.items()},
        notes=tuple(dict.fromkeys([*tables.notes, *(note for part in parts for note in part.notes)])),
        readouts=tuple(readout for part in parts for readout in part.readouts),
    )
