"""Zero-shot retrieval: is the partner of a clip the nearest clip of the other modality?

No probe is trained. Each clip is the mean over time of its code vectors, similarity is the cosine. An item may have
several captions (Clotho has five): it has found its captions when one of them is found.

Codes tie often: two clips with the same codes are equally similar to everything. Ties are scored by their
expectation under random order, so that a collapsed codebook scores chance and not 100 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from srcid.evaluation.inputs import Codes, Representation
from srcid.evaluation.metrics import EvaluationError

CUTOFFS = (1, 5, 10, 50)
CHUNK = 1000  # queries compared with all candidates at a time: memory stays bounded


@dataclass(frozen=True)
class RetrievalScore:
    """One direction of retrieval.

    Attributes:
        recall: percent of queries that find a partner among the first k, by k.
        median_rank, mean_rank: of the best-placed partner, counted from 1; ties at their expected place.
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
    mean_rank: float
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


@dataclass(frozen=True)
class RetrievalResults:
    """Retrieval between every two modalities of one code table.

    Attributes:
        scores: one per representation and direction.
        split: whose clips were asked.
        notes: what was left out and why, as sentences.
        data: name of the data.
    """

    scores: tuple[RetrievalScore, ...]
    split: str
    notes: tuple[str, ...] = ()
    data: str = ""

    def select(self, **which: str) -> list[RetrievalScore]:
        """Return the scores whose fields equal all of ``which``: ``select(query="audio")``."""
        return [s for s in self.scores if all(getattr(s, name) == value for name, value in which.items())]


def retrieve(
    items: np.ndarray,
    captions: np.ndarray,
    groups: np.ndarray | tuple[np.ndarray, np.ndarray] | None = None,
    cutoffs: Sequence[int] = CUTOFFS,
    tolerance: float = 1e-9,
) -> tuple[RetrievalScore, RetrievalScore]:
    """Score retrieval of captions by items and of items by captions.

    Args:
        items: vectors ``[n, D]``.
        captions: vectors ``[m, D]``.
        groups: the item ``[m]`` (its row) that each caption belongs to, or a name or number for each of both,
            (``[n]``, ``[m]``): vectors of one group are partners. By default caption i belongs to item i.
        cutoffs: the k of recall@k.
        tolerance: cosines closer than this are a tie.

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
    if problems:
        raise EvaluationError("; ".join(problems))
    sides = (_unit(items), mine), (_unit(captions), theirs)
    return _score(*sides, cutoffs, tolerance), _score(*sides[::-1], cutoffs, tolerance)


def code_retrieval(
    table: Codes,
    representations: Sequence[str | Representation] = ("all", "only1"),
    split: str = "test",
    groups: np.ndarray | None = None,
    cutoffs: Sequence[int] = CUTOFFS,
    data: str = "",
) -> RetrievalResults:
    """Score zero-shot retrieval between every two modalities of a code table, both directions.

    Layers of a representation are concatenated as they are, so a layer weighs by the length of its vectors.

    Args:
        groups: item number ``[clips]`` of each clip, negative for none; by default the table's category label
            ``item``, and without one every clip is an item of its own. Clips of one item are partners; a modality
            that says the same in all clips of each item is taken once per item.
        data: name of the data, kept with the results.

    Returns:
        The scores; clips without an item and items that lack one of two modalities are left out and said in
        ``notes``, and so is a pair of modalities that no item has, or a representation already there under another
        name.

    Raises:
        EvaluationError: no such split or representation, groups of the wrong shape or type; all at once.
    """
    numbers = table.labels.get("item") if groups is None else np.asarray(groups)
    numbers = np.arange(table.clips) if numbers is None else np.asarray(numbers)
    chosen: dict[tuple, Representation] = {}
    problems, notes, scores = [], [], []
    for name in representations:
        try:
            representation = Representation.named(name, table.layers)
        except EvaluationError as error:
            problems.append(str(error))
            continue
        first = chosen.setdefault((representation.layers, representation.kind), representation)
        if first is not representation:
            notes.append(f"representation '{representation.name}' reads the same features as '{first.name}'.")
    if not len(table.splits.get(split, ())):
        problems.append(f"found no clip in split '{split}'; the table has {', '.join(table.splits)}")
    if numbers.shape != (table.clips,) or numbers.dtype.kind not in "iu":
        problems.append(f"found items {numbers.dtype} {numbers.shape}; need a whole number per clip, [{table.clips}]")
    if problems:
        raise EvaluationError("retrieval cannot be scored:\n" + "\n".join(f"  - {p}" for p in problems))

    every = np.sort(np.asarray(table.splits[split], np.int64))
    rows = every[numbers[every] >= 0]
    if len(rows) < len(every):
        notes.append(f"{len(every) - len(rows)} of {len(every)} clips of split '{split}' belong to no item.")
    for place, representation in enumerate(chosen.values()):
        try:
            representation.require(table, rows)
        except EvaluationError as error:
            notes.append(f"representation '{representation.name}' was left out: {error}.")
            continue
        sides = {m: _items(_pooled(table, representation, m, rows), rows, numbers) for m in table.modalities}
        for index, first in enumerate(table.modalities):
            for second in table.modalities[index + 1 :]:
                pair, lost = _pair(sides[first], sides[second], numbers, cutoffs)
                if lost and not place:
                    notes.append(f"{lost} items have only one of {first} and {second}, and were left out of that pair.")
                if pair is None:
                    notes.append(f"{first} and {second}: no item of split '{split}' has both.")
                    continue
                for score, ends in zip(pair, ((first, second), (second, first)), strict=True):
                    scores.append(replace(score, query=ends[0], target=ends[1], representation=representation.name))
    return RetrievalResults(tuple(scores), split, tuple(dict.fromkeys(notes)), data)


@dataclass(frozen=True)
class Gallery:
    """Some queries and what was found for them.

    Attributes:
        query, target, representation: as in :class:`RetrievalScore`.
        queries: table rows ``[q]``.
        hits: table rows of the nearest candidates, best first, ``[q, k]``.
        right: which of them are partners, ``[q, k]``.
        ranks: of the best partner, from 1, ``[q]``; ties at their expected place.
        candidates: how many there were.
        median_rank: over all queries of the direction.
    """

    query: str
    target: str
    representation: str
    queries: np.ndarray
    hits: np.ndarray
    right: np.ndarray
    ranks: np.ndarray
    candidates: int
    median_rank: float


def gallery(score: RetrievalScore, queries: int = 5, top: int = 5) -> Gallery:
    """Choose queries evenly from the best to the worst, so that what is shown is typical, and their ``top`` hits.

    Raises:
        EvaluationError: the score is of bare arrays, not of a table.
    """
    if score.queries is None:
        raise EvaluationError("found scores of bare arrays; need those of a table, from code_retrieval")
    order = np.argsort(score.ranks, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, min(queries, len(order))).round().astype(int))]
    hits = score.candidates[score.top[chosen, :top]]
    return Gallery(
        score.query, score.target, score.representation, score.queries[chosen], hits, score.right[chosen, :top],
        score.ranks[chosen] + 1, len(score.candidates), score.median_rank,
    )  # fmt: skip


def _items(vectors: np.ndarray, rows: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (vectors, rows) of the clips that have the modality, one per item if all its clips say the same."""
    there = np.isfinite(vectors).all(-1)
    vectors, rows = vectors[there], rows[there]
    _, lead, owner = np.unique(numbers[rows], return_index=True, return_inverse=True)
    if len(lead) < len(rows) and np.array_equal(vectors, vectors[lead[owner]]):
        return vectors[lead], rows[lead]
    return vectors, rows


