"""What is asked of :func:`srcid.evaluation.probes.fit_probes`, and what the data give: checked before work starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from srcid.evaluation.inputs import Codes, Representation
from srcid.evaluation.metrics import EvaluationError
from srcid.evaluation.tasks import TASKS
from srcid.params import suggest


def lacking(table: Codes, splits: Sequence[str]) -> list[str]:
    """Say what the data do not give that every probe needs."""
    problems = []
    labels = table.labels.get("event")
    if labels is None:
        there = ", ".join(table.labels) or "none"
        problems.append(f"found labels: {there}; need 'event', bool [clips, steps, classes]; give it to the store")
    elif labels.dtype != bool or labels.shape[:2] != (table.clips, table.steps) or labels.ndim != 3:
        need = f"bool [{table.clips}, {table.steps}, classes]"
        problems.append(f"found label 'event' {labels.dtype} {labels.shape}; need {need}")
    for split in dict.fromkeys(splits):
        if not len(table.splits.get(split, ())):
            state = "is empty" if split in table.splits else "is missing"
            problems.append(f"split '{split}' {state}; the table has {', '.join(table.splits) or 'none'}")
    return problems


def check(
    table: Codes,
    tasks: Sequence[str],
    representations: Sequence[str | Representation],
    train: Sequence[str],
    missing: Sequence[str],
) -> list[Representation]:
    """Return the representations, or raise with all that is wrong, what is ``missing`` included."""
    problems, chosen = [], []
    for asked, names in (("task", tasks), ("representation", representations), ("training modality", train)):
        if not names:
            problems.append(f"found no {asked}; name one or more, or leave the argument out for all")
    problems += [
        f"task '{t}' is unknown{suggest(t, list(TASKS))}; there are {', '.join(TASKS)}" for t in tasks if t not in TASKS
    ]
    problems += [
        f"modality '{m}' is unknown{suggest(m, list(table.modalities))}; there are {', '.join(table.modalities)}"
        for m in train
        if m not in table.modalities
    ]
    for name in representations:
        try:
            chosen.append(Representation.named(name, table.layers))
        except EvaluationError as error:
            problems.append(str(error))
    if problems:
        raise EvaluationError("probes cannot be fitted:\n" + "\n".join(f"  - {p}" for p in [*problems, *missing]))
    return chosen


def different(representations: Sequence[Representation]) -> tuple[list[Representation], list[str]]:
    """Keep the first of those that read the same features, and say which were left out."""
    kept: dict[Representation, Representation] = {}
    notes = []
    for representation in representations:
        first = kept.setdefault(replace(representation, name=""), representation)
        if first is not representation:
            notes.append(
                f"representation '{representation.name}' was left out: it reads the same features as '{first.name}'."
            )
    return list(kept.values()), notes


def usable_rows(table: Codes, split: str, usable: np.ndarray) -> np.ndarray:
    rows = np.sort(np.asarray(table.splits[split], np.int64))
    return rows[usable[rows]]
