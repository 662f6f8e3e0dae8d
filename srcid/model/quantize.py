"""Quantisers by name, and what codes say: the entry to vector, residual, scalar and identity quantisation.

>>> quantizer = VectorQuantizer(size=8, dim=4)
>>> result = quantizer({"left": torch.randn(2, 3, 4), "right": torch.randn(2, 3, 4)})
>>> result.quantized["left"].shape, result.codes["left"].shape
(torch.Size([2, 3, 4]), torch.Size([2, 3, 1]))
"""

from __future__ import annotations

import torch
from torch import Tensor

from srcid.model.quantizer import IdentityQuantizer, Quantized, Quantizer, QuantizerError
from srcid.model.rivals.codaar import RowQuantizer
from srcid.model.scalar_quantizer import FiniteScalarQuantizer, fsq_levels
from srcid.model.vector_quantizer import ResidualQuantizer, VectorQuantizer
from srcid.params import LIBRARY_QUANTIZERS, QuantizerParams

__all__ = [
    "FiniteScalarQuantizer",
    "IdentityQuantizer",
    "Quantized",
    "Quantizer",
    "QuantizerError",
    "ResidualQuantizer",
    "VectorQuantizer",
    "agreement",
    "fsq_levels",
    "make_quantizer",
    "perplexity",
]


def make_quantizer(params: QuantizerParams, dim: int, modalities: tuple[str, ...] = ()) -> Quantizer:
    """Return the quantiser that ``params`` describe, for features of width ``dim``.

    ``modalities`` are asked for by codebooks that have a part for each.
    """
    if params.quantizer == "identity":
        return IdentityQuantizer(dim)
    if params.quantizer == "fsq":
        levels = params.fsq_levels or fsq_levels(params.codebook_size)
        return FiniteScalarQuantizer(dim, levels, params.fsq_projection)
    if params.quantizer in LIBRARY_QUANTIZERS:
        from srcid.model.library_quantizer import KINDS

        return KINDS[params.quantizer](params, dim)
    if params.quantizer == "codaar":
        return RowQuantizer(
            modalities,
            params.codebook_size,
            dim,
            decay=params.decay,
            epsilon=params.ema_epsilon,
            revival=params.revival,
            revival_after=params.revival_after,
            beta=params.beta,
        )
    options = dict(
        decay=params.decay,
        epsilon=params.ema_epsilon,
        order=params.ema_order,
        repeats=params.ema_repeats,
        idle=params.ema_idle,
        partner=params.ema_partner,
        init=params.codebook_init,
        revival=params.revival,
        revival_after=params.revival_after,
        beta=params.beta,
        commitment=params.commitment,
    )
    if params.quantizer == "rvq":
        options |= dict(stage_commitment=params.stage_commitment, zero_code=params.zero_code)
        return ResidualQuantizer(params.stages, params.codebook_size, dim, **options)
    return VectorQuantizer(params.codebook_size, dim, **options)


def perplexity(codes: Tensor, size: int) -> Tensor:
    """Return exp(entropy) of the use of ``size`` codes; codes of any shape, negative ones (padding) left out.

    Between 1 (one code) and ``size`` (all alike); 0 when there is no code at all.
    """
    codes = codes[codes >= 0]
    if not codes.numel():
        return torch.zeros(())
    shares = torch.bincount(codes, minlength=size).double() / codes.numel()
    return torch.special.entr(shares).sum().exp()


def agreement(codes_m: Tensor, codes_n: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the share of steps at which two modalities have the same code(s).

    Args:
        codes_m, codes_n: ``[B, T, S]``; all S must be equal. Steps with a negative code are left out.
        mask: bool ``[B, T]``, the steps to look at; None: all.
    """
    valid = (codes_m >= 0).all(-1) & (codes_n >= 0).all(-1)
    if mask is not None:
        valid = valid & mask
    same = (codes_m == codes_n).all(-1) & valid
    return same.sum() / valid.sum().clamp_min(1)
