"""The warm start: when the losses of the next semantic-residual layer join (SRCID, section III-B)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from srcid.params import Params


@dataclass
class WarmStart:
    """Opens layer k+1 once layer k's mutual information has settled (SRCID, section III-B).

    The trigger watches an exponentially smoothed CLUB estimate: ``relative`` fires below a share of its own peak,
    ``absolute`` below a value in nats. Each layer's clock starts when the one before it opened; the minimum and
    maximum waits are shares of all steps.
    """

    params: Params
    steps: int
    opened: list[int | None] = field(default_factory=list)
    smoothed: float | None = None
    peak: float = 0.0
    below: int = 0

    def __post_init__(self) -> None:
        if not self.opened:
            everything = self.params.warm_start == "off"
            self.opened = [0 if k == 0 or everything else None for k in range(self.params.layers)]

    @property
    def layers_open(self) -> int:
        """Layers whose losses act."""
        return sum(step is not None for step in self.opened)

    @property
    def threshold(self) -> float:
        """The value, in nats, below which the smoothed estimate must fall."""
        share = self.peak if self.params.warm_start == "relative" else 1.0
        return self.params.warm_threshold * share

    def update(self, step: int, information: float | None) -> bool:
        """Take the newest open layer's estimate at ``step``; return whether the next layer opens now.

        ``information`` is None when CLUB is not fitted; then the layer opens at the latest step.
        """
        if self.layers_open == self.params.layers:
            return False
        p = self.params
        waited = step - self.opened[self.layers_open - 1]
        if information is not None:
            keep = p.warm_smoothing
            self.smoothed = information if self.smoothed is None else keep * self.smoothed + (1 - keep) * information
            self.peak = max(self.peak, self.smoothed)
            self.below = self.below + 1 if self.smoothed < self.threshold else 0
        settled = self.below >= p.warm_patience and waited >= p.warm_min * self.steps
        if not (settled or waited >= p.warm_max * self.steps):
            return False
        self.opened[self.layers_open] = step
        self.smoothed, self.peak, self.below = None, 0.0, 0
        return True

    def state(self) -> dict[str, Any]:
        """Json-serialisable state."""
        return {"opened": self.opened, "smoothed": self.smoothed, "peak": self.peak, "below": self.below}
