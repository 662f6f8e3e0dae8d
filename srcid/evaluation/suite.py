"""All tasks of the paper's Table II for one model: which table each of them reads, and all probes in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from srcid.evaluation.inputs import Codes, Representation
from srcid.evaluation.joined import Part, cross_dataset, never_paired, one_then_more, unpaired
from srcid.evaluation.metrics import EvaluationError
from srcid.evaluation.probes import TASKS, fit_probes
from srcid.evaluation.results import ProbeResults
from srcid.features import FeatureStore
from srcid.params import EvaluationParams, suggest

SINGLE = ("classification", "localisation", "open-set")  # tasks that read one table


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


def task_tables(
    own: Codes,
    name: str = "",
    others: Mapping[str, Sequence[Codes | Part]] | None = None,
    rename: Mapping[str, str] | None = None,
) -> TaskTables:
    """Say which table each task of :data:`TASKS` reads, all made by one model.

    Without further tables everything is asked of ``own``: cross-dataset by :func:`one_then_more`, unpaired by
    :func:`never_paired`.

    Args:
        own: the table of the run.
        name: name of its data.
        others: tables of other data by task: one for each of :data:`SINGLE`, (source, target) for
            ``cross-dataset``, one for each modality for ``unpaired``. A :class:`Part` carries a name.
        rename: classes of other names, see :class:`srcid.evaluation.joined.JoinedCodes`.

    Returns:
        The tables; a task whose tables cannot be joined is left out and said in ``notes``.

    Raises:
        EvaluationError: an unknown task, or a wrong number of tables for one.
    """
    others = {task: [p if isinstance(p, Part) else Part(p) for p in given] for task, given in (others or {}).items()}
    problems = [
        f"task '{task}' is unknown{suggest(task, list(TASKS))}; there are {', '.join(TASKS)}"
        for task in others
        if task not in TASKS
    ]
    for task, (low, high, need) in {
        **dict.fromkeys(SINGLE, (1, 1, "one")),
        "cross-dataset": (2, 2, "two, source and target"), "unpaired": (2, 99, "one for each modality"),
    }.items():  # fmt: skip
        if task in others and not low <= len(others[task]) <= high:
            problems.append(f"found {len(others[task])} tables for {task}; need {need}")
    if problems:
        raise EvaluationError("tables cannot be used:", problems)

    tables: dict[str, Codes] = {}
    data: dict[str, str] = {}
    notes: list[str] = []
    makers: dict[str, Callable[[], Codes]] = {
        "cross-dataset": lambda: one_then_more(own),
        "unpaired": lambda: never_paired(own),
    }
    for task in TASKS:
        given = others.get(task)
        data[task] = " / ".join(part.name for part in given) if given else name
        if task in SINGLE:
            tables[task] = given[0].table if given else own
        else:
            make = makers[task]
            if given:
                join = cross_dataset if task == "cross-dataset" else unpaired
                make = partial(join, *given, rename=rename)
            try:
                tables[task] = make()
                notes += [f"{task}: {note}" for note in tables[task].notes]
            except EvaluationError as error:
                notes.append(f"{task} was left out: {error}.")
    return TaskTables(tables, data, tuple(notes))


def read_stores(
    stores: Mapping[str, str | Sequence[str]], encode: Callable[[FeatureStore], Codes]
) -> tuple[dict[str, list[Part]], tuple[str, ...]]:
    """Open the feature stores that tasks are to read beside the run's own, and have them encoded.

    Args:
        stores: by task one folder or several; ``folder#modality`` takes one modality of it.
        encode: makes (or finds) the code table of a store.

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
                    tables[path] = encode(store), str(store.provenance.get("name") or store.path.name)
                table, name = tables[path]
                parts.append(Part(table, None, (modality,) if modality else None, name))
        except (ValueError, OSError) as error:  # of stores and of code tables: the message says what to do
            notes.append(f"{task} was left out: {error}.")
            continue
        found[task] = parts
    return found, tuple(notes)


def fit_tasks(
    tables: TaskTables,
    params: EvaluationParams,
    representations: Sequence[str | Representation] = ("all", "only1"),
    device: str = "cpu",
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
        found = fit_probes(
            tables.tables[tasks[0]], params, tasks, representations, device=device, progress=progress, data=tasks[0]
        )
        said = [note.replace("no probe was fitted", f"{' and '.join(tasks)}: no probe was fitted")
                for note in found.notes if not note.startswith("representation ")]  # fmt: skip
        same = [note for note in found.notes if note.startswith("representation ")]
        parts.append(replace(found, notes=(*said, *same)))
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
    )
