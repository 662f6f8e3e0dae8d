"""CoDAAR (2026): a code is a row with one part for each modality; modalities keep their geometry and share the index.

A modality is assigned by the distance to its own part, and the whole row is read out: with M modalities, values are
M D wide. Each part moves by EMA with counts of its own: of what its modality assigned to a code, 0.6 times the
modality's own features plus 0.4 times the mean of the others at the same clip and step (0.2 each with three). After an
update the parts of a row are replaced by their mean, one after the other, which draws them together. Commitment is
2 beta to the own part and beta/2 to each other modality's own part. The method has CMCM on the distances to the parts
and CPC, and no CLUB. The straight-through gradient goes to the own part of the row alone [inferred].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from srcid.model.quantizer import NegativeDistance, Parts, Quantizer
from srcid.model.vector_quantizer import VectorQuantizer, Wait, draw_samples, mean_of_others, totals

OWN = 0.6  # share of the own features in an update


class RowQuantizer(Quantizer):
    """A codebook of rows, one part a modality.

    Args:
        modalities: names, in the order of the parts.
        size: rows L.
        dim: width D of a part.
        decay, epsilon, revival, revival_after, beta: as in :class:`srcid.model.vector_quantizer.VectorQuantizer`;
            an idle row restarts with all its parts at one clip and step.
    """

    def __init__(
        self,
        modalities: tuple[str, ...],
        size: int,
        dim: int,
        *,
        decay: float = 0.99,
        epsilon: float = 1e-5,
        revival: str = "reset",
        revival_after: int = 100,
        beta: float = 0.25,
    ) -> None:
        super().__init__(dim)
        self.modalities, self.size, self.beta = modalities, size, beta
        self.width = dim * len(modalities)
        self.revival_after = revival_after if revival == "reset" else None
        self.rows = nn.ModuleDict(
            {m: VectorQuantizer(size, dim, decay=decay, epsilon=epsilon, revival="off") for m in modalities}
        )
        self.register_buffer("idle", torch.zeros(size, dtype=torch.int64))
        self._wait = Wait(revival_after)

    def _load_from_state_dict(self, *arguments, **options) -> None:
        super()._load_from_state_dict(*arguments, **options)
        self._wait = Wait(self._wait.limit)

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.size,)

    @property
    def dtype(self) -> torch.dtype:
        return self.rows[self.modalities[0]].codebook.dtype

    @property
    def codebooks(self) -> Tensor:
        """Rows ``[1, L, M D]``."""
        return torch.cat([part.codebook for part in self.rows.values()], -1).unsqueeze(0)

    def of(self, modality: str) -> VectorQuantizer:
        """The part that assigns codes to ``modality``."""
        return self.rows[modality]

    def encode(self, x: Tensor) -> Tensor:
        raise NotImplementedError("codes are assigned by a modality's own part: ask of(modality)")

    def forward(self, features: dict[str, Tensor], masks: dict[str, Tensor] | None = None, *, with_logits=False):
        self._present = tuple(features)  # whose parts assign the stacked batch
        return super().forward(features, masks, with_logits=with_logits)

    def _quantize(self, z: Tensor, valid: Tensor | None, with_logits: bool) -> Parts:
        parts = [self.rows[m] for m in self._present]
        if self.training and not parts[0].placed:
            placed = self._restart(z.detach(), valid, torch.ones_like(self.idle, dtype=torch.bool))
            for part in parts:
                part.ready.fill_(placed)
        books = [part.codebook.clone() for part in parts]  # the update below moves them in place before backward
        logits = None
        if with_logits:
            flat = [NegativeDistance.apply(x.reshape(-1, self.dim), book) for x, book in zip(z, books, strict=True)]
            logits = torch.stack(flat).view(*z.shape[:-1], self.size)
        codes = torch.stack([part.encode(x)[..., 0] for part, x in zip(parts, z.detach(), strict=True)])
        row = torch.cat([part.codebook for part in self.rows.values()], -1)
        values = []
        for i, m in enumerate(self._present):
            start = self.modalities.index(m) * self.dim
            straight = nn.functional.pad(z[i] - z[i].detach(), (start, self.width - start - self.dim))
            values.append(row[codes[i]] + straight)
        own = torch.stack([book[code] for book, code in zip(books, codes, strict=True)])
        commitment = self._commitment(z, own, valid)
        if self.training:
            self._update(z.detach(), codes, valid)
        return torch.stack(values), codes.unsqueeze(-1), commitment, logits

    def _commitment(self, z: Tensor, own: Tensor, valid: Tensor | None) -> Tensor:
        """Return ``2 beta ||z^m - e^m||^2 + beta/2 sum over others n of ||z^m - e^n||^2`` of each modality, ``[M]``."""
        losses = []
        for i, x in enumerate(z):
            misfit = (x - own).square().mean(-1)  # [M, B, T]: to the part of each modality
            weight = misfit.new_full((len(z), 1, 1), self.beta / 2)
            weight[i] = 2 * self.beta
            if valid is not None:
                misfit = torch.where(valid & valid[i], misfit, 0.0)
            count = misfit[0].numel() if valid is None else valid[i].sum().clamp_min(1)
            losses.append((weight * misfit).sum() / count)
        return torch.stack(losses)

    # -------------------------------------------------------------------------------- state, without gradient

    @torch.no_grad()
    def _update(self, z: Tensor, codes: Tensor, valid: Tensor | None) -> None:
        others, count = mean_of_others(z, valid)
        mixed = torch.where(count.unsqueeze(-1) > 0, z.lerp(others, 1 - OWN), z)
        used = torch.zeros_like(self.idle, dtype=torch.bool)
        for i, m in enumerate(self._present):
            counts, sums = totals(codes[i], mixed[i], self.size, None if valid is None else valid[i])
            used |= counts > 0
            self.rows[m]._ema(counts, sums)
        some = used.any()  # in an empty batch nothing moves and nothing ages
        *first, last = self.rows.values()
        for part in (last, *first):
            mean = torch.stack([other.codebook for other in self.rows.values()]).mean(0)
            part.codebook.copy_(torch.where(some, mean, part.codebook))
        self.idle.add_(some).masked_fill_(used, 0)
        if self.revival_after and self._wait.over():
            stale = self.idle >= self.revival_after
            if stale.any():
                self._restart(z, valid, stale)
            self._wait.begin(self.idle)

    @torch.no_grad()
    def _restart(self, z: Tensor, valid: Tensor | None, rows: Tensor) -> bool:
        """Place ``rows`` (bool ``[L]``), all parts of a row at one clip and step; return whether the batch has any."""
        steps = z.permute(1, 2, 0, 3)[slice(None) if valid is None else valid.all(0)].reshape(-1, len(z) * self.dim)
        if not len(steps):
            return False
        drawn = draw_samples(steps, int(rows.sum()))
        for m, vectors in zip(self._present, drawn.split(self.dim, -1), strict=True):
            self.rows[m].codebook[rows] = vectors
            self.rows[m]._restart(rows)
        self.idle[rows] = 0
        return True
