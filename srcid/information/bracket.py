"""How much two things say about each other, bracketed: a bound from below, one from above, an independent
estimate.

No single estimator of mutual information can be believed by itself. :func:`bracket` runs those that fit the
two sides, each fitted, stopped and scored on different clips, beside what they say of permuted clips, and
says in a sentence which assumption broke where they contradict each other:

================  ==============================  =====================  =======================
sides             lower                           upper                  independent
================  ==============================  =====================  =======================
features, both    InfoNCE                         CLUB, leave-one-out    KSG on few components
features, codes   Barber-Agakov (logistic q)      categorical CLUB       Ross' nearest neighbours
codes, both       Barber-Agakov (table q)         categorical CLUB       corrected counts
================  ==============================  =====================  =======================

Values are nats a step: the mean over steps of I(x_t; y_t), see :mod:`srcid.information.estimates`. Sides are
standardised inside. Estimators are judged against known truth in :mod:`srcid.information.calibration`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from srcid.information import counts, neighbours
from srcid.information.clips import InformationError, Side, as_categories, complain, read_pair, split_clips
from srcid.information.counts import entropy
from srcid.information.estimates import Estimate, Settings

if TYPE_CHECKING:
    from srcid.information.calibration import Calibration

__all__ = [
    "Bracket",
    "Estimate",
    "InformationError",
    "Settings",
    "as_categories",
    "bracket",
    "club",
    "entropy",
    "infonce",
    "ksg",
    "plugin",
]


@dataclass(frozen=True)
class Bracket:
    """Bounds and estimates of one mutual information, and whether they fit together.

    ``estimates`` maps every estimator's name to its :class:`Estimate`; ``upper``, ``lower`` and
    ``independent`` are the three that make the bracket. ``consistent`` is False where the intervals
    contradict each other, and ``verdict`` says in a sentence what follows, or which assumption broke.
    """

    upper: Estimate
    lower: Estimate
    independent: Estimate
    estimates: dict[str, Estimate]
    consistent: bool
    verdict: str
    x_name: str
    y_name: str
    settings: Settings

    @property
    def null(self) -> np.ndarray:
        """All values of the three estimators on permuted clips."""
        return np.concatenate([e.null for e in (self.lower, self.independent, self.upper)])

    @property
    def flags(self) -> tuple[str, ...]:
        """Everything that weakens one of the three numbers, with its estimator's name."""
        return tuple(f"{e.name}: {flag}" for e in (self.lower, self.independent, self.upper) for flag in e.flags)

    def marked(self, calibration: Calibration) -> Bracket:
        """The same with estimates flagged that lie outside the range where the calibration tested them; the
        verdict then says so too.
        """
        found = {name: calibration.mark(e) for name, e in self.estimates.items()}
        three = {place: found[getattr(self, place).name] for place in ("lower", "independent", "upper")}
        outside = [e.name for e in three.values() if e.flags != self.estimates[e.name].flags]
        verdict = f"{self.verdict}; outside the calibrated range: {', '.join(outside)}" if outside else self.verdict
        return replace(self, **three, estimates=found, verdict=verdict)

    def __str__(self) -> str:
        return (
            f"I({self.x_name}; {self.y_name}) between {self.lower.value:.2f} and {self.upper.value:.2f} nats "
            f"({self.independent.name} {self.independent.value:.2f}): {self.verdict}"
        )


def bracket(
    x,
    y,
    mask=None,
    settings: Settings | None = None,
    *,
    codes=None,
    upper: str = "exact",
    names: tuple[str, str] = ("x", "y"),
    calibration: Calibration | None = None,
) -> Bracket:
    """Estimate I(x;y) from below, from above and independently.

    Args:
        x, y: features [n,T,d] or [n,d] (floating), codes or categories [n,T] or [n] (integers, negative where
            missing), or multi-label [n,T,C] or [n,C] (boolean: each combination is a category).
        mask: bool [n,T] of valid steps.
        settings: see :class:`Settings`.
        codes: int [n,T], where x takes few values only (quantised features): which of them. The independent
            estimate then counts neighbours by value (Ross), as KSG cannot with equal vectors.
        upper: which of "exact", "sampled", "published" (CLUB) or "leave-one-out" closes the bracket from
            above, where both sides are features; all four are in ``estimates``.
        names: what the sides are called in sentences.
        calibration: flags estimates that lie outside the range where it tested their estimator.

    Raises:
        InformationError: see :func:`read_pair`; too few clips for the split; an unknown ``upper``.
    """
    settings = settings or Settings()
    numbered = None if codes is None else read_pair(y, codes, mask, settings.constant)
    x, y, mask = read_pair(x, y, mask, settings.constant)
    if x.discrete and not y.discrete:
        x, y, names = y, x, names[::-1]  # information is symmetric
    split_clips(len(mask), settings.split, np.random.default_rng(0))  # too few clips: say so before any work
    if y.discrete:
        bounds = counts.categorical_bounds(x, y, mask, settings)
        third = counts.plugin if x.discrete else neighbours.nearest_neighbours
        low, high, middle = bounds["lower"], bounds["upper"], third(x, y, mask, settings)
        found = [low, middle, high]
    else:
        from srcid.information import conditional, contrastive

        if upper not in conditional.UPPER:
            complain([f"upper='{upper}' is unknown; there are {', '.join(conditional.UPPER)}"])
        uppers = conditional.club(x, y, mask, settings)
        low, high = contrastive.infonce(x, y, mask, settings), uppers[upper]
        if numbered is not None:
            views = {"ross": neighbours.nearest_neighbours(*numbered, settings)}
        else:
            views = {
                view: neighbours.nearest_neighbours(x, y, mask, replace(settings, projection=view))
                for view in ("pca", "cca")
            }
        middle = views.get(settings.projection) or views["ross"]
        found = [low, *views.values(), *uppers.values()]
    consistent, verdict = judge(low, middle, high)
    result = Bracket(high, low, middle, {e.name: e for e in found}, consistent, verdict, *names, settings)
    return result if calibration is None else result.marked(calibration)


