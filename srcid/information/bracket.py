"""How much two things say about each other, bracketed: a bound from below, one from above, an independent estimate.

No single estimator of mutual information can be trusted by itself. :func:`bracket` runs those that fit the two
sides, each fitted, stopped and scored on different clips, beside what they say of permuted clips, and says in a
sentence which assumption broke where they contradict each other:

================  ==============================  ====================  =======================
sides             lower                           upper                 independent
================  ==============================  ====================  =======================
features, both    InfoNCE                         CLUB, leave-one-out   KSG on few components
features, codes   Barber-Agakov (logistic q)      categorical CLUB      Ross' nearest neighbours
codes, both       Barber-Agakov (table q)         categorical CLUB      corrected counts
================  ==============================  ====================  =======================

All three kinds of upper bound hold as far as their q is right. A *certified* bound needs no such trust: the
entropy of what takes few values, or the rate of noisy specific features. Estimators are judged against known
truth in :mod:`srcid.information.calibration`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from srcid.information import counts, neighbours
from srcid.information.estimates import Estimate, Settings, Side, read_pair, split_clips

LEAST = 0.05  # nats; less than that is not called information


@dataclass(frozen=True)
class Certified:
    """An upper bound in nats that depends on no fitted network, and in words where it comes from."""

    nats: float
    source: str

    def __str__(self) -> str:
        return f"{self.nats:.2f} nats ({self.source})"


@dataclass(frozen=True)
class Bracket:
    """Bounds and estimates of one mutual information, and whether they fit together.

    Attributes:
        names: what the two sides are called.
        estimates: every estimator's :class:`Estimate`, by name.
        lower, upper, independent: names of the three that make the bracket.
        contradiction: which assumption broke, where the intervals contradict each other; or empty.
        certified: the lowest upper bound that depends on no fitted network, where there is one.
    """

    names: tuple[str, str]
    estimates: dict[str, Estimate]
    lower_name: str
    independent_name: str
    upper_name: str
    contradiction: str = ""
    certified: Certified | None = None

    @property
    def lower(self) -> Estimate:
        """The bound from below."""
        return self.estimates[self.lower_name]

    @property
    def independent(self) -> Estimate:
        """The estimate that is no bound."""
        return self.estimates[self.independent_name]

    @property
    def upper(self) -> Estimate:
        """The bound from above, as far as its q is right."""
        return self.estimates[self.upper_name]

    @property
    def shares(self) -> bool:
        """Whether the sides share information: the lower bound's interval lies above 0.05 nats and the null."""
        return self.lower.above_null is not False and self.lower.interval.low > LEAST

    @property
    def most(self) -> tuple[float, str]:
        """The lowest upper limit in nats that can be relied on, and whose it is; infinite where there is none."""
        if self.certified is not None:
            return self.certified.nats, f"certified by {self.certified.source}"
        if self.contradiction:
            return np.inf, f"no reliable upper bound, {self.contradiction}"
        if self.upper.unreliable:
            return np.inf, f"no reliable upper bound, as {self.upper_name} is {self.upper.unreliable}"
        if np.isinf(self.upper.value):
            return np.inf, "unbounded, as one is a function of the other"
        return self.upper.interval.high, f"by {self.upper_name}, as far as its q is right"

    @property
    def finding(self) -> str:
        """How much the sides share, at least and at most, in one sentence."""
        found = f"{self.lower_name} {self.lower.text}"
        low = self.lower.interval.low
        least = f"at least {low:.2f} nats ({found})" if self.shares else f"nothing above the null ({found} nats)"
        nats, why = self.most
        most = f"at most {nats:.2f} ({why})" if np.isfinite(nats) else f"how much at most is unknown ({why})"
        return f"{self.names[0]} and {self.names[1]} share {least}, {most}."

    def frame(self) -> pd.DataFrame:
        """A row an estimator: kind, value, interval, null and flags; nats."""
        rows = [
            {"estimator": e.name, "kind": e.kind, "nats": e.value, "low": e.interval.low, "high": e.interval.high,
             "null": max(e.null, default=np.nan), "unreliable": e.unreliable, "flags": "; ".join(e.flags)}
            for e in self.estimates.values()
        ]  # fmt: skip
        return pd.DataFrame(rows).set_index("estimator")

    def certify(self, *bounds: Certified | None) -> Bracket:
        """The same with the lowest of these and its own certified bound."""
        every = [bound for bound in (self.certified, *bounds) if bound is not None]
        return replace(self, certified=min(every, key=lambda bound: bound.nats, default=None))


