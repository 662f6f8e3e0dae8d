"""The statistics that several wings share: intervals, tests, bootstrap over clips, entropy and contingency.

An estimate with its uncertainty is an :class:`Interval`. Information is in nats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

LEAST = 3  # values below which there is no test
_GROUPS = 2000  # units that are resampled: clips, or where there are more random groups of clips of equal size
ALPHA = 0.05  # p-values below, corrected where there are several tests, count as certain


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval.

    Attributes:
        value: the estimate.
        low, high: ends of the interval; NaN where there is none (a single seed, a single clip).
        level: confidence level.
        n: independent units behind it: seeds, clips or runs.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    level: float = 0.95
    n: int = 0

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends."""
        return self.low, self.high

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def columns(self, name: str) -> dict[str, float]:
        """The columns ``name``, ``name_low`` and ``name_high`` of a frame."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}

    def times(self, factor: float) -> Interval:
        """The same in another unit, such as percent."""
        return replace(self, value=factor * self.value, low=factor * self.low, high=factor * self.high)

    def excludes(self, null: float) -> bool:
        """Whether the interval is known and does not hold ``null``."""
        return self.known and not self.low <= null <= self.high

    def text(self, form: str = ".1f") -> str:
        """``value [low, high]``, or the value alone where there is no interval."""
        value = f"{self.value:{form}}"
        return f"{value} [{self.low:{form}}, {self.high:{form}}]" if self.known else value

    def __str__(self) -> str:
        return self.text()


def t_interval(values: np.ndarray, level: float = 0.95) -> Interval:
    """Student's t-interval of the mean of ``values`` ``[n]`` (independent seeds); without ends if n = 1."""
    from scipy.special import stdtrit

    values = np.asarray(values, float)
    mean = float(values.mean()) if len(values) else math.nan
    if len(values) < 2:
        return Interval(mean, level=level, n=len(values))
    half = float(stdtrit(len(values) - 1, (1 + level) / 2) * values.std(ddof=1) / math.sqrt(len(values)))
    return Interval(mean, mean - half, mean + half, level, len(values))


def bootstrap_weights(clips: int, replicates: int = 1000, seed: int = 0) -> np.ndarray:
    """Draw how often each clip is in each bootstrap sample: float32 ``[replicates, clips]``, rows sum to
    ``clips``.

    All scores of a table use the same draw, so that their differences and averages are resampled together.
    """
    generator = np.random.default_rng(seed)
    return generator.multinomial(clips, np.full(clips, 1 / clips), size=replicates).astype(np.float32)


def percentile_interval(
    replicates: np.ndarray, level: float = 0.95, value: float | None = None, n: int = 0
) -> Interval:
    """The central ``level`` of bootstrap ``replicates`` ``[R]`` around ``value`` (their mean by default)."""
    low, high = np.nanquantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(np.nanmean(replicates)) if value is None else value, float(low), float(high), level, n)


def share_interval(part: np.ndarray, whole: np.ndarray, bootstrap: int, seed: int = 0) -> Interval:
    """Share ``sum(part) / sum(whole)`` with a 95 % interval from resampled clips.

    Args:
        part, whole: of each clip, ``[n]``, for instance its steps.
        bootstrap: resamples; 0, or fewer than 2 clips: no interval. None and all of the steps have Wilson's interval.
    """
    value = float(part.sum() / max(whole.sum(), 1))
    if not bootstrap or len(part) < 2:
        return Interval(value, n=len(part))
    group, groups = clip_groups(len(part), seed)
    sums = np.stack([np.bincount(group, side, minlength=groups) for side in (part, whole)], axis=1)
    drawn = bootstrap_weights(groups, bootstrap, seed) @ sums.astype(np.float32)
    if value in (0.0, 1.0):  # no resample can tell from none or all; Wilson's interval that counts clips can
        return wilson_interval(value, len(part))
    shares = np.divide(*drawn.T, out=np.full(len(drawn), np.nan), where=drawn[:, 1] > 0)
    return percentile_interval(shares, value=value, n=len(part))