def _pair(
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    numbers: np.ndarray,
    cutoffs: Sequence[int],
) -> tuple[tuple[RetrievalScore, RetrievalScore] | None, int]:
    """Score both directions between two modalities over the items that both have; and how many have one only."""
    items = [numbers[rows] for _, rows in (first, second)]
    both = np.intersect1d(*items)
    lost = len(np.union1d(*items)) - len(both)
    if not len(both):
        return None, lost
    (a, rows_a), (b, rows_b) = (
        (vectors[keep], rows[keep])
        for (vectors, rows), own in zip((first, second), items, strict=True)
        for keep in [np.isin(own, both)]
    )
    pair = retrieve(a, b, (numbers[rows_a], numbers[rows_b]), cutoffs)
    ends = ((rows_a, rows_b), (rows_b, rows_a))
    return tuple(replace(s, queries=q, candidates=c) for s, (q, c) in zip(pair, ends, strict=True)), lost


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


def _score(
    asked: tuple[np.ndarray, np.ndarray],
    offered: tuple[np.ndarray, np.ndarray],
    cutoffs: Sequence[int],
    tolerance: float,
) -> RetrievalScore:
    """Rank the best partner of each query; both sides are (unit vectors, groups)."""
    parts = [
        _rank(asked[0][start : start + CHUNK] @ offered[0].T,
              asked[1][start : start + CHUNK, None] == offered[1][None, :], cutoffs, tolerance)
        for start in range(0, len(asked[0]), CHUNK)
    ]  # fmt: skip
    ranks, found, chance, top, right = (np.concatenate(part) for part in zip(*parts, strict=True))
    return RetrievalScore(
        recall={k: 100.0 * float(found[:, i].mean()) for i, k in enumerate(cutoffs)},
        median_rank=float(np.median(ranks)) + 1,
        mean_rank=float(np.mean(ranks)) + 1,
        ranks=ranks,
        found={k: found[:, i] for i, k in enumerate(cutoffs)},
        chance={k: 100.0 * float(chance[:, i].mean()) for i, k in enumerate(cutoffs)},
        top=top,
        right=right,
        groups=asked[1],
    )


def _rank(similarity: np.ndarray, partners: np.ndarray, cutoffs: Sequence[int], tolerance: float) -> tuple:
    """Per query, ``above`` lie before its best partner, ``tied`` beside it, ``right`` of these are partners."""
    candidates = similarity.shape[1]
    best = np.where(partners, similarity, -np.inf).max(1, keepdims=True)
    above = (similarity > best + tolerance).sum(1)
    level = np.abs(similarity - best) <= tolerance
    tied, right = level.sum(1), (level & partners).sum(1)
    ranks = above + (tied - right) / (right + 1)  # expected place of the first of `right` among `tied`

    def find(above: np.ndarray, tied: np.ndarray, right: np.ndarray) -> np.ndarray:
        draws = [np.clip(min(k, candidates) - above, 0, tied) for k in cutoffs]
        return np.stack([1 - _none_drawn(tied, right, drawn) for drawn in draws], axis=1)

    owned = partners.sum(1)
    top = np.argsort(-similarity, axis=1, kind="stable")[:, : max(cutoffs)]
    chance = find(np.zeros_like(owned), np.full(len(owned), candidates), owned)
    return ranks, find(above, tied, right), chance, top, np.take_along_axis(partners, top, axis=1)


def _none_drawn(size: np.ndarray, right: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Chance that ``draws`` of ``size`` without replacement hit none of ``right``: C(size - right, draws) over
    C(size, draws)."""
    from scipy.special import gammaln

    free = size - right
    log = gammaln(free + 1) - gammaln(np.maximum(free - draws, 0) + 1) - gammaln(size + 1) + gammaln(size - draws + 1)
    return np.where(draws > free, 0.0, np.exp(np.minimum(log, 0)))
