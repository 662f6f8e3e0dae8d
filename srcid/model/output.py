"""What a layer makes of a batch, and the few functions on it that every method needs."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from srcid.model.quantizer import Quantized
from srcid.model.share import Features, averaged, own


@dataclass(frozen=True)
class LayerOutput:
    """What one layer makes of a batch; each dict maps a modality to a tensor.

    Where several processes share the batch (:mod:`srcid.model.share`) all of this is of the whole batch, but for
    ``target``, ``reconstruction`` and ``passed``, which are of this process's clips.

    Attributes:
        target: what the layer reconstructs, ``[B, T, ...]``.
        general: modality-general features z, ``[B, T, D]``.
        specific: modality-specific features s ``[B, T, W]``: what decoder, CLUB and the next layer read; empty for
            methods that have none.
        rate: nats a step by which s can tell anything of the input, where s is noisy; empty otherwise.
        quantized: the quantiser's result, codes included.
        reconstruction: the decoder's output, shaped as ``target``.
        masks: valid steps ``[B, T]``, or None when every step counts.
        losses: what a method computed on the way, by the names that its ``losses`` returns.
        passed: what the next layer reads: s; in evaluation its mean, so that codes are functions of the clip.
    """

    target: dict[str, Tensor]
    general: dict[str, Tensor]
    specific: dict[str, Tensor]
    rate: dict[str, Tensor]
    quantized: Quantized
    reconstruction: dict[str, Tensor]
    masks: Features | None
    losses: dict[str, Tensor] = field(default_factory=dict)
    passed: dict[str, Tensor] = field(default_factory=dict)

    def errors(self) -> dict[str, Tensor]:
        """Return the mean squared error of each reconstruction over the valid steps of the whole batch."""
        masks = own(self.masks or {})
        errors = {m: masked_mse(self.reconstruction[m], x, masks.get(m)) for m, x in self.target.items()}
        return averaged(errors, {m: valid_steps(x, masks.get(m)) for m, x in self.target.items()})


def widened(x: Tensor) -> Tensor:
    """Return ``x`` with at least float32: what autocast halved is halved no further downstream."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def valid_steps(x: Tensor, mask: Tensor | None) -> Tensor | int:
    """Return how many steps of ``x [B, T, ...]`` count."""
    return len(x) * x.shape[1] if mask is None else mask.sum()


def masked_mse(prediction: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    """Mean squared error over the valid steps; ``mask`` is ``[B, T]`` or None."""
    prediction = widened(prediction)
    if mask is None:
        return functional.mse_loss(prediction, target)
    errors = (prediction - target).square().flatten(2).mean(-1)
    return torch.where(mask, errors, 0.0).sum() / mask.sum().clamp(min=1)
