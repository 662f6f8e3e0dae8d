"""What a probe reads: a representation of clips, as tensors that a stack of probes can pass its first layer
over.

Where the representation is made of codes, the first linear layer is a look-up. With code vectors E ``[L,
D]`` and weights W ``[D, H]``, row c of (E W) is what the layer says of code c, so E W is made once per step
of the optimiser and fetched by code, instead of fetching vectors and multiplying each. That pays when a
batch holds more clip-steps than there are codes in use; otherwise, and for continuous features, vectors are
gathered and multiplied.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
import torch
import torch.nn.functional as F

from srcid.evaluation.metrics import EvaluationError
from srcid.evaluation.representation import Codes, Representation

SCALE_CLIPS = 2000


class LookupInputs:
    """Clips as codes: the first layer is fetched, not multiplied.

    Args:
        books: one ``[L_j, D_j]`` per symbol of a step.
        places: for each book the features ``(start, stop)`` that its vectors are summed into.
        codes: ``[modalities, N, T, J]``, the symbol of each book.
        present: ``[modalities, N, T]``.
        scales: what the features of each layer were multiplied by.
    """

    def __init__(
        self,
        books: list[torch.Tensor],
        places: list[tuple[int, int]],
        codes: torch.Tensor,
        present: torch.Tensor,
        scales: tuple[float, ...] = (),
    ) -> None:
        self.scales = scales
        self.books, self.places, self.codes, self.present = books, places, codes, present
        self.width = max(stop for _, stop in places)
        steps = present.shape[-1]
        small = torch.uint8 if steps < 256 else torch.int32
        self.steps = torch.arange(steps, dtype=small)[:, None]

    def project(self, weight: torch.Tensor) -> list[torch.Tensor]:
        """Return E_j W for each book: ``[P, D, H]`` to ``[P, L_j, H]``."""
        return [book @ weight[:, a:b] for book, (a, b) in zip(self.books, self.places, strict=True)]

    def linear(self, projected: list[torch.Tensor], which: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Apply the layer to clips ``rows`` ``[P, B]`` of modality ``which`` ``[P]``: ``[P, B, T, H]``."""
        codes = self.codes[which[:, None], rows]
        probe = torch.arange(len(which))[:, None, None]
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

    def __init__(
        self, values: torch.Tensor, place: torch.Tensor, present: torch.Tensor, scales: tuple[float, ...] = ()
    ) -> None:
        self.scales = scales
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
    present = torch.from_numpy(np.stack([representation.present(table, m) for m in table.modalities]))
    scales = tuple(_scale(table, representation, layer, scale_rows) for layer in representation.layers)
    coded = representation.kind == "quantized" and all(table.codebook(k) is not None for k in representation.layers)
    if coded and lookup is not False:
        books, places, codes = _books(table, representation)
        cost = sum(len(book) * (b - a) for book, (a, b) in zip(books, places, strict=True))
        if lookup or cost < batch * table.steps * places[-1][1]:
            layer_scale = {a: scale for a, scale in zip(dict.fromkeys(a for a, _ in places), scales, strict=True)}
            tensors = [torch.from_numpy(book * layer_scale[a]) for book, (a, _) in zip(books, places, strict=True)]
            return LookupInputs(tensors, places, torch.from_numpy(codes), present, scales)
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
    return GatheredInputs(torch.from_numpy(np.stack(values)), torch.from_numpy(place), present, scales)


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
