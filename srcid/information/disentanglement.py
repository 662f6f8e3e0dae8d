"""Is a trained model disentangled? Pairs of variables bracketed and calibrated, and the verdict on each split.

:func:`measure` brackets the mutual information of pairs (:mod:`srcid.information.questions`), and :func:`verdicts` says
in a sentence a layer and modality what follows from these, from the certified bound and from leaks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from srcid.cache import Cache
from srcid.codes import CodeTable, CodeTableError
from srcid.information.bracket import Bracket, Certified, bracket
from srcid.information.calibration import Calibration, Known, same_class
from srcid.information.estimates import InformationError, Settings, estimates_cache, reason
from srcid.information.leakage import Leak, Leaks
from srcid.information.questions import Comparison, Sample, mask_of, values_of

SPLIT = 0.3  # nats; a certified bound below counts as split


def certified_bounds(metrics: Sequence[Mapping[str, Any]]) -> dict[tuple[int, str], Certified]:
    """The certified upper bound on what anything computed from the input shares with s, by layer and modality.

    A run with noisy specific features (``specific_rate``) logs their rate, the mean of KL(N(mu, sigma^2) || N(0, 1))
    on validation clips, in nats a step: I(z; s) <= I(x; s) <= rate. A run without has none.

    Args:
        metrics: lines of ``metrics.jsonl``; the last rate counts.
    """
    found = {}
    for line in metrics:
        for key in line:
            if key.startswith("val/rate/"):
                layer, modality = key.split("/")[2:4]
                found[int(layer), modality] = Certified(float(line[key]), "the rate of s on validation clips")
    return found


@dataclass(frozen=True)
class Measurements:
    """What was found for each pair, and why nothing was found for others, on which clips of which run."""

    brackets: dict[Comparison, Bracket]
    missing: dict[Comparison, str]
    sample: Sample
    settings: Settings
    source: str = ""

    def only(self, pair: Comparison) -> Measurements:
        """That one pair."""
        return replace(self, brackets={pair: self.brackets[pair]}, missing={})

    def certify(self, bounds: Mapping[tuple[int, str], Certified]) -> Measurements:
        """The same with each pair of one layer and modality bounded by what is certified there."""
        own = {pair: bounds.get((pair.layer, pair.modalities[0])) for pair in self.brackets}
        return replace(self, brackets={pair: found.certify(own[pair]) for pair, found in self.brackets.items()})

    def mark(self, calibration: Calibration) -> Measurements:
        """The same with estimates marked that lie outside the range where their pair's panel was sound."""
        return replace(self, brackets={p: calibration.mark(str(p), found) for p, found in self.brackets.items()})

    @property
    def finding(self) -> str:
        """How many pairs share information, and how many have an upper limit, in one sentence."""
        found = list(self.brackets.values())
        if not found:
            return "Nothing could be measured."
        sharing = [b.lower.interval.low for b in found if b.shares]
        certified = sum(b.certified is not None for b in found)
        limited = sum(np.isfinite(b.most[0]) for b in found) - certified
        ends = dict.fromkeys(f"{end:.1f}" for end in (min(sharing), max(sharing))) if sharing else ()
        least = f" (at least {' to '.join(ends)} nats)" if sharing else ""
        pairs = f"On {self.sample.split} clips {len(sharing)} of {len(found)} pairs share information{least}"
        bounds = {"a certified upper bound": certified, "an upper bound as far as its q is right": limited}
        most = [f"{number} {'has' if number == 1 else 'have'} {bound}" for bound, number in bounds.items() if number]
        return f"{pairs}; {', '.join(most) or 'none has a reliable upper bound'}."

    def frame(self) -> pd.DataFrame:
        """A row a pair: the bracket with intervals (nats), the null, what is certified, and the finding."""
        rows = []
        for pair, found in self.brackets.items():
            row = {"pair": str(pair), "question": pair.question, "layer": pair.layer}
            for place in ("lower", "independent", "upper"):
                row |= getattr(found, place).interval.columns(place)
            row |= {"certified": found.certified.nats if found.certified else np.nan,
                    "null": max(found.lower.null, default=np.nan), "finding": found.finding}  # fmt: skip
            rows.append(row)
        return pd.DataFrame(rows)


