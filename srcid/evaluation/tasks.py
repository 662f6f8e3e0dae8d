"""The downstream tasks (method section 6): what a stack of probes computes, learns and is scored by.

- Classification: linear D -> D, max over time, linear D -> classes; cross entropy; score: clip accuracy.
- Localisation: per step linear D -> D, linear D -> classes + background; binary cross entropy plus a softmax
  log-likelihood; score: micro precision at 0.5, with recall and F1 beside it. Without anything between them
  the two linear maps are multiplied first, which changes nothing but the cost.
- Cross-dataset: localisation learnt on one data set and scored by micro F1 on another.
- Unpaired: classification where every data set brings a modality of its own.
- Open-set: classification with classes that no probe has seen, see :mod:`srcid.evaluation.open_set`.

Cross-dataset and unpaired need tables that join data sets: see :mod:`srcid.evaluation.joined`.

Outputs, targets and scores have a leading probe axis; see :mod:`srcid.evaluation.probes`. Fitted probes can be asked
again, about features that no clip of the table has (:class:`Readout`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import expit

from srcid.evaluation import metrics
from srcid.evaluation.inputs import GatheredInputs, Inputs
from srcid.evaluation.representation import Representation

Weights = dict[str, torch.Tensor]
Rows = Mapping[str, np.ndarray]  # rows of the table by modality


class Task:
    """What the tasks share; ``events`` is bool ``[N, T, C]``, False on padding, ``usable`` bool ``[N]``."""

    name: str
    metric: str
    truth: np.ndarray
    has_threshold = False  # whether a threshold is chosen on the clips that the epoch is chosen on

    def __init__(self, events: np.ndarray) -> None:
        self.events = events
        self.classes = events.shape[-1]
        self.usable = np.ones(len(events), bool)
        self.outputs = self.classes

    def used(self, part: int) -> np.ndarray:
        """Return which clips ``[N]`` can be used where probes are trained (0), chosen (1) and scored (2)."""
        return self.usable

    @staticmethod
    def splits(protocol: str) -> tuple[str, str, str]:
        """Return the splits that a probe is trained on, chosen on and scored on."""
        return ("train", "val", "test") if protocol == "heldout" else ("train", "train", "train")

    def problem(self, rows: list[Rows], splits: Sequence[str]) -> str:
        """Say why the task cannot be done, or nothing."""
        for part, split in zip(rows, splits, strict=True):
            empty = [m for m, r in part.items() if not len(r)]
            if empty:
                return f"{self.name} was left out: no clip of split '{split}' can be used in {', '.join(empty)}."
        return ""

    def remarks(
        self, clips: Mapping[str, np.ndarray], splits: Sequence[str], rows: Sequence[Rows], names: Sequence[str]
    ) -> list[str]:
        """Say which clips are left out, and which classes occur in the scored clips only.

        ``clips`` has the rows of each split; ``rows`` those of ``splits`` that are used, by modality.
        """
        learned, asked = (self.events[np.unique(_joined(rows[part]))].any(1) for part in (0, 2))
        return self.unused(clips, splits) + [
            f"{self.name}: class '{names[c]}' is in no training clip; its {int(asked[:, c].sum())} clips of "
            f"split '{splits[2]}' are scored and cannot be right."
            for c in np.flatnonzero(asked.any(0) & ~learned.any(0))
        ]

    def unused(self, clips: Mapping[str, np.ndarray], splits: Sequence[str]) -> list[str]:
        """Say which clips are left out."""
        return []

    def targets(self) -> torch.Tensor:
        """The truth that losses compare with."""
        return torch.from_numpy(self.truth)


class Classification(Task):
    name, metric = "classification", "accuracy"

    def __init__(self, events: np.ndarray) -> None:
        super().__init__(events)
        self.usable = events.any(1).sum(1) == 1
        self.truth = metrics.clip_class(events)

    def problem(self, rows: list[Rows], splits: Sequence[str]) -> str:
        problem = super().problem(rows, splits)
        if problem:
            return f"{problem} Classification needs clips with events of exactly one class."
        found = np.unique(self.truth[_joined(rows[0])])
        return (
            "" if len(found) > 1 else f"{self.name} was left out: its training clips have one class, need two or more."
        )

    def unused(self, clips: Mapping[str, np.ndarray], splits: Sequence[str]) -> list[str]:
        used = {s: int(self.usable[clips[s]].sum()) for s in dict.fromkeys(splits)}
        if all(n == len(clips[s]) for s, n in used.items()):
            return []
        counts = ", ".join(f"{n} of {len(clips[s])} {s} clips" for s, n in used.items())
        return [f"classification uses the clips with events of exactly one class: {counts}."]

    def prepare(self, inputs: Inputs, weights: Weights) -> tuple:
        return inputs.project(weights["hidden"]), weights["hidden_bias"], weights["out"], weights["out_bias"]

    def forward(self, inputs: Inputs, prepared: tuple, which: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        projected, hidden_bias, out, out_bias = prepared
        hidden = inputs.linear_max(projected, which, rows) + hidden_bias[:, None]
        return torch.baddbmm(out_bias[:, None], hidden, out)

    def loss(self, logits: torch.Tensor, target: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Cross entropy, the mean over clips, summed over probes."""
        return F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="sum") / target.shape[1]

    def decide(self, logits: np.ndarray) -> np.ndarray:
        return logits.argmax(-1)

    def counts(self, decided: np.ndarray, rows: np.ndarray, present: np.ndarray) -> np.ndarray:
        """(right, 1) per clip: ``[p, n]`` to ``[p, n, 2]``."""
        right = decided == self.truth[rows]
        return np.stack([right, np.ones_like(right)], axis=-1).astype(np.int32)

    def values(self, decided: np.ndarray, rows: np.ndarray, present: np.ndarray) -> dict[str, float]:
        return {"accuracy": 100.0 * float(np.mean(decided == self.truth[rows]))}

    def choose(self, decided: np.ndarray, rows: np.ndarray, present: np.ndarray, published: bool) -> np.ndarray:
        return (decided == self.truth[rows]).mean(-1)

    def keep(self, logits: np.ndarray, present: np.ndarray) -> np.ndarray:
        return logits.argmax(-1)

    def chance(self, fitted: Rows, scored: Rows, present: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Score always answering the most frequent class of the ``fitted`` clips, over all modalities."""
        usual = np.bincount(self.truth[_joined(fitted)], minlength=self.classes).argmax()
        return {"accuracy": 100.0 * float(np.mean(self.truth[_joined(scored)] == usual))}


class Localisation(Task):
    name, metric = "localisation", "precision"

    def __init__(self, events: np.ndarray) -> None:
        super().__init__(events)
        self.truth = metrics.with_background(events)
        self.outputs = self.classes + 1

    def prepare(self, inputs: Inputs, weights: Weights) -> tuple:
        # a multiple of 16 columns, the rest zero: matrix products of odd width take four times as long
        out, out_bias = (F.pad(weights[name], (0, -self.outputs % 16)) for name in ("out", "out_bias"))
        bias = torch.baddbmm(out_bias[:, None], weights["hidden_bias"][:, None], out)
        return inputs.project(torch.bmm(weights["hidden"], out)), bias

    def forward(self, inputs: Inputs, prepared: tuple, which: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        projected, bias = prepared
        return (inputs.linear(projected, which, rows) + bias[:, None])[..., : self.outputs]

    def loss(self, logits: torch.Tensor, target: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """The mean over present steps, summed over probes; both terms weigh the same, as published."""
        weight = present / present.sum((1, 2), keepdim=True)
        return (localisation_loss(logits, target.to(logits.dtype)) * weight).sum()

    def decide(self, logits: np.ndarray) -> np.ndarray:
        return logits > 0  # where the probability is strictly above 0.5

    def _sums(self, decided: np.ndarray, rows: np.ndarray, present: np.ndarray) -> np.ndarray:
        """(hits, predictions, truths) per clip: ``[p, n, T, C]`` to ``[p, n, 3]``."""
        return metrics.cell_counts(decided, np.broadcast_to(self.truth[rows], decided.shape), present).sum(-2)

    def counts(self, decided: np.ndarray, rows: np.ndarray, present: np.ndarray) -> np.ndarray:
        """(hits, predictions) per clip."""
        return self._sums(decided, rows, present)[..., :2].astype(np.int32)

    def values(self, decided: np.ndarray, rows: np.ndarray, present: np.ndarray) -> dict[str, float]:
        micro = metrics.micro_scores(decided, self.truth[rows], mask=present)
        foreground = decided[..., :-1], self.events[rows], present
        return {**vars(micro), "segment_f1": metrics.segment_f1(*foreground), "event_f1": metrics.event_f1(*foreground)}

    def choose(self, decided: np.ndarray, rows: np.ndarray, present: np.ndarray, published: bool) -> np.ndarray:
        hits, guesses, truths = self._sums(decided, rows, present).sum(1).T
        return hits / np.maximum(guesses, 1) if published else 2 * hits / np.maximum(guesses + truths, 1)

    def keep(self, logits: np.ndarray, present: np.ndarray) -> np.ndarray:
        rounded = expit(logits).astype(np.float16)
        # where rounding reaches 0.5, stay above it: what was decided can be read off what is kept
        above = np.nextafter(np.float16(0.5), np.float16(1))
        return np.where(logits > 0, np.maximum(rounded, above), rounded) * present[..., None]

    def chance(self, fitted: Rows, scored: Rows, present: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Score always answering the most frequent class of the present ``fitted`` steps, over all modalities."""
        usual = sum(self.truth[rows][present[m][rows]].sum(0) for m, rows in fitted.items()).argmax()
        shown = np.concatenate([present[m][rows] for m, rows in scored.items()])
        decided = np.zeros((*shown.shape, self.outputs), bool)
        decided[..., usual] = True
        return self.values(decided, _joined(scored), shown)


class CrossDataset(Localisation):
    """Localisation learnt on one data set and scored on another, by micro F1."""

    name, metric = "cross-dataset", "f1"

    @staticmethod
    def splits(protocol: str) -> tuple[str, str, str]:
        return ("train", "val", "test") if protocol == "heldout" else ("train", "test", "test")

    def counts(self, decided: np.ndarray, rows: np.ndarray, present: np.ndarray) -> np.ndarray:
        """(2 hits, predictions + truths) per clip."""
        hits, guesses, truths = np.moveaxis(self._sums(decided, rows, present), -1, 0)
        return np.stack([2 * hits, guesses + truths], axis=-1).astype(np.int32)

    def choose(self, decided: np.ndarray, rows: np.ndarray, present: np.ndarray, published: bool) -> np.ndarray:
        return super().choose(decided, rows, present, published=False)


class Unpaired(Classification):
    """Classification where clips of one modality and clips of another come from different data sets."""

    name = "unpaired"


def _joined(rows: Rows) -> np.ndarray:
    return np.concatenate(list(rows.values()))


def localisation_loss(logits: torch.Tensor, target: torch.Tensor, alpha: torch.Tensor | float = 0.0) -> torch.Tensor:
    """Binary cross entropy (mean over classes) plus softmax log-likelihood (sum over true classes), per step.

    The second term is -sum_c y_c exp(-alpha_c) log softmax(logits)_c. Published code carries alpha as a
    weight per class; fixed at 0 it is the plain log-likelihood.

    Args:
        logits, target: ``[..., C]``.
        alpha: ``[C]`` or a number.

    Returns:
        ``[...]``
    """
    # classes first: reductions over a short last axis are several times slower
    logits, target = logits.movedim(-1, 0).contiguous(), target.movedim(-1, 0).contiguous()
    factor = torch.exp(-torch.as_tensor(alpha, dtype=logits.dtype, device=logits.device))
    if factor.dim():
        factor = factor.view(-1, *[1] * (logits.dim() - 1))
    cross = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(0)
    return cross - (target * factor * F.log_softmax(logits, dim=0)).sum(0)


@dataclass(frozen=True)
class Readout:
    """The probes of one task and representation, one a training modality.

    Attributes:
        task, representation: what they answer, and what of a clip they read.
        train: training modality of each probe, ``[P]``.
        weights: of all of them, with a leading probe axis.
        scales: what the features of each layer are multiplied by, in the order of the representation's layers.
    """

    task: Task
    representation: Representation
    train: tuple[str, ...]
    weights: Weights
    scales: tuple[float, ...]

    @torch.no_grad()
    def ask(self, features: Sequence[np.ndarray], present: np.ndarray) -> np.ndarray:
        """Return the outputs (logits) of every probe, ``[P, n, ...]`` as the task has them.

        Args:
            features: of each layer of the representation, ``[n, T, D]``.
            present: which steps hold features, bool ``[n, T]``.
        """
        parts = [np.float32(scale) * values for scale, values in zip(self.scales, features, strict=True)]
        values = torch.from_numpy(np.concatenate(parts, axis=-1)).float()
        clips = torch.arange(len(values))
        inputs = GatheredInputs(values[None], clips, torch.from_numpy(np.ascontiguousarray(present))[None])
        which, rows = torch.zeros(len(self.train), dtype=torch.long), clips.expand(len(self.train), -1)
        return self.task.forward(inputs, self.task.prepare(inputs, self.weights), which, rows).numpy()
