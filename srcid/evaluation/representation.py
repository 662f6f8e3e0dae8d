"""What downstream tasks see of a clip: which features of a code table, of which layers, and how much of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np

from srcid.evaluation import toc
from srcid.evaluation.metrics import EvaluationError
from srcid.symbols import known_of


class Codes(Protocol):
    """The part of a :class:`srcid.codes.CodeTable` that evaluation reads."""

    modalities: tuple[str, ...]
    layers: int
    clips: int
    steps: int
    splits: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]
    label_info: Mapping[str, Any]
    labelled: Mapping[str, np.ndarray]
    masks: Mapping[str, np.ndarray]

    def codes(self, layer: int, modality: str) -> np.ndarray: ...
    def code(self, layer: int, modality: str) -> np.ndarray: ...
    def codebook(self, layer: int) -> np.ndarray | None: ...
    def quantized(self, layer: int, modality: str, rows: np.ndarray | None = None) -> np.ndarray: ...
    def general(self, layer: int, modality: str) -> tuple[np.ndarray, np.ndarray]: ...


class _Labelled:
    """Another table's codes with masks and splits of its own."""

    def __init__(self, table: Codes, known: np.ndarray) -> None:
        self._table = table
        self.masks = {m: np.asarray(mask, bool) & known for m, mask in table.masks.items()}
        self.splits = {split: rows[known[rows].any(1)] for split, rows in table.splits.items()}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)


def labelled_part(table: Codes) -> Codes:
    """Return a table as probes see it: steps whose event is unknown are absent, and clips of no others in no split."""
    if "event" not in table.labelled:
        return table
    return _Labelled(table, known_of(table, "event", np.arange(table.clips)))


def true_events(table: Codes) -> np.ndarray:
    """Events at steps that some modality has, as probes see them: what is marked elsewhere is padding."""
    there = np.logical_or.reduce([np.asarray(mask, bool) for mask in table.masks.values()])
    return np.asarray(table.labels["event"], bool) & there[..., None]


