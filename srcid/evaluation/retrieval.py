"""Zero-shot retrieval: is the partner of a clip the nearest clip of the other modality?

No probe is trained. Each clip is the mean over time of its code vectors, similarity is the cosine. An item may have
several captions (Clotho has five): it has found its captions when one of them is found.

How candidates are ranked, and ties counted: :mod:`srcid.evaluation.ranking`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from srcid.evaluation.metrics import EvaluationError
from srcid.evaluation.ranking import CUTOFFS, RetrievalScore, retrieve
from srcid.evaluation.representation import Codes, Representation


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

    def frame(self) -> pd.DataFrame:
        """Return one row a representation and direction: queries, and recall@k with interval and chance, as text."""
        return pd.DataFrame(
            [
                {"representation": s.representation, "query": s.query, "target": s.target, "queries": len(s.ranks)}
                | {f"R@{k}": f"{s.interval(k)} (chance {s.chance[k]:.1f})" for k in s.recall}
                | {"median rank": s.median_rank}
                for s in self.scores
            ]
        )

    @property
    def finding(self) -> str:
        """Recall among the first candidates of the first representation, the lowest and the highest direction."""
        first = [s for s in self.scores if s.representation == self.scores[0].representation]
        if not first:
            return "No direction of retrieval was scored"
        k = list(first[0].recall)[min(1, len(first[0].recall) - 1)]
        low, *_, high = sorted(first, key=lambda s: s.recall[k]) if len(first) > 1 else first * 2
        return (
            f"Retrieval on {self.split} clips: R@{k} from {low.interval(k)} % ({low.query} → {low.target}) to "
            f"{high.interval(k)} % ({high.query} → {high.target}); chance {low.chance[k]:.1f} %"
        )


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
    chosen, notes, problems = Representation.several(representations, table.layers)
    scores = []
    if not len(table.splits.get(split, ())):
        problems.append(f"found no clip in split '{split}'; the table has {', '.join(table.splits)}")
    if numbers.shape != (table.clips,) or numbers.dtype.kind not in "iu":
        problems.append(f"found items {numbers.dtype} {numbers.shape}; need a whole number per clip, [{table.clips}]")
    EvaluationError.check("retrieval cannot be scored:", problems)

    rows, outside = _item_rows(table, split, numbers)
    notes += [f"{outside} of {outside + len(rows)} clips of split '{split}' belong to no item."] if outside else []
    for representation in chosen:
        try:
            representation, said = _choose_share(table, representation, numbers, cutoffs)
            found, remarks = _directions(table, representation, rows, numbers, cutoffs, split)
        except EvaluationError as error:
            notes.append(f"representation '{representation.name}' was left out: {error}.")
            continue
        scores += found
        notes += [*said, *remarks]
    return RetrievalResults(tuple(scores), split, tuple(dict.fromkeys(notes)), data)


def _item_rows(table: Codes, split: str, numbers: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the clips of a split that belong to an item, and how many do not."""
    every = np.sort(np.asarray(table.splits[split], np.int64))
    return every[numbers[every] >= 0], int((numbers[every] < 0).sum())


def _choose_share(
    table: Codes, representation: Representation, numbers: np.ndarray, cutoffs: Sequence[int]
) -> tuple[Representation, list[str]]:
    """Choose how many coordinates TOC keeps: the share of the highest recall on validation clips."""
    candidates = representation.candidates()
    if len(candidates) == 1:
        return representation, []
    if not len(table.splits.get("val", ())):
        raise EvaluationError("found no clip in split 'val'; need some to choose the number of coordinates")
    rows, _ = _item_rows(table, "val", numbers)
    found = [_directions(table, candidate, rows, numbers, cutoffs, "val")[0] for candidate in candidates]
    recall = [np.mean([list(score.recall.values()) for score in scores]) if scores else -1.0 for scores in found]
    best = candidates[int(np.argmax(recall))]
    return best, [f"retrieval, {best.name}: {best.keep:.0%} of the coordinates are read, chosen on validation clips."]


def _directions(
    table: Codes,
    representation: Representation,
    rows: np.ndarray,
    numbers: np.ndarray,
    cutoffs: Sequence[int],
    split: str,
) -> tuple[list[RetrievalScore], list[str]]:
    """Score every two modalities in both directions; what was left out is said."""
    representation.require(table, rows)
    scores, notes = [], []
    sides = {m: _items(_pooled(table, representation, m, rows), rows, numbers) for m in table.modalities}
    for first, second in combinations(table.modalities, 2):
        pair, lost = _pair(sides[first], sides[second], numbers, cutoffs)
        if lost:
            notes.append(f"{lost} items have only one of {first} and {second}, and were left out of that pair.")
        if pair is None:
            notes.append(f"{first} and {second}: no item of split '{split}' has both.")
            continue
        for score, ends in zip(pair, ((first, second), (second, first)), strict=True):
            scores.append(replace(score, query=ends[0], target=ends[1], representation=representation.name))
    return scores, notes


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
    features = [representation.vectors(table, layer, modality, rows) for layer in representation.layers]
    return pooled(features, representation.present(table, modality)[rows])


def pooled(features: Sequence[np.ndarray], present: np.ndarray) -> np.ndarray:
    """Return the mean over present steps of the layers' features ``[n, T, D]``: ``[n, sum D]``; NaN without any."""
    total = np.concatenate([(values * present[..., None]).sum(1, dtype=float) for values in features], axis=-1)
    steps = present.sum(1)[:, None]
    return np.divide(total, steps, out=np.full(total.shape, np.nan), where=steps > 0)