def judge(lower: Estimate, independent: Estimate, upper: Estimate) -> tuple[bool, str]:
    """Say whether the three intervals fit together, and if not, which assumption most likely broke."""
    skill, residual = upper.detail.get("skill"), upper.detail.get("residual")
    if lower.interval[0] > upper.interval[1]:
        why = "the upper bound holds only for the true conditional, and its q is not it"
        if upper.detail.get("saturated", 0) > 0.01:
            why = f"{upper.detail['saturated']:.0%} of q's log-variances are saturated: the bound is void"
        elif residual is not None and residual > 1.5:
            why = f"q is overconfident ({residual:.1f} times its variance on new clips): the bound is void"
        elif skill is not None and skill < lower.value / 2:
            why = (
                f"q explains {skill:.2f} nats of the {lower.value:.2f} that the lower bound finds: "
                "a diagonal Gaussian "
                "or this network does not describe y given x, so the upper bound is void"
            )
        return False, f"inconsistent, lower above upper: {why}"
    # counts find something in permuted clips too: that much is bias
    bias = max(0.0, float(np.mean(independent.null))) if len(independent.null) else 0.0
    if independent.interval[0] - bias > upper.interval[1] and independent.above_null is not False:
        return False, (
            f"inconsistent, {independent.name} above the upper bound: q of {upper.name} misses a dependence "
            "that nearest neighbours or counts see, or counts are too few"
        )
    if upper.interval[1] < 0:
        return False, "inconsistent, the upper bound is below 0: q is wrong on the clips that are scored"
    if independent.interval[1] < lower.interval[0]:
        share = min(independent.detail.get("explained_x", 1.0), independent.detail.get("explained_y", 1.0))
        why = (
            f"its components hold only {share:.0%} of a side's variance"
            if share < 0.9
            else "nearest neighbours or counts miss part of a strong or high-dimensional dependence"
        )
        return True, f"bounds agree; {independent.name} lies below them, because {why}"
    if lower.above_null is False and independent.above_null is False:
        return True, "bounds agree; nothing stands out from permuted clips"
    return True, "bounds agree"


def club(x, y, mask=None, settings: Settings | None = None) -> dict[str, Estimate]:
    """CLUB "exact", "sampled", "published" and the "leave-one-out" bound of two sets of features, from the
    same fits.

    Arguments and errors as for :func:`bracket`; both sides must be features. See
    :func:`srcid.information.conditional.club`.
    """
    from srcid.information import conditional

    return conditional.club(*_features(x, y, mask, settings), settings or Settings())


def infonce(x, y, mask=None, settings: Settings | None = None) -> Estimate:
    """InfoNCE lower bound of two sets of features; see :func:`srcid.information.contrastive.infonce`."""
    from srcid.information import contrastive

    return contrastive.infonce(*_features(x, y, mask, settings), settings or Settings())


def ksg(x, y, mask=None, settings: Settings | None = None) -> Estimate:
    """Nearest-neighbour estimate of features against features or categories; see
    :func:`srcid.information.neighbours.nearest_neighbours`."""
    settings = settings or Settings()
    x, y, mask = read_pair(x, y, mask, settings.constant)
    x, y = (y, x) if x.discrete else (x, y)
    return neighbours.nearest_neighbours(x, y, mask, settings)


def plugin(x, y, mask=None, settings: Settings | None = None) -> Estimate:
    """Corrected plug-in estimate of two sets of codes or categories; see
    :func:`srcid.information.counts.plugin`.
    """
    settings = settings or Settings()
    x, y, mask = read_pair(x, y, mask, settings.constant)
    if not (x.discrete and y.discrete):
        complain(["the plug-in estimate counts codes; need integers on both sides, features go to ksg or club"])
    return counts.plugin(x, y, mask, settings)


def _features(x, y, mask, settings: Settings | None) -> tuple[Side, Side, np.ndarray]:
    x, y, mask = read_pair(x, y, mask, (settings or Settings()).constant)
    if x.discrete or y.discrete:
        complain(["this bound needs floating features on both sides; for codes and categories use bracket or plugin"])
    return x, y, mask
