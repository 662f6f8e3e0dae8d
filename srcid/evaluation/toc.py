"""TOC: training-free optimisation of a codebook (the paper's reference 12): which coordinates of its vectors to read.

For codes i of vectors E_i and a coordinate d,

    S_d = mean over ordered pairs i != j of E_id E_jd,    V_d = variance of E_id over the codes,
    score_d = -0.7 S_d + 0.3 V_d,

and the k coordinates of the highest score are kept: those in which codes differ. No code changes; only what probes and
retrieval read of the vectors does. With weights w of sum 1 (1 / L, or how often a code is used), mean m and
u = 1 - sum of w_i^2,

    S_d = (m_d^2 - sum_i w_i^2 E_id^2) / u,    V_d = sum_i w_i (E_id - m_d)^2 / u.

Three of four public scripts leave V out (``variance=0``), and set k by hand for each task. Here k is chosen on
validation clips: by what a probe's epoch is chosen by (accuracy, F1, H; first seed), or for retrieval by recall.
"""

from __future__ import annotations

import numpy as np

SHARES = (0.25, 0.5, 0.75, 1.0)  # of the coordinates of each layer, tried on validation clips
OPTIONS = {"toc": False, "toc-by-use": True}  # name after the + of a representation: are codes weighted by their use?


def coordinate_scores(
    codebook: np.ndarray, weights: np.ndarray | None = None, similarity: float = 0.7, variance: float = 0.3
) -> np.ndarray:
    """Return the score of each coordinate ``[D]`` of a codebook ``[L, D]``.

    Args:
        weights: of the codes ``[L]``, of any sum; codes that are never used then do not count. All alike by default.
        similarity, variance: weights of -S and of V.
    """
    vectors = np.asarray(codebook, float)
    w = np.full(len(vectors), 1.0) if weights is None else np.asarray(weights, float)
    w = (w / w.sum())[:, None]
    mean, rest = (w * vectors).sum(0), 1 - (w**2).sum()
    if rest <= 0:  # a single code in use: nothing to tell apart
        return np.zeros(vectors.shape[1])
    alike = (mean**2 - (w**2 * vectors**2).sum(0)) / rest
    return variance * (w * (vectors - mean) ** 2).sum(0) / rest - similarity * alike


def best_coordinates(scores: np.ndarray, k: int, top: int = 1, bottom: int = 0) -> np.ndarray:
    """Return the coordinates of the highest scores, the highest first, then those of the lowest, the lowest first.

    Args:
        scores: ``[D]``.
        k: how many; rounded down to a multiple of ``top + bottom``, which are the shares of both ends (published
            variants keep a part of the lowest, too).
    """
    order, unit = np.argsort(-scores, kind="stable"), k // (top + bottom)
    return np.concatenate([order[: unit * top], order[::-1][: unit * bottom]])


def kept_coordinates(book: np.ndarray, share: float, use: np.ndarray | None = None) -> np.ndarray:
    """Return which coordinates of a layer's vectors are read, in their order.

    Args:
        book: ``[S, L, D]``; the vectors of the S stages are summed, so a coordinate's score is the mean over stages.
        share: of the coordinates to keep, 0 to 1; at least one is kept.
        use: how often each code is used, ``[S, L]``; all codes count alike by default.
    """
    scores = np.mean([coordinate_scores(v, None if use is None else use[s]) for s, v in enumerate(book)], axis=0)
    return np.sort(best_coordinates(scores, max(1, round(share * book.shape[-1]))))
