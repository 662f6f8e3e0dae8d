"""Ranking of candidates by cosine similarity: where does the partner of a query stand?

Codes tie often: two clips with the same codes are equally similar to everything. Ties are scored by their
expectation under random order, so that a collapsed codebook scores chance and not 100 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import hypergeom

from srcid.evaluation.metrics import EvaluationError
from srcid.statistics import Interval, bootstrap_weights, percentile_interval

CUTOFFS = (1, 5, 10, 50)
REPLICATES = 1000
TIE = 1e-9  # cosines closer than this are a tie
CHUNK = 1000  # queries compared with all candidates at a time: memory stays bounded


@dataclass(frozen=True)
class RetrievalScore:
    """One direction of retrieval.

    Attributes:
        recall: percent of queries that find a partner among the first k, by k.
        median_rank: of the best-placed partner, counted from 1; ties at their expected place.
        ranks: that rank of each query, from 0, ``[Q]``.
        found: by k the chance (0 to 1) that a query finds a partner among the first k, ``[Q]``; 0 or 1 but for ties.
        chance: ``recall`` of random order.
        top: the candidates nearest to each query, best first, ``[Q, up to max(k)]``.
        right: which of these are partners, bool as ``top``.
        groups: item of each query, ``[Q]``.
        query, target, representation: where the vectors came from; empty for bare arrays.
        queries, candidates: table rows of both, where they came from a table.
    """

    recall: Mapping[int, float]
    median_rank: float
    ranks: np.ndarray
    found: Mapping[int, np.ndarray]
    chance: Mapping[int, float]
    top: np.ndarray
    right: np.ndarray
    groups: np.ndarray
    query: str = ""
    target: str = ""
    representation: str = ""
    queries: np.ndarray | None = None
    candidates: np.ndarray | None = None

    def interval(self, k: int) -> Interval:
        """Return recall@k in percent with its 95 % interval over items."""
        return percentile_interval(resampled_recall(self, k), value=self.recall[k], n=len(np.unique(self.groups)))


def retrieve(
    items: np.ndarray,
    captions: np.ndarray,
    groups: np.ndarray | tuple[np.ndarray, np.ndarray] | None = None,
    cutoffs: Sequence[int] = CUTOFFS,
) -> tuple[RetrievalScore, RetrievalScore]:
    """Score retrieval of captions by items and of items by captions.

    Args:
        items: vectors ``[n, D]``.
        captions: vectors ``[m, D]``.
        groups: the item ``[m]`` (its row) that each caption belongs to, or a name or number for each of both,
            (``[n]``, ``[m]``): vectors of one group are partners. By default caption i belongs to item i.
        cutoffs: the k of recall@k.

    Returns:
        (items to captions, captions to items); the rank of an item is the best of its captions' among all captions.

    Raises:
        EvaluationError: shapes that do not fit, captions of unknown items, items without a caption; all at once.
    """
    items, captions = np.asarray(items, float), np.asarray(captions, float)
    if items.ndim != 2 or captions.ndim != 2 or items.shape[1] != captions.shape[1] or not len(items):
        raise EvaluationError(f"found items {items.shape} and captions {captions.shape}; need [n, D] and [m, D], n > 0")
    groups = np.arange(len(captions)) if groups is None else groups
    mine, theirs = groups if isinstance(groups, tuple) else (np.arange(len(items)), groups)
    mine, theirs = np.asarray(mine), np.asarray(theirs)
    if mine.shape != (len(items),) or theirs.shape != (len(captions),):
        raise EvaluationError(
            f"found groups {mine.shape} and {theirs.shape}; need one of the {len(items)} items for each of the "
            f"{len(captions)} captions"
        )
    problems = []
    for one, other, what in ((theirs, mine, "captions of unknown items"), (mine, theirs, "items without a caption")):
        lost = np.flatnonzero(~np.isin(one, other))
        if len(lost):
            problems.append(f"found {len(lost)} {what}, the first is of item {one[lost[0]]}; leave them out")
    EvaluationError.check("retrieval cannot be scored:", problems)
    sides = (items, mine), (captions, theirs)
    return ranked(*sides, cutoffs), ranked(*sides[::-1], cutoffs)


def resampled_recall(score: RetrievalScore, k: int) -> np.ndarray:
    """Return recall@k, percent, of each bootstrap sample of items ``[R]``; candidates stay as they are.

    Items are drawn alike in both directions between two modalities, so that their mean can be taken by sample.
    """
    items, owner = np.unique(score.groups, return_inverse=True)
    weights = bootstrap_weights(len(items), REPLICATES)
    asked = np.bincount(owner, minlength=len(items))
    found = np.bincount(owner, weights=score.found[k], minlength=len(items))
    return 100.0 * (weights @ found) / (weights @ asked)


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


def ranked(
    asked: tuple[np.ndarray, np.ndarray], offered: tuple[np.ndarray, np.ndarray], cutoffs: Sequence[int]
) -> RetrievalScore:
    """Rank each query's best partner among what is offered; both sides are (vectors ``[n, D]``, groups ``[n]``)."""
    queries, candidates = _unit(asked[0]), _unit(offered[0])
    parts = [
        _rank(queries[start : start + CHUNK] @ candidates.T,
              asked[1][start : start + CHUNK, None] == offered[1][None, :], cutoffs)
        for start in range(0, len(queries), CHUNK)
    ]  # fmt: skip
    ranks, found, chance, top, right = (np.concatenate(part) for part in zip(*parts, strict=True))
    return RetrievalScore(
        recall={k: 100.0 * float(found[:, i].mean()) for i, k in enumerate(cutoffs)},
        median_rank=float(np.median(ranks)) + 1,
        ranks=ranks,
        found={k: found[:, i] for i, k in enumerate(cutoffs)},
        chance={k: 100.0 * float(chance[:, i].mean()) for i, k in enumerate(cutoffs)},
        top=top,
        right=right,
        groups=asked[1],
    )


def _rank(similarity: np.ndarray, partners: np.ndarray, cutoffs: Sequence[int]) -> tuple:
    """Per query, ``above`` lie before its best partner, ``tied`` beside it, ``right`` of these are partners."""
    candidates = similarity.shape[1]
    best = np.where(partners, similarity, -np.inf).max(1, keepdims=True)
    above = (similarity > best + TIE).sum(1)
    level = np.abs(similarity - best) <= TIE
    tied, right = level.sum(1), (level & partners).sum(1)
    ranks = above + (tied - right) / (right + 1)  # expected place of the first of `right` among `tied`

    def find(above: np.ndarray, tied: np.ndarray, right: np.ndarray) -> np.ndarray:
        draws = [np.clip(min(k, candidates) - above, 0, tied) for k in cutoffs]
        return np.stack([1 - hypergeom.pmf(0, tied, right, drawn) for drawn in draws], axis=1)

    owned = partners.sum(1)
    top = np.argsort(-similarity, axis=1, kind="stable")[:, : max(cutoffs)]
    chance = find(np.zeros_like(owned), np.full(len(owned), candidates), owned)
    return ranks, find(above, tied, right), chance, top, np.take_along_axis(partners, top, axis=1)