def clip_groups(clips: int, seed: int) -> tuple[np.ndarray, int]:
    """The unit of resampling that each clip belongs to ``[clips]``, and how many there are.

    Up to 2,000 clips each is its own; more are put into groups at random, whose resamples spread as those of clips
    do and cost the same for any number of clips.
    """
    if clips <= _GROUPS:
        return np.arange(clips), clips
    return np.random.default_rng(seed).permutation(clips) % _GROUPS, _GROUPS


def t_test(values: np.ndarray, null: float, alternative: str) -> float:
    """Return the p value of Student's test that the mean of ``values`` is ``null``.

    NaN below :data:`LEAST` values, and where they do not spread: there is no test without an estimate of the spread.

    Args:
        alternative: ``two-sided``, ``greater`` or ``less``.
    """
    from scipy import stats

    values = np.asarray(values, float)
    if len(values) < LEAST or values.std() <= 1e-9 * max(1.0, np.abs(values).max()):  # rounding is no spread
        return float("nan")
    return float(stats.ttest_1samp(values, null, alternative=alternative).pvalue)


def holm(p: np.ndarray) -> np.ndarray:
    """Return p values ``[n]`` corrected for their number by Holm's step-down procedure (1979); NaN stays NaN.

    Rejecting where the corrected value is below alpha keeps the chance of any false rejection at alpha.
    """
    p = np.asarray(p, float)
    corrected, known = np.full_like(p, np.nan), np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(factors * p[order])) if len(order) else []
    return corrected


