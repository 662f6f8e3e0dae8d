"""What codes mean: which classes they go with.

A clip is the unit of evidence. Its steps resemble each other, and tests that count them as independent find
meaning in noise: the p-values here come from sums over clips, and the intervals count clips.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special, stats

from srcid.statistics import ALPHA, Interval, mutual_information, wilson, wilson_interval
from srcid.symbols import (
    BACKGROUND,
    POOLED,
    InspectionError,
    StepLabel,
    Symbols,
    label_for,
    place_name,
    select_modality,
    symbols_of,
)


@dataclass(frozen=True)
class Association:
    """Which classes go with which codes, over the codes in use.

    Attributes:
        modality: the modality whose codes were counted, or "joint" for all together.
        codes: the codes in use; the rows of the arrays below.
        classes: the columns.
        counts: ``[codes, classes]``, clip-steps at which code and class meet; a step may have many classes.
        total, clips: ``[codes]``, clip-steps and clips in which the code occurs.
        prior: ``[classes]``, share of all clip-steps that hold the class.
        lift: ``[codes, classes]``, P(class | code) / P(class).
        p_value: ``[codes, classes]``, one-sided: is the class more frequent with the code than with any code?
            Binomial test that counts clips: each clip with the code adds the share of those steps that hold
            the class, against the mean of that share over all clips and codes. Shares between 0 and 1 vary
            less than a binomial's, so the test errs on the safe side (Hoeffding 1956). Corrected for all codes
            and classes by Benjamini and Hochberg; 1 where too few clips have the code to say.
        best: ``[codes]``, the class that is most frequent with the code (index into ``classes``).
        purity, low, high: ``[codes]``, its share and a 95 % Wilson interval that counts clips, not steps.
        mean_purity: mean purity over all clip-steps, with such an interval; ``majority`` is what one single code
            would have.
        nmi, ami: mutual information of code and label, normalised, and adjusted for chance.
    """

    layer: int
    stage: int | None
    sample: str
    modality: str
    label: str
    codes: np.ndarray
    classes: tuple[str, ...]
    counts: np.ndarray
    total: np.ndarray
    clips: np.ndarray
    prior: np.ndarray
    lift: np.ndarray
    p_value: np.ndarray
    best: np.ndarray
    purity: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mean_purity: Interval
    majority: float
    nmi: float
    ami: float
    notes: tuple[str, ...]
    params: dict[str, Any]

    def frame(self) -> pd.DataFrame:
        """One row a code, with the class it goes with most."""
        rows = np.arange(len(self.codes))
        return pd.DataFrame(
            {
                "code": self.codes,
                "class": np.array(self.classes, object)[self.best],
                "purity": self.purity,
                "low": self.low,
                "high": self.high,
                "lift": self.lift[rows, self.best],
                "p": self.p_value[rows, self.best],
                "steps": self.total,
                "clips": self.clips,
            }
        )

    def by_class(self, k: int = 3) -> pd.DataFrame:
        """The ``k`` codes that go with each class most strongly (p up to 0.05), background apart at the end.

        Strength is the lift, shrunk towards 1 by one clip of prior evidence, lest rare codes win by luck.
        """
        weight = (self.clips / (self.clips + 1.0))[:, None]
        strength = np.where(self.p_value <= ALPHA, self.lift * weight + (1 - weight), -np.inf)
        rows = []
        for j in sorted(range(len(self.classes)), key=lambda j: self.classes[j] == BACKGROUND):
            for i in np.argsort(-strength[:, j], kind="stable")[:k]:
                if np.isfinite(strength[i, j]):
                    share = wilson_interval(self.counts[i, j] / self.total[i], self.clips[i])
                    rows.append((self.classes[j], self.codes[i], share.value, *share.ends, self.lift[i, j],
                                 self.p_value[i, j], self.clips[i]))  # fmt: skip
        return pd.DataFrame(rows, columns=["class", "code", "share", "low", "high", "lift", "p", "clips"])

    @property
    def finding(self) -> str:
        """How much of the label the codes tell, beside what a single code would."""
        whose = "" if self.modality == POOLED else f", {self.modality}"
        certain = int(((self.p_value <= ALPHA) & (self.lift > 1)).any(axis=1).sum())
        return (
            f"{place_name(self.layer, self.stage)}{whose} ({self.sample}): a code's steps are of one '{self.label}' at "
            f"{self.mean_purity.text('.0%')} on average (one code for all: {self.majority:.0%}), AMI {self.ami:.2f}; "
            f"{certain} of {len(self.codes)} codes go with a class (p < {ALPHA}, corrected)"
        )


def association(source: Any, label: str | StepLabel | None = None, layer: int = 1,
                modality: str | None = None, stage: int | None = None, clips: Any = None,
                least_clips: int = 5) -> Association:  # fmt: skip
    """Count codes against the classes of a label.

    Args:
        source: CodeTable or ``{modality: int [N, T]}``; the latter needs ``label`` as a StepLabel.
        label: name of a label, a StepLabel, or None for "event" (or else the first label).
        modality: one modality, or None for all together.
        least_clips: codes in fewer clips get the p-value 1.

    Raises:
        InspectionError: no such label, layer, or modality; no step that has both a code and a label.
    """
    codes = select_modality(symbols_of(source, layer, stage, clips), modality)
    seen = label_for(codes, source, label, clips)
    code, symbol, clip = _labelled_steps(codes, seen)
    if not len(code):
        raise InspectionError(f"no step has both a code of layer {layer} and the label '{seen.name}'")
    # a unit of evidence is a clip and code that occurs in it: its steps, and the share of them that hold each class
    found, unit, steps = np.unique(clip * np.int64(codes.size) + code, return_inverse=True, return_counts=True)
    total = np.bincount(code, minlength=codes.size)
    used = np.flatnonzero(total)
    total, in_clips = total[used], np.bincount(found % codes.size, minlength=codes.size)[used]
    table, shares = (_table(np.searchsorted(used, code), symbol, (len(used), len(seen.names)), weights)
                     for weights in (None, 1 / steps[unit]))  # fmt: skip
    counts, agreeing = (side @ seen.class_matrix() for side in (table, shares))
    prior = counts.sum(axis=0) / total.sum()
    share = counts / total[:, None]
    lift = np.divide(share, prior, out=np.ones_like(share), where=prior > 0)
    expected = agreeing.sum(axis=0) / len(found)
    # upper tail of the binomial distribution, continued to counts that are no whole numbers
    tail = special.betainc(np.maximum(agreeing, 1e-12), in_clips[:, None] - agreeing + 1, expected)
    p_value = np.where(agreeing > 0, tail, 1.0)
    tested = (in_clips >= max(least_clips, 2))[:, None] & (prior > 0) & (prior < 1)
    p_value[~tested] = 1.0
    if tested.any():
        p_value[tested] = stats.false_discovery_control(p_value[tested])

    best = counts.argmax(axis=1)
    purity = share[np.arange(len(used)), best]
    low, high = wilson(purity, in_clips)
    found_mi = mutual_information(table)
    notes = (seen.note,) if seen.note else ()
    if not tested.any():
        notes += (f"no code of layer {layer} occurs in {least_clips} clips or more, so no p-value is given",)
    return Association(
        layer=layer, stage=stage, sample=codes.sample, modality=modality or POOLED, label=seen.name, codes=used,
        classes=seen.classes, counts=counts.astype(np.int64), total=total.astype(np.int64), clips=in_clips,
        prior=prior, lift=lift, p_value=p_value, best=best, purity=purity, low=low, high=high,
        mean_purity=wilson_interval(float(purity @ total / total.sum()), len(np.unique(clip))),
        majority=float(prior.max()),
        nmi=found_mi["nmi"], ami=found_mi["ami"], notes=notes,
        params=dict(least_clips=least_clips),
    )  # fmt: skip


def _labelled_steps(codes: Symbols, label: StepLabel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Code, symbol of the label, and clip of all steps that have both, of all modalities one after the other."""
    symbol, clip = label.symbols.ravel(), np.repeat(np.arange(codes.clips), codes.steps)
    flats = [values.ravel() for values in codes.values.values()]
    kept = [(flat >= 0) & (symbol >= 0) for flat in flats]
    code = np.concatenate([flat[keep] for flat, keep in zip(flats, kept, strict=True)])
    return code, np.concatenate([symbol[keep] for keep in kept]), np.concatenate([clip[keep] for keep in kept])


def _table(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int], weights: np.ndarray | None) -> np.ndarray:
    """Counts, or sums of weights, of pairs of row and column."""
    return np.bincount(rows * shape[1] + columns, weights, minlength=shape[0] * shape[1]).reshape(shape)
