"""Downstream probes on frozen codes (method section 6): trained on one modality, scored on it and on every
other.

A probe is small and there are many of them (modalities x seeds), so all are fitted as one stack: parameters
and batches have a leading probe axis P, one backward pass and one Adam serve all. Every probe has its own
initial weights and its own order of clips, drawn from its seed, its task, the features it reads and its
modality alone: what else is in the stack, or how the features are called, does not change it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch

from srcid.evaluation.inputs import Inputs, read_inputs
from srcid.evaluation.metrics import EvaluationError, unknown
from srcid.evaluation.open_set import OpenSet
from srcid.evaluation.representation import Codes, Representation, labelled_part, true_events
from srcid.evaluation.results import ProbeResults, ProbeScore
from srcid.evaluation.tasks import Classification, CrossDataset, Localisation, Readout, Task, Unpaired, Weights
from srcid.optimiser import Adam
from srcid.params import EvaluationParams

TASKS: dict[str, type[Task]] = {
    task.name: task for task in (Classification, Localisation, CrossDataset, Unpaired, OpenSet)
}
PAIRED = ("classification", "localisation")
"""Tasks that every run is scored by."""
REPRESENTATIONS = ("all", "only1", "continuous")
READ_CLIPS = 128  # clips per forward pass where no gradient is needed


def fit_probes(
    table: Codes,
    params: EvaluationParams,
    tasks: Sequence[str] = PAIRED,
    representations: Sequence[str | Representation] = REPRESENTATIONS,
    train: Sequence[str] | None = None,
    lookup: bool | None = None,
    progress: Callable[[str], None] | None = None,
    data: str = "",
) -> ProbeResults:
    """Fit and score the probes of all ``tasks`` and ``representations`` for every training modality and seed.

    Protocol ``heldout``: trained on split ``train``, epoch chosen on split ``val`` of the training modality
    (by accuracy, or F1: precision alone rewards silence), scored on split ``test`` in every modality.
    Protocol ``published``: trained on split ``train`` and scored there (across data sets: on the other's ``test``),
    with the epoch that is best on the scored modality.

    Args:
        table: the codes; ``labels["event"]`` is bool ``[N, T, C]``.
        params: protocol, seeds, epochs, learning rate and batch size; larger parameter sets may be passed
            whole.
        representations: names of :meth:`Representation.named`, or representations.
        train: training modalities; all by default.
        lookup: see :func:`srcid.evaluation.inputs.read_inputs`.
        progress: called with the name of each stack before it is fitted.
        data: name of the data, kept with each score.

    Returns:
        The scores. What the data cannot give is left out and said in ``notes``: everything, without event
        labels or a split; a task, for want of usable clips; a representation whose features are not kept, or
        are the same as those of one before it (``only1`` and ``all`` of a single layer).

    Raises:
        EvaluationError: unknown tasks, representations or modalities, or none; all reported at once.
    """
    train = tuple(table.modalities) if train is None else tuple(train)
    asked = {name: TASKS[name].splits(params.protocol) for name in tasks if name in TASKS}
    needed = tuple(dict.fromkeys(split for splits in asked.values() for split in splits)) or ("train", "val", "test")
    everything, table = table, labelled_part(table)
    missing = _missing(table, needed)
    chosen, notes = _checked(table, tasks, representations, train, missing)
    notes += [
        f"the event is unknown in {len(rows) - len(table.splits[split]):,} of {len(rows):,} {split} clips, which are "
        "left out."
        for split, rows in everything.splits.items()
        if split in needed and len(rows) > len(table.splits[split])
    ]
    settings = {name: getattr(params, name) for name in EvaluationParams.model_fields}
    info = table.label_info.get("event")
    names = tuple(info.classes) if info is not None else ()
    if missing:
        said = tuple(f"no probe was fitted: {problem}." for problem in missing)
        return ProbeResults((), {}, names, tuple(table.modalities), {}, settings, said)
    present = {m: np.asarray(table.masks[m], bool) for m in table.modalities}
    events = true_events(table)
    names = names or tuple(map(str, range(events.shape[-1])))
    scores, chance, clips, readouts = [], {}, {}, []
    ready = []
    for name in tasks:
        task, splits = TASKS[name](events), asked[name]
        rows = [
            {m: _usable(table, s, task.used(part) & present[m].any(1)) for m in table.modalities}
            for part, s in enumerate(splits)
        ]
        problem = task.problem(rows, splits)
        if problem:
            notes.append(problem)
            continue
        notes += task.remarks(table.splits, splits, rows, names)
        clips[name] = {
            split: len(np.unique(np.concatenate(list(r.values())))) for split, r in zip(splits, rows, strict=True)
        }
        chance[name] = task.chance(rows[0], rows[2], present)
        ready.append((task, rows))
    learned = np.sort(np.asarray(table.splits["train"], np.int64))
    every = np.unique(np.concatenate([np.asarray(table.splits[s], np.int64) for s in needed]))
    for representation in chosen if ready else ():
        try:
            read = [(candidate, read_inputs(table, candidate, every, learned, params.probe_batch, lookup))
                    for candidate in representation.candidates()]  # fmt: skip
        except EvaluationError as error:
            notes.append(f"representation '{representation.name}' was left out: {error}.")
            continue
        for task, rows in ready:
            if progress:
                progress(f"{task.name}, {representation.name}")
            stacks = [_Stack(task, candidate, inputs, present, tuple(table.modalities), rows, params, data)
                      for candidate, inputs in read]  # fmt: skip
            if len(stacks) > 1:  # one seed suffices to choose how many coordinates are read
                single = params.model_copy(update={"probe_seeds": 1})
                reached = [replace(stack, params=single).fit_all(train).reached for stack in stacks]
                stacks = [stacks[int(np.argmax(reached))]]
                where = {"val": "validation"}.get(asked[task.name][1], asked[task.name][1])
                said = f"{stacks[0].representation.keep:.0%} of the coordinates are read, chosen on {where} clips"
                notes.append(f"{task.name}, {representation.name}: {said}.")
            found = stacks[0].fit_all(train)
            scores += found.scores
            notes += found.remarks
            readouts += found.readouts
    order = {name: i for i, name in enumerate((*tasks, *(r.name for r in chosen)))}
    place = {m: i for i, m in enumerate(table.modalities)}
    scores.sort(key=lambda s: (order[s.task], order[s.representation], place[s.train], place[s.test], s.seed))
    return ProbeResults(
        tuple(scores), chance, names, tuple(table.modalities), clips, settings, tuple(notes), tuple(readouts)
    )


class _Fitted(NamedTuple):
    """Scores and remarks of a stack, its probes of the first seed, and the mean score that epochs were chosen by."""

    scores: list[ProbeScore]
    remarks: list[str]
    readouts: list[Readout]
    reached: float


@dataclass
class _Stack:
    """The probes of one task and representation."""

    task: Task
    representation: Representation
    inputs: Inputs
    present: dict[str, np.ndarray]
    modalities: tuple[str, ...]
    rows: list[dict[str, np.ndarray]]
    params: EvaluationParams
    data: str

    def fit_all(self, train: Sequence[str]) -> _Fitted:
        """Fit all seeds of all training modalities."""
        # one stack takes one number of steps, so its modalities must have equally many clips
        counts = dict.fromkeys(len(self.rows[0][m]) for m in train)
        parts = [self.fit([m for m in train if len(self.rows[0][m]) == count]) for count in counts]
        scores, remarks, readouts, reached = zip(*parts, strict=True)
        return _Fitted(
            list(chain(*scores)), list(chain(*remarks)), list(chain(*readouts)), float(np.mean(np.concatenate(reached)))
        )

    def fit(self, train: list[str]) -> tuple[list[ProbeScore], list[str], list[Readout], np.ndarray]:
        """Fit all seeds of the training modalities ``train`` and score them on every modality."""
        p, task = self.params, self.task
        fitted, held, _ = self.rows
        seeds = range(p.probe_seeds)
        published = p.protocol == "published"
        generators = [self._generator(m, seed) for m in train for seed in seeds]
        weights = self._initial(generators)
        optimiser = Adam(list(weights.values()), lr=p.probe_lr, fused=True)
        which = self._which(*(m for m in train for _ in seeds))
        own = torch.from_numpy(np.repeat([fitted[m] for m in train], len(seeds), axis=0))
        target, present = task.targets(), self.inputs.present
        # one choice of epoch per probe (heldout), or one for each modality it will be scored on (published)
        choices = [dict.fromkeys(train, m) for m in self.modalities] if published else [{m: m for m in train}]
        best = [_Best(weights) for _ in choices]
        for epoch in range(1, p.probe_epochs + 1):
            order = torch.stack([torch.randperm(own.shape[1], generator=g) for g in generators])
            shuffled = own.gather(1, order)
            for start in range(0, own.shape[1], p.probe_batch):
                batch = shuffled[:, start : start + p.probe_batch]
                logits = task.forward(self.inputs, task.prepare(self.inputs, weights), which, batch)
                loss = task.loss(logits, target[batch], present[which[:, None], batch])
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
            for record, choice in zip(best, choices, strict=True):
                reached = [
                    task.choose(task.decide(logits), held[m], self.present[m][held[m]], published)
                    for m, logits in self._read(weights, train, choice, held)
                ]
                record.offer(np.concatenate(reached), epoch, weights)
        scores = []
        for i, m in enumerate(self.modalities):
            scores += self._score(best[i if published else 0], train, m)
        rising = sum(int(record.rising.sum()) for record in best)
        total = sum(record.epoch.size for record in best)
        remark = (
            f"{task.name}, {self.representation.name}: {rising} of {total} probes were still rising at the "
            f"last of {p.probe_epochs} epochs; raise probe_epochs or probe_lr."
        )
        first = np.arange(len(train)) * p.probe_seeds
        own = {name: w[first] for name, w in best[0].weights.items()}
        readouts = [] if published else [Readout(task, self.representation, tuple(train), own, self.inputs.scales)]
        reached = np.concatenate([record.reached for record in best])
        return scores, [remark] if 2 * rising > total else [], readouts, reached

    def _generator(self, modality: str, seed: int) -> torch.Generator:
        """A probe's own source of randomness."""
        read = self.representation
        name = f"{self.task.name}/{read.layers}/{read.kind}/{modality}".encode()
        entropy = np.random.SeedSequence([seed, zlib.crc32(name)]).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(entropy >> np.uint64(1)))

    def _initial(self, generators: list[torch.Generator]) -> Weights:
        """Draw each probe's weights as torch draws a linear layer's: uniform within 1/sqrt(inputs)."""
        width, outputs = self.inputs.width, self.task.outputs
        shapes = {
            "hidden": (width, width), "hidden_bias": (width,), "out": (width, outputs), "out_bias": (outputs,)
        }  # fmt: skip
        drawn = [
            {name: (2 * torch.rand(shape, generator=g) - 1) / width**0.5 for name, shape in shapes.items()}
            for g in generators
        ]
        return {name: torch.stack([w[name] for w in drawn]).requires_grad_() for name in shapes}

    def _which(self, *modalities: str) -> torch.Tensor:
        return torch.tensor([self.modalities.index(m) for m in modalities])

    @torch.no_grad()
    def _read(
        self, weights: Weights, train: list[str], choice: dict[str, str], rows: dict[str, np.ndarray]
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Yield for each training modality the outputs ``[seeds, n, ...]`` of its probes on ``choice``."""
        seeds = self.params.probe_seeds
        for i, trained in enumerate(train):
            modality = choice[trained]
            part = {name: w[i * seeds : (i + 1) * seeds] for name, w in weights.items()}
            prepared = self.task.prepare(self.inputs, part)
            which = self._which(*[modality] * seeds)
            clips = torch.from_numpy(rows[modality])
            outputs = [
                self.task.forward(self.inputs, prepared, which, chunk.expand(seeds, -1))
                for chunk in clips.split(READ_CLIPS)
            ]
            yield modality, torch.cat(outputs, dim=1).numpy()

    def _score(self, record: _Best, train: list[str], test: str) -> list[ProbeScore]:
        task, rows = self.task, self.rows[2]
        present = self.present[test][rows[test]]
        scores = []
        epochs = record.epoch.reshape(len(train), -1)
        thresholds = self._thresholds(record, train, test) if task.has_threshold else {}
        outputs = self._read(record.weights, train, dict.fromkeys(train, test), rows)
        for i, (trained, (_, logits)) in enumerate(zip(train, outputs, strict=True)):
            decided = task.decide(logits, *thresholds.get(trained, ()))
            counts = task.counts(decided, rows[test], present)
            scores += [
                ProbeScore(
                    task.name, self.representation.name, trained, test, seed, int(epochs[i, seed]),
                    task.values(decided[seed], rows[test], present), task.metric, rows[test], counts[seed],
                    task.keep(logits[seed], present) if seed == 0 or task.has_threshold else None, self.data,
                )
                for seed in range(self.params.probe_seeds)
            ]  # fmt: skip
        return scores

    def _thresholds(self, record: _Best, train: list[str], test: str) -> dict[str, tuple[np.ndarray]]:
        """Choose each probe's threshold on the clips that its epoch was chosen on."""
        held = dict.fromkeys(train, test) if self.params.protocol == "published" else {m: m for m in train}
        outputs = self._read(record.weights, train, held, self.rows[1])
        return {
            trained: (self.task.threshold(self.task.decide(logits), self.rows[1][m]),)
            for trained, (m, logits) in zip(train, outputs, strict=True)
        }


class _Best:
    """Each probe's weights at its best epoch; of equally good epochs the last, which has learned longest."""

    def __init__(self, weights: Weights) -> None:
        count = len(next(iter(weights.values())))
        self.weights = {name: w.detach().clone() for name, w in weights.items()}
        self.reached = np.full(count, -np.inf)
        self.epoch = np.zeros(count, int)
        self.rising = np.zeros(count, bool)

    @torch.no_grad()
    def offer(self, reached: np.ndarray, epoch: int, weights: Weights) -> None:
        self.rising = reached > self.reached
        better = reached >= self.reached
        chosen = torch.from_numpy(np.flatnonzero(better))
        for name, kept in self.weights.items():
            kept[chosen] = weights[name][chosen]
        self.reached[better], self.epoch[better] = reached[better], epoch


def _missing(table: Codes, splits: Sequence[str]) -> list[str]:
    """List missing prerequisites: what every probe needs and these data do not give."""
    problems = []
    unlabelled = " of clips whose event is known" if "event" in table.labelled else ""
    labels = table.labels.get("event")
    if labels is None:
        there = ", ".join(table.labels) or "none"
        problems.append(f"found labels: {there}; need 'event', bool [clips, steps, classes]; give it to the store")
    elif labels.dtype != bool or labels.shape[:2] != (table.clips, table.steps) or labels.ndim != 3:
        need = f"bool [{table.clips}, {table.steps}, classes]"
        problems.append(f"found label 'event' {labels.dtype} {labels.shape}; need {need}")
    for split in dict.fromkeys(splits):
        if not len(table.splits.get(split, ())):
            state = "is missing" if split not in table.splits else f"is empty{unlabelled}"
            problems.append(f"split '{split}' {state}; the table has {', '.join(table.splits) or 'none'}")
    return problems


def _checked(
    table: Codes,
    tasks: Sequence[str],
    representations: Sequence[str | Representation],
    train: Sequence[str],
    missing: Sequence[str],
) -> tuple[list[Representation], list[str]]:
    """Return the representations that differ and what was left out, or raise with all that is wrong or ``missing``."""
    problems = []
    for asked, names in (("task", tasks), ("representation", representations), ("training modality", train)):
        if not names:
            problems.append(f"found no {asked}; name one or more, or leave the argument out for all")
    problems += [*unknown("task", tasks, TASKS), *unknown("modality", train, table.modalities)]
    chosen, notes, wrong = Representation.several(representations, table.layers)
    if problems or wrong:
        raise EvaluationError("probes cannot be fitted:", [*problems, *wrong, *missing])
    return chosen, notes


def _usable(table: Codes, split: str, usable: np.ndarray) -> np.ndarray:
    rows = np.sort(np.asarray(table.splits[split], np.int64))
    return rows[usable[rows]]