def measure(
    table: CodeTable,
    pairs: Iterable[Comparison],
    chosen: Sample,
    settings: Settings | None = None,
    *,
    keep: Cache | None = None,
    source: str = "",
    progress: Callable[[str], None] | None = None,
) -> Measurements:
    """Bracket the mutual information of each pair.

    Args:
        chosen: the clips and steps; see :func:`sample` and :func:`all_clips`.
        keep: where results are read from and written to.
        source: name of the run, for captions.
        progress: called with a line before each pair.
    """
    settings, keep, pairs = settings or Settings(), keep or estimates_cache(), list(pairs)
    brackets, missing = {}, {}
    for place, pair in enumerate(pairs, start=1):
        if progress:
            progress(f"{pair}, {place} of {len(pairs)}")
        try:
            x, y = (values_of(table, v, chosen) for v in (pair.x, pair.y))
            mask = mask_of(table, pair.modalities, chosen)
            found = keep(bracket, x, y, mask, settings=settings, names=(str(pair.x), str(pair.y)))
            brackets[pair] = found
        except (CodeTableError, InformationError) as error:
            missing[pair] = reason(error)
    return Measurements(brackets, missing, chosen, settings, source)


def own_pairs(table: CodeTable, pairs: Iterable[Comparison], chosen: Sample) -> Iterable[Known]:
    """For each pair, pairs of known information made of its own features (:func:`same_class`); a panel a pair."""
    for pair in pairs:
        try:
            x, y = (values_of(table, v, chosen) for v in (pair.x, pair.y))
        except CodeTableError:
            continue
        seen = mask_of(table, pair.modalities, chosen).all(axis=1)
        x, y = x[seen], y[seen]
        yield from same_class(str(pair), y) if x.ndim == 2 else same_class(str(pair), x, y)


@dataclass(frozen=True)
class Verdict:
    """Whether one layer split one modality: its code against s, z against s, and factors in the wrong half."""

    layer: int
    modality: str
    code: Bracket | None
    features: Bracket | None
    shared: tuple[Leak, ...]
    split: str

    @property
    def answer(self) -> str:
        """ "not split", "split" or "undecided"."""
        found = [b for b in (self.code, self.features) if b is not None]
        if any(b.shares for b in found):
            return "not split"
        limited = self.features is not None and self.features.certified is not None
        return "split" if limited and self.features.certified.nats < SPLIT else "undecided"

    @property
    def finding(self) -> str:
        """What is known of the split, in one sentence."""
        parts = []
        if self.code is not None:
            least = max(0.0, self.code.lower.interval.low)
            parts.append(f"s tells at least {least:.2f} and at most {self.code.most[0]:.2f} nats of the code")
        if self.features is not None:
            found, bound = self.features, self.features.certified
            least = f"at least {max(0.0, found.lower.interval.low):.2f} nats with z"
            most = f"at most {bound}" if bound else "with no certified upper bound"
            parts.append(f"s shares {least}, {most}")
        if self.shared:
            parts.append(
                f"{sum(v.probe.leaks for v in self.shared)} of {len(self.shared)} shared factors are read from s"
            )
        what = "; ".join(parts) or "nothing could be measured"
        return f"Layer {self.layer}, {self.modality}: {self.answer}: {what} ({self.split} clips, 95 % intervals)."


def verdicts(codes: Measurements, features: Measurements, found: Leaks) -> list[Verdict]:
    """Put together what was measured of each layer and modality."""
    sides = [{(p.layer, p.modalities[0]): b for p, b in m.brackets.items()} for m in (codes, features)]
    wrong = found.misplaced(private=False)
    places = sorted(dict.fromkeys([*sides[1], *sides[0]]), key=lambda place: place[0])
    return [
        Verdict(k, m, sides[0].get((k, m)), sides[1].get((k, m)),
                tuple(v for v in wrong if (v.layer, v.modality) == (k, m)), features.sample.split)
        for k, m in places
    ]  # fmt: skip
