"""The warm start: when the losses of the next semantic-residual layer join (SRCID, section III-B)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from srcid.params import Params

REASONS = {
    "start": "open from the start",
    "settled": "information has stopped falling in every modality",
    "absolute": "information is below the threshold in every modality",
    "epochs": "the fixed number of epochs is over",
    "longest wait": "the longest wait is over",
}
_SLOWER = 4  # the second average remembers this many times longer than the first


@dataclass
class WarmStart:
    """Opens layer k+1 once layer k's mutual information is small enough, in every modality by itself.

    The paper waits until it is "close to 0"; what an estimator settles at differs between modalities, so the
    default asks whether it has stopped falling:

    - ``settled``: two exponential averages of the estimate, the second four times slower, differ by less than
      ``warm_threshold`` of the modality's own peak: the slope is near zero;
    - ``absolute``: the average lies below ``warm_threshold`` nats;
    - ``epochs``: neither is asked; the layer opens after ``warm_epochs`` epochs.

    What the slow average remembers has to be filled first. The first two must hold ``warm_patience`` steps in a
    row, between the shortest and the longest wait. Each layer's clock starts when the one before it opened.

    Attributes:
        opened: step at which each layer opened, None while closed.
        reasons: why it did, one of :data:`REASONS`; None while closed.
        averages: per modality, the fast and the slow average and the peak of the former.
    """

    params: Params
    steps: int
    per_epoch: int = 1
    opened: list[int | None] = field(default_factory=list)
    reasons: list[str | None] = field(default_factory=list)
    averages: dict[str, list[float]] = field(default_factory=dict)
    held: int = 0

    def __post_init__(self) -> None:
        if not self.opened:
            first = self.params.layers if self.params.warm_start == "off" else 1
            self.opened = [0 if k < first else None for k in range(self.params.layers)]
            self.reasons = ["start" if k < first else None for k in range(self.params.layers)]

    @property
    def layers_open(self) -> int:
        """Layers whose losses act."""
        return sum(step is not None for step in self.opened)

    def changes(self) -> dict[str, float]:
        """Return per modality what must come below ``warm_threshold``: the change, or the average in nats."""
        if self.params.warm_start == "absolute":
            return {m: fast for m, (fast, _, _) in self.averages.items()}
        return {m: abs(fast - slow) / max(peak, 1e-12) for m, (fast, slow, peak) in self.averages.items()}

    def update(self, step: int, information: Mapping[str, float]) -> bool:
        """Take the newest open layer's estimates at ``step``; return whether the next layer opens now.

        ``information`` is empty when nothing is estimated; then the layer opens after the longest wait.
        """
        if self.layers_open == self.params.layers:
            return False
        p = self.params
        waited = step - self.opened[self.layers_open - 1]
        for m, value in information.items():
            if m not in self.averages:
                self.averages[m] = [value, value, abs(value)]
            fast, slow, peak = self.averages[m]
            keep, longer = p.warm_smoothing, 1 - (1 - p.warm_smoothing) / _SLOWER
            fast, slow = keep * fast + (1 - keep) * value, longer * slow + (1 - longer) * value
            self.averages[m] = [fast, slow, max(peak, abs(fast))]
        small = [change < p.warm_threshold for change in self.changes().values()]
        memory = _SLOWER / (1 - p.warm_smoothing) if p.warm_start == "settled" else 0
        self.held = self.held + 1 if small and all(small) and waited >= memory else 0
        if p.warm_start == "epochs":
            reason = "epochs" if waited >= p.warm_epochs * self.per_epoch else None
        elif self.held >= p.warm_patience and waited >= p.warm_min * self.steps:
            reason = p.warm_start
        else:
            reason = "longest wait" if waited >= math.floor(p.warm_max * self.steps) else None
        if reason is None:
            return False
        layer = self.layers_open
        self.opened[layer], self.reasons[layer] = step, reason
        self.averages, self.held = {}, 0
        return True

    def state(self) -> dict[str, Any]:
        """Json-serialisable state."""
        return {"opened": self.opened, "reasons": self.reasons, "averages": self.averages, "held": self.held}