def bracket(
    x: Any, y: Any, mask: Any = None, settings: Settings | None = None, *, names: tuple[str, str] = ("x", "y")
) -> Bracket:
    """Estimate I(x;y) from below, from above and independently.

    Args:
        x, y: features [n,T,d] or [n,d] (floating), codes or categories [n,T] or [n] (integers, negative where
            missing), or multi-label [n,T,C] or [n,C] (boolean: each combination is a category). Features that take
            few distinct values, as quantised ones do, are counted by value in the independent estimate.
        mask: bool [n,T] of valid steps.
        names: what the sides are called in sentences.

    Raises:
        InformationError: see :func:`srcid.information.estimates.read_pair`; too few clips.
    """
    settings = settings or Settings()
    x, y, mask = read_pair(x, y, mask)
    if x.discrete and not y.discrete:
        x, y, names = y, x, names[::-1]  # information is symmetric
    split_clips(len(mask), settings.seed)  # too few clips: say so before any work
    counted = [_by_value(side, mask) for side in (x, y)]
    if y.discrete:
        found, lower, upper = counts.category_bounds(x, y, mask, settings), "barber-agakov", "club-categorical"
    else:
        from srcid.information.bounds import feature_bounds

        found, lower, upper = feature_bounds(x, y, mask, settings), "infonce", "club"
    few = [side for side in counted if side.discrete]
    if len(few) == 2:
        middle = counts.plugin(*counted, mask, settings)
    else:
        middle = neighbours.nearest_neighbours(*sorted(counted, key=lambda side: side.discrete), mask, settings)
    values = min((side.dim for side in few), default=0)
    certified = Certified(float(np.log(values)), f"log of {values} values") if few else None
    found |= {middle.name: middle}
    least = max(0.0, found[lower].interval.low)
    below = {name: e for name, e in found.items() if e.kind == "upper" and e.interval.high < least}
    found |= {name: replace(e, unreliable="below the lower bound: its q is wrong") for name, e in below.items()}
    problem = contradiction(found[lower], middle, found[upper])
    order = sorted(found.values(), key=lambda e: ("lower", "estimate", "upper").index(e.kind))
    return Bracket(names, {e.name: e for e in order}, lower, middle.name, upper, problem, certified)


def _by_value(side: Side, mask: np.ndarray) -> Side:
    """The side as categories, if its features take few distinct values: each occurs ten times on average, or more."""
    if side.discrete:
        return side
    rows = side.values[mask]
    number = np.unique(rows, axis=0, return_inverse=True)[1].ravel()
    if number.max() + 1 > len(rows) / 10:
        return side
    values = np.zeros(mask.shape, dtype=np.int64)
    values[mask] = number
    return Side(values, True)


def contradiction(lower: Estimate, independent: Estimate, upper: Estimate) -> str:
    """Say which assumption most likely broke where the three intervals contradict each other; or return nothing."""
    if lower.interval.low > upper.interval.high:
        skill, residual = upper.detail.get("skill", np.inf), upper.detail.get("residual", 1.0)
        why = "the upper bound holds only for the true conditional, and its q is not it"
        if upper.detail.get("saturated", 0) > 0.01:
            why = f"{upper.detail['saturated']:.0%} of q's log-variances are saturated"
        elif residual > 1.5:
            why = f"q is overconfident ({residual:.1f} times its variance on new clips)"
        elif skill < lower.value / 2:
            why = f"q explains {skill:.2f} nats of the {lower.value:.2f} that the lower bound finds"
        return f"lower above upper bound: {why}"
    # counts find something in permuted clips too: that much is bias
    bias = max(0.0, float(np.mean(independent.null))) if independent.null else 0.0
    if independent.interval.low - bias > upper.interval.high and independent.above_null is not False:
        return (
            f"{independent.name} above the upper bound: q of {upper.name} misses a dependence that nearest neighbours "
            "or counts see, or counts are too few"
        )
    return "the upper bound is below 0: q is wrong on the clips that are scored" if upper.interval.high < 0 else ""
