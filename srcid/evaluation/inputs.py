"""What a probe reads: a representation of clips, as tensors that a stack of probes can pass its first layer
over.

Where the representation is made of codes, the first linear layer is a look-up. With code vectors E ``[L,
D]`` and weights W ``[D, H]``, row c of (E W) is what the layer says of code c, so E W is made once per step
of the optimiser and fetched by code, instead of fetching vectors and multiplying each. That pays when a
batch holds more clip-steps than there are codes in use; otherwise, and for continuous features, vectors are
gathered and multiplied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F

from srcid.evaluation import toc
from srcid.evaluation.metrics import EvaluationError

SCALE_CLIPS = 2000


class Codes(Protocol):
    """The part of a :class:`srcid.codes.CodeTable` that evaluation reads."""

    modalities: tuple[str, ...]
    layers: int
    clips: int
    steps: int
    splits: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]
    label_info: Mapping[str, Any]
    masks: Mapping[str, np.ndarray]

    def codes(self, layer: int, modality: str) -> np.ndarray: ...
    def code(self, layer: int, modality: str) -> np.ndarray: ...
    def codebook(self, layer: int) -> np.ndarray | None: ...
    def quantized(self, layer: int, modality: str, rows: np.ndarray | None = None) -> np.ndarray: ...
    def general(self, layer: int, modality: str) -> tuple[np.ndarray, np.ndarray]: ...


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
        base, plus, option = ("all", "+", name) if name in toc.OPTIONS else str(name).partition("+")
        if isinstance(name, Representation):
            found = name
        elif plus and option in toc.OPTIONS:
            found = replace(cls.named(base, layers), name=name, keep=None, by_use=toc.OPTIONS[option])
            if found.kind == "general":
                raise EvaluationError(f"found representation '{name}'; need quantised features for {option}")
        elif name in ("all", "continuous"):
            found = cls(name, every, "general" if name == "continuous" else "quantized")
        elif name.startswith("only") and name[4:].isdecimal():
            found = cls(name, (int(name[4:]),))
        elif name in ("stage1", "exchanged"):
            found = cls(name, (1,), later="zero") if name == "stage1" else cls(name, every, later="exchanged")
        else:
            known = f"all, only1 to only{layers}, continuous, stage1, exchanged or toc"
            raise EvaluationError(f"found representation '{name}'; need {known}")
        if not found.layers or not set(found.layers) <= set(every):
            raise EvaluationError(f"representation '{found.name}' reads layers {found.layers}; there are {every}")
        return found

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


class LookupInputs:
    """Clips as codes: the first layer is fetched, not multiplied.

    Args:
        books: one ``[L_j, D_j]`` per symbol of a step.
        places: for each book the features ``(start, stop)`` that its vectors are summed into.
        codes: ``[modalities, N, T, J]``, the symbol of each book.
        present: ``[modalities, N, T]``.
    """

    def __init__(
        self,
        books: list[torch.Tensor],
        places: list[tuple[int, int]],
        codes: torch.Tensor,
        present: torch.Tensor,
    ) -> None:
        self.books, self.places, self.codes, self.present = books, places, codes, present
        self.width = max(stop for _, stop in places)
        steps = present.shape[-1]
        small = torch.uint8 if steps < 256 else torch.int32
        self.steps = torch.arange(steps, dtype=small, device=present.device)[:, None]

    def project(self, weight: torch.Tensor) -> list[torch.Tensor]:
        """Return E_j W for each book: ``[P, D, H]`` to ``[P, L_j, H]``."""
        return [book @ weight[:, a:b] for book, (a, b) in zip(self.books, self.places, strict=True)]

    def linear(self, projected: list[torch.Tensor], which: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Apply the layer to clips ``rows`` ``[P, B]`` of modality ``which`` ``[P]``: ``[P, B, T, H]``."""
        codes = self.codes[which[:, None], rows]
        probe = torch.arange(len(which), device=codes.device)[:, None, None]
        fetched = (
            F.embedding(codes[..., j] + probe * table.shape[1], table.flatten(0, 1))
            for j, table in enumerate(projected)
        )
        return reduce(torch.add if torch.is_grad_enabled() else torch.Tensor.add_, fetched)

    def linear_max(self, projected: list[torch.Tensor], which: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Apply the layer and keep the largest value over present steps: ``[P, B, H]``.

        Only winners receive a gradient, so they are found first without recording and fetched again with it.
        """
        gradient = torch.is_grad_enabled()
        with torch.no_grad():
            values = _hide_absent(self.linear(projected, which, rows), self.present[which[:, None], rows])
            best = values.amax(2)
            if not gradient:
                return best
            # the last step that reaches the maximum; a comparison is several times faster than argmax
            step = ((values == best[:, :, None]) * self.steps).amax(2).long()
        codes = self.codes[which[:, None], rows]
        fetched = (table.gather(1, codes[..., j].gather(2, step)) for j, table in enumerate(projected))
        return reduce(torch.add, fetched)


class GatheredInputs:
    """Clips as vectors ``[modalities, n, T, D]``; ``place`` ``[N]`` says where a table row lies in them."""

    def __init__(self, values: torch.Tensor, place: torch.Tensor, present: torch.Tensor) -> None:
        self.values, self.place, self.present = values, place, present
        self.width = values.shape[-1]

    def project(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the weight itself; see :meth:`LookupInputs.project`."""
        return weight

    def linear(self, projected: torch.Tensor, which: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """See :meth:`LookupInputs.linear`."""
        values = self.values[which[:, None], self.place[rows]]
        return torch.bmm(values.flatten(1, 2), projected).unflatten(1, values.shape[1:3])

    def linear_max(self, projected: torch.Tensor, which: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """See :meth:`LookupInputs.linear_max`."""
        values = self.linear(projected, which, rows)
        return _hide_absent(values, self.present[which[:, None], rows]).amax(2)


def _hide_absent(values: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Set absent steps to minus infinity, in place."""
    return values if bool(present.all()) else values.masked_fill_(~present[..., None], -torch.inf)


Inputs = LookupInputs | GatheredInputs


def read_inputs(
    table: Codes,
    representation: Representation,
    rows: np.ndarray,
    scale_rows: np.ndarray,
    batch: int,
    lookup: bool | None = None,
    device: str | torch.device = "cpu",
) -> Inputs:
    """Read ``representation`` of the clips ``rows`` in all modalities.

    Each layer is divided by one constant, the root mean square of its features over (at most 2,000 of) the
    clips ``scale_rows`` in all modalities, so that a probe's learning rate means the same for every
    codebook; directions and the distances between modalities stay as they are.

    Args:
        batch: clips that a probe will read at once; decides whether look-up pays.
        lookup: force look-up (where there are codes) or gathering; None decides.

    Raises:
        EvaluationError: features that are not kept for these clips, or of another width in each modality.
    """
    representation.require(table, rows)
    present = np.stack([representation.present(table, m) for m in table.modalities])
    scales = [_scale(table, representation, layer, scale_rows) for layer in representation.layers]
    mask = torch.from_numpy(present).to(device)
    coded = representation.kind == "quantized" and all(table.codebook(k) is not None for k in representation.layers)
    if coded and lookup is not False:
        books, places, codes = _books(table, representation)
        cost = sum(len(book) * (b - a) for book, (a, b) in zip(books, places, strict=True))
        if lookup or cost < batch * table.steps * places[-1][1]:
            layer_scale = {a: scale for a, scale in zip(dict.fromkeys(a for a, _ in places), scales, strict=True)}
            tensors = [
                torch.from_numpy(book * layer_scale[a]).to(device) for book, (a, _) in zip(books, places, strict=True)
            ]
            return LookupInputs(tensors, places, torch.from_numpy(codes).to(device), mask)
    values = [
        np.concatenate(
            [
                np.float32(scale) * representation.vectors(table, layer, m, rows)
                for layer, scale in zip(representation.layers, scales, strict=True)
            ],
            axis=-1,
        )
        for m in table.modalities
    ]
    place = np.zeros(table.clips, np.int64)
    place[rows] = np.arange(len(rows))
    return GatheredInputs(torch.from_numpy(np.stack(values)).to(device), torch.from_numpy(place).to(device), mask)


def _scale(table: Codes, representation: Representation, layer: int, rows: np.ndarray) -> np.float32:
    """Return 1 / RMS of a layer's features."""
    sample = rows[np.linspace(0, len(rows) - 1, min(len(rows), SCALE_CLIPS)).astype(int)]
    squares, count, widths = 0.0, 0, {}
    for m in table.modalities:
        values = representation.vectors(table, layer, m, sample)[representation.present(table, m)[sample]]
        squares += float(np.square(values, dtype=np.float64).sum())
        count += values.size
        widths[m] = values.shape[-1]
    if len(set(widths.values())) > 1:
        raise EvaluationError(f"layer {layer} has features of widths {widths}; need one width in all modalities")
    return np.float32(np.sqrt(count / squares)) if squares > 0 else np.float32(1)


def _use(table: Codes, layer: int, shape: tuple[int, int]) -> np.ndarray:
    """Count how often each code is used on training clips in all modalities, ``[S, L]``."""
    rows = np.asarray(table.splits["train"])
    codes = np.stack([np.asarray(table.codes(layer, m))[rows] for m in table.modalities])
    counts = [np.bincount(codes[..., s][codes[..., s] >= 0], minlength=shape[1]) for s in range(shape[0])]
    return np.stack(counts).astype(float)


def _books(table: Codes, representation: Representation) -> tuple[list[np.ndarray], list[tuple[int, int]], np.ndarray]:
    """Return vectors of the codes in use, their place among the features, and codes ``[M, N, T, J]``."""
    books, places, columns, start = [], [], [], 0
    for layer in representation.layers:
        book = np.asarray(representation.codebook(table, layer), np.float32)
        codes = np.stack([np.asarray(table.codes(layer, m)) for m in table.modalities])
        if book.shape[0] != codes.shape[-1]:  # one vector for each combination of symbols, not a sum over stages
            codes = np.stack([table.code(layer, m) for m in table.modalities])[..., None]
            book = _examples(table, representation, layer, codes[..., 0])[None]
        for stage, vectors in enumerate(book):
            used, dense = np.unique(np.maximum(codes[..., stage], 0), return_inverse=True)
            books.append(vectors[used])
            columns.append(dense.reshape(codes.shape[:-1]).astype(np.int64))
            places.append((start, start + book.shape[-1]))
        start += book.shape[-1]
    return books, places, np.stack(columns, axis=-1)


def _examples(table: Codes, representation: Representation, layer: int, symbols: np.ndarray) -> np.ndarray:
    """Return the vector of each joint symbol ``[M, N, T]``, read off the first step that has it."""
    numbers, first = np.unique(symbols, return_index=True)
    vectors = None
    modality, clip, step = np.unravel_index(first[numbers >= 0], symbols.shape)
    for index, name in enumerate(table.modalities):
        mine = modality == index
        values = representation.vectors(table, layer, name, clip[mine])[np.arange(mine.sum()), step[mine]]
        vectors = np.zeros((numbers.max() + 1, values.shape[-1]), np.float32) if vectors is None else vectors
        vectors[numbers[numbers >= 0][mine]] = values
    return vectors
