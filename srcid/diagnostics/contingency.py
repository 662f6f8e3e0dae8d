"""Entropy and mutual information of histograms and contingency tables, adjusted for chance."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array


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
    recurrence of the probabilities within seven standard deviations and more (Vinh et al., JMLR 2010).
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


def contingency(a: np.ndarray, b: np.ndarray, size: int) -> csr_array:
    """Counts ``[size, size]`` of pairs of symbols, sparse, as several stages make a large alphabet; pairs with a
    -1 are left out."""
    from scipy.sparse import coo_array

    valid = (a >= 0) & (b >= 0)
    pairs = (a[valid], b[valid])
    return coo_array((np.ones(int(valid.sum()), dtype=np.int64), pairs), shape=(size, size)).tocsr()


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
