"""Quantisers by name: the entry to vector, residual, scalar and identity quantisation.

>>> import torch
>>> quantizer = VectorQuantizer(size=8, dim=4)
>>> result = quantizer({"left": torch.randn(2, 3, 4), "right": torch.randn(2, 3, 4)})
>>> result.quantized["left"].shape, result.codes["left"].shape
(torch.Size([2, 3, 4]), torch.Size([2, 3, 1]))
"""

from __future__ import annotations

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
    "fsq_levels",
    "make_quantizer",
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
        metric=params.codebook_metric,
        assignment=params.assignment,
    )
    if params.quantizer == "rvq":
        options |= dict(stage_commitment=params.stage_commitment, zero_code=params.zero_code)
        return ResidualQuantizer(params.stages, params.codebook_size, dim, **options)
    return VectorQuantizer(params.codebook_size, dim, **options)
