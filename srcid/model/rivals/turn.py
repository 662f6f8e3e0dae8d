"""TURN's alignment stream (Zhao et al., NeurIPS 2022): grouped codes learned by gradient, masked cross reconstruction.

    L = L_code + L_con + L_rec
    L_code = ||sg f - Psi(f)||^2 + beta ||f - sg Psi(f)||^2       Psi: nearest code in each of the groups of f
    L_con  = InfoNCE between the clips' unquantised means, cosine / tau
    L_rec  = error at masked steps of x^m, rebuilt by attending to the other modalities' codes

What is deviated from: general encoders are those of the comparison; beta is not given in the paper (0.25 here); L_con,
printed for text to audio, takes all ordered pairs; a grid's masked steps are rebuilt as the mean over cells; its
adaptive sampling needs two domains and is left out. The paper quantises a clip's mean (``turn_level="clip"``); for
localisation every step is quantised with the same codebooks (``"step"``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from srcid.model.output import masked_mse
from srcid.model.quantizer import Parts, Quantizer, QuantizerError, nearest_codes
from srcid.model.rivals.layer import RivalLayer, info_nce, ordered_pairs, pooled, present
from srcid.model.share import Features, averaged, own
from srcid.params import Params


class GroupQuantizer(Quantizer):
    """The features' width is cut into groups, each with a codebook of its own that learns by gradient (no EMA).

    Args:
        groups: number of groups G; divides ``dim`` and ``size``.
        size: code vectors of all groups together, L.
        dim: width D.
        beta: weight of the second term of L_code.

    The commitment that it returns is L_code, with gradient to features and codebooks.
    """

    def __init__(self, groups: int, size: int, dim: int, beta: float) -> None:
        super().__init__(dim)
        if dim % groups or size % groups:
            raise QuantizerError(f"found {groups} groups, need a number that divides dim={dim} and size={size}")
        self.groups, self.beta = groups, beta
        self.codes = nn.Parameter(torch.randn(groups, size // groups, dim // groups))

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.codes.shape[1],) * self.groups

    @property
    def codebooks(self) -> Tensor:
        """Code vectors ``[G, L/G, D]``: each group fills its own part of the width, so that their sum is the value."""
        groups, size, width = self.codes.shape
        books = self.codes.new_zeros(groups, size, self.dim)
        for g, book in enumerate(self.codes.detach()):
            books[g, :, g * width : (g + 1) * width] = book
        return books

    def encode(self, x: Tensor) -> Tensor:
        parts = x.reshape(-1, self.groups, self.codes.shape[-1])
        found = [nearest_codes(parts[:, g], book)[1] for g, book in enumerate(self.codes.detach())]
        return torch.cat(found, -1).view(*x.shape[:-1], self.groups)

    def decode(self, codes: Tensor) -> Tensor:
        vectors = self._looked_up(codes.clamp_min(0))
        return torch.where((codes >= 0).all(-1, keepdim=True), vectors, 0.0)

    def nearest(self, x: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        """Of the first group, as residual quantisers answer for their first stage."""
        return nearest_codes(x[..., : self.codes.shape[-1]], self.codes[0].detach(), k)

    def _looked_up(self, codes: Tensor) -> Tensor:
        return torch.cat([book[codes[..., g]] for g, book in enumerate(self.codes)], -1)

    def _quantize(self, z: Tensor, valid: Tensor | None, with_logits: bool) -> Parts:
        codes = self.encode(z.detach())
        vectors = self._looked_up(codes)
        misfit = (vectors - z.detach()).square() + self.beta * (z - vectors.detach()).square()
        misfit = misfit.mean(-1)
        if valid is None:
            loss = misfit.mean((1, 2))
        else:
            loss = torch.where(valid, misfit, 0.0).sum((1, 2)) / valid.sum((1, 2)).clamp_min(1)
        return vectors.detach() + (z - z.detach()), codes, loss, None


class CrossReader(nn.Module):
    """Rebuilds steps of one modality from its unmasked rest and the codes of the others, by cross-attention."""

    def __init__(self, dim: int, features: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.TransformerDecoderLayer(dim, heads, 2 * dim, dropout, batch_first=True)
        self.output = nn.Linear(dim, features)

    def forward(self, query: Tensor, memory: Tensor, ignored: Tensor | None) -> Tensor:
        """Return ``[B, T, F]`` of queries ``[B, T, D]`` and codes ``[B, S, D]``; ``ignored`` bool ``[B, S]``."""
        return self.output(self.attention(query, memory, memory_key_padding_mask=ignored))


class TurnLayer(RivalLayer):
    """The layer of TURN; see the module for its losses."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], params: Params, index: int = 1) -> None:
        quantizer = GroupQuantizer(params.turn_groups, params.codebook_size, params.dim, params.beta)
        super().__init__(shapes, params, quantizer)
        self.reader = nn.ModuleDict(
            {m: CrossReader(params.dim, shape[-1], params.heads, params.dropout) for m, shape in shapes.items()}
        )

    def features(self, inputs: Features, masks: Features | None = None) -> tuple[dict[str, Tensor], ...]:
        read, general, specific = super().features(inputs, masks)
        if self.params.turn_level == "clip":
            means = pooled(general, masks or {})
            general = {m: means[m].unsqueeze(1).expand_as(z) for m, z in general.items()}
        return read, general, specific

    def objective(
        self, inputs: Features, general: dict[str, Tensor], quantized: dict[str, Tensor], masks: Features
    ) -> dict[str, Tensor]:
        means, contrast = pooled(general, masks), []
        for m, n in ordered_pairs(tuple(general)):
            rows = present(masks, m, n)
            left, right = (means[m], means[n]) if rows is None else (means[m][rows], means[n][rows])
            contrast.append(info_nce(left, right, self.params.contrast_temperature))
        ours, values = own(masks), own(quantized)
        errors, counts = {}, {}
        for m, x in inputs.items():
            name = f"recon/1/{m}"
            errors[name], counts[name] = self._rebuilt(m, x, values, ours)
        return {"contrast/1": sum(contrast), **averaged(errors, counts)}

    def _rebuilt(self, m: str, x: Tensor, quantized: Features, masks: Features) -> tuple[Tensor, Tensor]:
        """Return the error at steps of ``x`` that are masked here, rebuilt from the others' codes, and their number."""
        hidden = torch.rand(x.shape[:2], device=x.device) < self.params.turn_mask
        if m in masks:
            hidden = hidden & masks[m]
        seen = x.masked_fill(hidden.reshape(*hidden.shape, *[1] * (x.ndim - 2)), 0)
        where = positions(x.shape[1], self.params.dim).to(x)
        others = [n for n in quantized if n != m]
        memory = torch.cat([quantized[n] + where for n in others], 1)
        ignored = None
        if masks:
            whole = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
            known = torch.cat([masks.get(n, whole) for n in others], 1)
            ignored = ~known & known.any(1, keepdim=True)  # a clip without any attends to its padding
        query = self.general[m](seen, masks.get(m)) + where
        target = x if x.ndim == 3 else x.mean((2, 3))
        return masked_mse(self.reader[m](query, memory, ignored), target, hidden), hidden.sum()


def positions(steps: int, dim: int) -> Tensor:
    """Return sinusoidal positions ``[T, D]`` (Vaswani et al. 2017): without them a masked step knows no place."""
    angle = torch.arange(steps)[:, None] * torch.exp(-math.log(1e4) * torch.arange(0, dim, 2) / dim)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, :dim]
