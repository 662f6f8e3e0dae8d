"""Zero-shot retrieval: is the partner of a clip the nearest clip of the other modality?

No probe is trained. Each clip is the mean over time of its code vectors, similarity is the cosine. An item
may have several captions (Clotho has five): an item has found its captions when one of them is found.

Codes tie often: two clips with the same codes are equally similar to everything. Ties are scored by their
expectation under random order, so that a collapsed codebook scores chance and not 100 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from srcid.evaluation.inputs import Codes, Representation
from srcid.evaluation.metrics import EvaluationError

CUTOFFS = (1, 5, 10, 50)


@dataclass(frozen=True)
class RetrievalScore:
    """One direction of retrieval.

    Attributes:
        recall: percent of queries that find a partner among the first k, by k.
        median_rank, mean_rank: of the best-placed partner, counted from 1; ties at their expected place.
        ranks: that rank of each query, from 0, ``[Q]``.
        chance: ``recall`` of random order.
        top: the candidates nearest to each query, best first, ``[Q, up to max(k)]``.
        query, target, representation: where the vectors came from; empty for bare arrays.
        queries, candidates: table rows of both, where they came from a table.
    """

    recall: Mapping[int, float]
    median_rank: float
    mean_rank: float
    ranks: np.ndarray
    chance: Mapping[int, float]
    top: np.ndarray
    query: str = ""
    target: str = ""
    representation: str = ""
    queries: np.ndarray | None = None
    candidates: np.ndarray | None = None


def retrieve(
    items: np.ndarray,
    captions: np.ndarray,
    owner: np.ndarray | None = None,
    cutoffs: Sequence[int] = CUTOFFS,
    tolerance: float = 1e-9,
) -> tuple[RetrievalScore, RetrievalScore]:
    """Score retrieval of captions by items and of items by captions.

    Args:
        items: vectors ``[n, D]``.
        captions: vectors ``[m, D]``.
        owner: the item ``[m]`` that each caption belongs to; by default caption i belongs to item i.
        cutoffs: the k of recall@k.
        tolerance: cosines closer than this are a tie.

    Returns:
        (items to captions, captions to items); the rank of an item is the best of its captions' among all
        captions.

    Raises:
        EvaluationError: shapes that do not fit, an owner that is no item, an item without a caption.
    """
    items, captions = np.asarray(items, float), np.asarray(captions, float)
    if items.ndim != 2 or captions.ndim != 2 or items.shape[1] != captions.shape[1] or not len(items):
        raise EvaluationError(f"found items {items.shape} and captions {captions.shape}; need [n, D] and [m, D], n > 0")
    owner = np.arange(len(items)) if owner is None else np.asarray(owner)
    if owner.shape != (len(captions),) or owner.min() < 0 or owner.max() >= len(items):
        raise EvaluationError(f"found owners {owner.shape}; need one of the {len(items)} items for each caption")
    alone = np.setdiff1d(np.arange(len(items)), owner)
    if len(alone):
        raise EvaluationError(
            f"found {len(alone)} items without a caption, the first is item {alone[0]}; leave them out"
        )
    similarity = _unit(items) @ _unit(captions).T
    partners = np.arange(len(items))[:, None] == owner[None, :]
    return (
        _score(similarity, partners, cutoffs, tolerance),
        _score(similarity.T, partners.T, cutoffs, tolerance),
    )


def code_retrieval(
    table: Codes,
    representations: Sequence[str | Representation] = ("all", "only1"),
    split: str = "test",
    item: np.ndarray | None = None,
    captions: str | None = None,
    cutoffs: Sequence[int] = CUTOFFS,
) -> list[RetrievalScore]:
    """Score zero-shot retrieval between every two modalities of a code table, both directions.

    Layers of a representation are concatenated as they are, so a layer weighs by the length of its vectors.

    Args:
        item: item number ``[clips]`` of each clip, where clips are several captions of one item (its other
            modalities repeated); every clip is its own item by default.
        captions: with ``item``, the modality that holds the captions; the others are read at an item's first
            clip.

    Raises:
        EvaluationError: no such split, modality or representation; no clip that has both modalities.
    """
    if split not in table.splits or not len(table.splits[split]):
        raise EvaluationError(f"found no clip in split '{split}'; the table has {', '.join(table.splits)}")
    if captions is not None and captions not in table.modalities:
        raise EvaluationError(f"found no modality '{captions}' for captions; there are {', '.join(table.modalities)}")
    split_rows = np.sort(np.asarray(table.splits[split]))
    numbers = np.arange(table.clips) if item is None else np.asarray(item)
    scores = []
    for name in representations:
        representation = Representation.named(name, table.layers)
        pooled = {m: _pooled(table, representation, m, split_rows) for m in table.modalities}
        for position, first in enumerate(table.modalities):
            for second in table.modalities[position + 1 :]:
                if first == captions:
                    first, second = second, first
                present = np.isfinite(pooled[first]).all(-1) & np.isfinite(pooled[second]).all(-1)
                rows = split_rows[present]
                if not len(rows):
                    raise EvaluationError(f"found no clip of split '{split}' with both {first} and {second}")
                _, lead, owner = np.unique(numbers[rows], return_index=True, return_inverse=True)
                if second != captions:
                    owner, kept = np.arange(len(lead)), lead
                else:
                    kept = np.arange(len(rows))
                pair = retrieve(pooled[first][present][lead], pooled[second][present][kept], owner, cutoffs)
                ends = ((first, second, rows[lead], rows[kept]), (second, first, rows[kept], rows[lead]))
                for score, (query, target, queries, candidates) in zip(pair, ends, strict=True):
                    origin = dict(query=query, target=target, representation=representation.name)
                    scores.append(
                        RetrievalScore(**{**vars(score), **origin, "queries": queries, "candidates": candidates})
                    )
    return scores


def _pooled(table: Codes, representation: Representation, modality: str, rows: np.ndarray) -> np.ndarray:
    """Return the mean over present steps of the representation ``[n, D]``; NaN for clips without any."""
    present = representation.present(table, modality)[rows]
    total = [
        (representation.vectors(table, layer, modality, rows) * present[..., None]).sum(1, dtype=float)
        for layer in representation.layers
    ]
    steps = present.sum(1)[:, None]
    return np.divide(
        np.concatenate(total, axis=-1),
        steps,
        out=np.full((len(rows), sum(t.shape[1] for t in total)), np.nan),
        where=steps > 0,
    )


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


def _score(similarity: np.ndarray, partners: np.ndarray, cutoffs: Sequence[int], tolerance: float) -> RetrievalScore:
    """Rank each row's best partner: ``above`` lie before it, ``tied`` beside it, ``right`` are partners."""
    from scipy.stats import hypergeom

    candidates = similarity.shape[1]
    best = np.where(partners, similarity, -np.inf).max(1, keepdims=True)
    above = (similarity > best + tolerance).sum(1)
    level = np.abs(similarity - best) <= tolerance
    tied, right = level.sum(1), (level & partners).sum(1)
    ranks = above + (tied - right) / (right + 1)  # expected place of the first of `right` among `tied`

    def found(k: int, above: np.ndarray, tied: np.ndarray, right: np.ndarray) -> float:
        draws = np.clip(min(k, candidates) - above, 0, tied)
        return 100.0 * float(np.mean(1 - hypergeom.pmf(0, tied, right, draws)))

    owned = partners.sum(1)
    everything = np.full(len(owned), candidates)
    return RetrievalScore(
        recall={k: found(k, above, tied, right) for k in cutoffs},
        median_rank=float(np.median(ranks)) + 1,
        mean_rank=float(np.mean(ranks)) + 1,
        ranks=ranks,
        chance={k: found(k, np.zeros_like(owned), everything, owned) for k in cutoffs},
        top=np.argsort(-similarity, axis=1, kind="stable")[:, : max(cutoffs)],
    )
