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


def describe(outputs: list[LayerOutput]) -> dict[str, float]:
    """Return what a batch says about codes and features, named ``quantity/layer/modality``.

    Per modality: ``scale`` (root mean square) of the specific features, ``perplexity`` of the codes (of all stages
    together) and ``used``, the share of a stage's symbols that occur, averaged over stages. Per pair of modalities:
    ``agreement``, the share of clip-steps with equal codes.
    """
    found: dict[str, float] = {}
    for k, output in enumerate(outputs, 1):
        codes, masks, sizes = output.quantized.codes, output.masks or {}, output.quantized.sizes
        for m, specific in output.specific.items():
            valid = specific.detach()[masks[m]] if m in masks else specific.detach()
            if len(valid):
                found[f"scale/{k}/{m}"] = float(valid.square().mean().sqrt())
        if not sizes:  # the identity quantiser
            continue
        for i, m in enumerate(codes):
            valid = codes[m].flatten(0, 1)
            valid = valid[(valid >= 0).all(-1)]
            if not len(valid):  # a modality that this batch lacks has no codes to describe
                continue
            together = valid.unique(dim=0, return_inverse=True)[1]
            found[f"perplexity/{k}/{m}"] = float(perplexity(together, len(valid)))
            used = [len(valid[:, s].unique()) / size for s, size in enumerate(sizes)]
            found[f"used/{k}/{m}"] = sum(used) / len(used)
            for n in list(codes)[i + 1 :]:
                both = masks[m] & masks[n] if m in masks and n in masks else None
                if both is not None and not both.any():
                    continue
                found[f"agreement/{k}/{m}-{n}"] = float(agreement(codes[m], codes[n], both))
    return found


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