@dataclass(frozen=True)
class Representation:
    """What downstream tasks see of a clip: features of some layers, concatenated.

    Attributes:
        name: as tables print it.
        layers: from 1, in the order of concatenation.
        kind: ``quantized`` q_k, or ``general`` z_k, the continuous features before quantisation.
        later: what is read of the parts of a code that describe what the first left over (later stages, later
            layers): ``kept``; ``zero``, nothing; or ``exchanged``, their codes with each other's vectors, in all
            modalities alike, so that codes are shared as before and only say nothing by where their vectors lie.
        keep: share of each layer's coordinates that is read, chosen by :mod:`srcid.evaluation.toc`; None: the share
            is still to be chosen, on validation clips, among :meth:`candidates`.
        by_use: whether TOC weighs codes by their use on training clips.
    """

    name: str
    layers: tuple[int, ...]
    kind: Literal["quantized", "general"] = "quantized"
    later: Literal["kept", "zero", "exchanged"] = "kept"
    keep: float | None = 1.0
    by_use: bool = False

    @classmethod
    def named(cls, name: str | Representation, layers: int) -> Representation:
        """Return what ``name`` means for a model of ``layers`` layers.

        ``all`` is [q_1, ..., q_K], ``only1`` is q_1 (``only2`` q_2, ...), ``continuous`` is [z_1, ..., z_K],
        ``stage1`` is the first stage of q_1, and ``exchanged`` is ``all`` with the vectors of all that comes after
        this stage exchanged among its codes. ``+toc`` or ``+toc-by-use`` behind a name of quantised features reads the
        best coordinates of these only; ``toc`` is ``all+toc``.

        Raises:
            EvaluationError: no such name, or a layer that the model does not have.
        """
        every = tuple(range(1, layers + 1))
        fixed = {
            "all": cls("all", every),
            "continuous": cls("continuous", every, "general"),
            "stage1": cls("stage1", (1,), later="zero"),
            "exchanged": cls("exchanged", every, later="exchanged"),
        }
        base, plus, option = ("all", "+", name) if name in toc.OPTIONS else str(name).partition("+")
        if isinstance(name, Representation):
            found = name
        elif plus and option in toc.OPTIONS:
            found = replace(cls.named(base, layers), name=name, keep=None, by_use=toc.OPTIONS[option])
            if found.kind == "general":
                raise EvaluationError(f"found representation '{name}'; need quantised features for {option}")
        elif name in fixed:
            found = fixed[name]
        elif name.startswith("only") and name[4:].isdecimal():
            found = cls(name, (int(name[4:]),))
        else:
            known = f"all, only1 to only{layers}, continuous, stage1, exchanged or toc"
            raise EvaluationError(f"found representation '{name}'; need {known}")
        if not found.layers or not set(found.layers) <= set(every):
            raise EvaluationError(f"representation '{found.name}' reads layers {found.layers}; there are {every}")
        return found

    @classmethod
    def several(
        cls, names: Iterable[str | Representation], layers: int
    ) -> tuple[list[Representation], list[str], list[str]]:
        """Return those of ``names`` that read different features, sentences on the others, and what is wrong."""
        kept: dict[Representation, Representation] = {}
        notes, problems = [], []
        for name in names:
            try:
                found = cls.named(name, layers)
            except EvaluationError as error:
                problems.append(str(error))
                continue
            first = kept.setdefault(replace(found, name=""), found)
            if first is not found:
                notes.append(
                    f"representation '{found.name}' was left out: it reads the same features as '{first.name}'."
                )
        return list(kept.values()), notes, problems

    def candidates(self) -> tuple[Representation, ...]:
        """What the share of coordinates is chosen from; the representation itself where there is nothing to choose."""
        return (self,) if self.keep is not None else tuple(replace(self, keep=share) for share in toc.SHARES)

    def coordinates(self, table: Codes, layer: int) -> np.ndarray | slice:
        """Return which coordinates of a layer are read."""
        if self.keep == 1:
            return slice(None)
        book = np.asarray(table.codebook(layer))
        use = _use(table, layer, book.shape[:2]) if self.by_use else None
        return toc.kept_coordinates(book, self.keep or 1, use)

    def require(self, table: Codes, rows: np.ndarray) -> None:
        """Check that the features of ``rows`` can be read.

        Raises:
            EvaluationError: the table keeps no continuous features of some of these clips, or its codes have no
                parts to tell apart.
        """
        if self.kind == "quantized":
            self._require_parts(table)
            if self.keep != 1 and any(table.codebook(layer) is None for layer in self.layers):
                raise EvaluationError("the code of this quantiser has no vectors to choose coordinates of")
            return
        for layer in self.layers:
            for m in table.modalities:
                try:
                    kept, _ = table.general(layer, m)
                except ValueError as error:
                    raise EvaluationError(str(error)) from error
                needed = rows[self.present(table, m)[rows].any(1)]
                if missing := int(np.isin(needed, kept, invert=True).sum()):
                    raise EvaluationError(
                        f"continuous features of layer {layer}, {m} are kept for {len(needed) - missing} of "
                        f"the {len(needed)} clips needed; encode with keep_features={table.clips}"
                    )

    def _require_parts(self, table: Codes) -> None:
        if self.later == "kept":
            return
        stages = np.shape(table.codes(1, table.modalities[0]))[-1]
        for layer in self.layers:
            book = table.codebook(layer)
            if book is None or len(book) != stages:
                raise EvaluationError("the code of this quantiser has no vector for each of its parts")
        if stages == 1 and len(self.layers) == 1:
            raise EvaluationError("the code has a single part: one layer, one stage")

    def codebook(self, table: Codes, layer: int) -> np.ndarray | None:
        """Return the vectors that stand for the codes of a layer, ``[S, L, D]``; None for quantisers without."""
        book = table.codebook(layer)
        if book is None or self.later == "kept":
            return book if book is None else book[..., self.coordinates(table, layer)]
        book = np.array(book)
        codes = np.stack([table.codes(layer, m) for m in table.modalities])
        for stage in range(1 if layer == 1 else 0, len(book)):
            used = np.unique(codes[..., stage])
            used = used[used >= 0]
            order = np.random.default_rng([layer, stage]).permutation(used)
            book[stage, used] = book[stage, order] if self.later == "exchanged" else 0
        return book[..., self.coordinates(table, layer)]

    def vectors(self, table: Codes, layer: int, modality: str, rows: np.ndarray) -> np.ndarray:
        """Return the features of ``rows`` in one layer, ``[n, T, D]``."""
        if self.kind == "quantized" and self.later == "kept":
            return table.quantized(layer, modality, rows)[..., self.coordinates(table, layer)]
        if self.kind == "quantized":
            book, codes = self.codebook(table, layer), np.asarray(table.codes(layer, modality)[rows])
            values = sum(vectors[codes[..., stage]] for stage, vectors in enumerate(book))
            return np.where(self.present(table, modality)[rows][..., None], values, np.float32(0))
        kept, values = table.general(layer, modality)
        place = np.zeros(table.clips, np.int64)
        place[kept] = np.arange(len(kept))
        return values[place[rows]]

    def present(self, table: Codes, modality: str) -> np.ndarray:
        """Return which steps hold features, bool ``[N, T]``."""
        return np.asarray(table.masks[modality], bool)


def _use(table: Codes, layer: int, shape: tuple[int, int]) -> np.ndarray:
    """Count how often each code is used on training clips in all modalities, ``[S, L]``."""
    rows = np.asarray(table.splits["train"])
    codes = np.stack([np.asarray(table.codes(layer, m))[rows] for m in table.modalities])
    counts = [np.bincount(codes[..., s][codes[..., s] >= 0], minlength=shape[1]) for s in range(shape[0])]
    return np.stack(counts).astype(float)