def wilson(share: np.ndarray, trials: np.ndarray, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval of a share among independent trials; ``z`` = 1.96 for 95 %."""
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    # at shares of 0 and 1 the ends meet the share, but for rounding
    return np.clip(centre - half, 0, share), np.clip(centre + half, share, 1)


def wilson_interval(share: float, trials: int) -> Interval:
    """:func:`wilson` of one share, 95 %."""
    low, high = wilson(np.array(share), np.array(trials))
    return Interval(share, float(low), float(high), n=trials)


def entropy(counts: np.ndarray) -> np.ndarray:
    """Plug-in entropy in nats of histograms along the last axis; an empty histogram has 0."""
    counts = np.asarray(counts)
    total = np.maximum(counts.sum(axis=-1, dtype=np.float64), 1)
    if counts.size and counts.dtype.kind == "i" and (most := int(counts.max())) < 4 * counts.size:
        terms = _x_log_x(most)[counts]  # of many small integers: looking up is faster than logarithms
    else:
        counts = counts.astype(np.float64, copy=False)
        terms = counts * np.log(counts, out=np.zeros_like(counts), where=counts > 0)
    return np.maximum(np.log(total) - terms.sum(axis=-1) / total, 0.0)


def expected_information(rows: np.ndarray, columns: np.ndarray) -> float:
    """Mutual information in nats that random pairing gives on average, for two histograms of equal sum n.

    With both histograms fixed, the count x of a cell is hypergeometric; the mean of x log x is summed by the
    recurrence of the probabilities within seven standard deviations and more (Vinh et al., JMLR 2010). For 400 by
    400 symbols and n = 400,000 this takes 0.03 s, scikit-learn's sum over all counts 3.0 s.
    """
    a, a_times = np.unique(rows[rows > 0], return_counts=True)
    b, b_times = np.unique(columns[columns > 0], return_counts=True)
    n = int(rows.sum())
    times = (a_times[:, None] * b_times).ravel()
    a, b = (side.ravel().astype(np.int64) for side in np.broadcast_arrays(a[:, None], b))
    mean = a * b / n
    spread = np.sqrt(mean * (1 - a / n) * (1 - b / n))
    low = np.where(mean < 40, 0, np.floor(mean - 8 * spread))
    low = np.maximum(np.maximum(a + b - n, low), 0).astype(np.int64)
    high = np.minimum(np.minimum(a, b), np.ceil(mean + 7 * spread + 6)).astype(np.int64)
    order = np.argsort(low - high, kind="stable")  # widest first: the cells still summed are always a prefix
    total = 0.0
    for start in range(0, len(order), 8192):  # small enough to stay in the cache
        block = order[start : start + 8192]
        total += float(times[block] @ _mean_x_log_x(n, a[block], b[block], low[block], high[block]))
    # sum of E[x log x] / n plus the part of the logarithm that does not depend on x
    return max(0.0, float(total / n - np.log(n) + entropy(rows) + entropy(columns)))


def _mean_x_log_x(n: int, a: np.ndarray, b: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    log = _log_factorials(n)
    start = log[a] + log[b] + log[n - a] + log[n - b] - log[n]
    start -= log[low] + log[a - low] + log[b - low] + log[n - a - b + low]
    probability = np.exp(start)
    x_log_x, width = _x_log_x(int(high.max())), high - low
    x = low.copy() if low.any() else np.zeros(1, dtype=np.int64)  # mostly all sums start at 0: one x serves all
    left, right, rest = (side.astype(float) for side in (a - low, b - low, n - a - b + low + 1))
    result = np.zeros(len(a))
    for step in range(int(width.max()) + 1):
        live = int(np.searchsorted(-width, -step, side="right"))
        x, left, right, rest, probability = (v[:live] for v in (x, left, right, rest, probability))
        result[:live] += probability * x_log_x[x]
        x += 1
        probability *= left
        probability *= right
        probability /= x * rest
        left -= 1
        right -= 1
        rest += 1
    return result


@lru_cache(maxsize=4)
def _log_factorials(n: int) -> np.ndarray:
    from scipy.special import gammaln

    return gammaln(np.arange(1.0, n + 2))


@lru_cache(maxsize=4)
def _x_log_x(n: int) -> np.ndarray:
    x = np.arange(n + 1.0)
    return x * np.log(np.maximum(x, 1))


def contingency(a: np.ndarray, b: np.ndarray, size: int, others: int | None = None) -> csr_array:
    """Counts ``[size, others]`` of pairs of symbols, sparse, as several stages make a large alphabet; pairs with a
    -1 are left out. ``others`` is how many symbols ``b`` has, where not as many as ``a``."""
    from scipy.sparse import coo_array

    valid = (a >= 0) & (b >= 0)
    ones, pairs = np.ones(int(valid.sum()), dtype=np.int64), (a[valid], b[valid])
    return coo_array((ones, pairs), shape=(size, size if others is None else others)).tocsr()


def most_frequent(counts: np.ndarray, k: int | None = None) -> np.ndarray:
    """Places of the ``k`` largest counts (None: all) that are not 0, the largest first, equal ones in their order."""
    return np.argsort(-counts, kind="stable")[: int((counts > 0).sum())][:k]


def mutual_information(table: np.ndarray | csr_array) -> dict[str, float]:
    """Plug-in mutual information of a contingency table, in nats, and its normalised and adjusted forms.

    Returns:
        "mi", "expected" (under random pairing), "nmi", "nmi_chance" and "ami", the last three over the mean
        of the two entropies. Two constant sides agree perfectly, by convention.
    """
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    cells = table.ravel() if isinstance(table, np.ndarray) else table.data
    mi = max(0.0, float(entropy(rows) + entropy(columns) - entropy(cells)))
    mean = float(entropy(rows) + entropy(columns)) / 2
    if mean == 0:
        return dict(mi=0.0, expected=0.0, nmi=1.0, nmi_chance=1.0, ami=1.0)
    expected = expected_information(rows, columns)
    room = mean - expected
    ami = (mi - expected) / room if room > 1e-12 else 1.0 if mi >= mean - 1e-12 else 0.0
    return dict(mi=mi, expected=expected, nmi=mi / mean, nmi_chance=expected / mean, ami=ami)
