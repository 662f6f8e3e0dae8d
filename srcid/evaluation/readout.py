"""Fitted probes that can be asked again, about features that no clip of the table has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from srcid.evaluation.inputs import GatheredInputs
from srcid.evaluation.representation import Representation
from srcid.evaluation.tasks import Task, Weights


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
