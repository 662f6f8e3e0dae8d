"""What the rivals share: general encoders, a quantiser, and clips as vectors that are told apart.

A rival has one layer and no specific features; trainer, checkpoint and code table read it as they read
:class:`srcid.model.network.SemanticResidualLayer`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from srcid.model.encoders import general_encoder
from srcid.model.output import LayerOutput, widened
from srcid.model.quantizer import Quantizer
from srcid.model.share import Features, own, whole
from srcid.params import Params


class RivalLayer(nn.Module):
    """One layer that aligns general features and quantises them; subclasses add their losses.

    Args:
        shapes: per-step feature shape of each modality.
        params: all options.
        quantizer: what makes codes of the general features.
    """

    index: ClassVar[int] = 1
    watches_club: ClassVar[bool] = False

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], params: Params, quantizer: Quantizer) -> None:
        super().__init__()
        self.params, self.modalities = params, tuple(shapes)
        self.general = nn.ModuleDict({m: general_encoder(shape, params) for m, shape in shapes.items()})
        self.quantizer = quantizer
        self.club, self.widths = nn.ModuleDict(), {}

    def features(self, inputs: Features, masks: Features | None = None) -> tuple[dict[str, Tensor], ...]:
        """Return (inputs, general, nothing) of the given modalities; the last for the specific features of others."""
        masks = masks or {}
        general = {m: widened(self.general[m](x, masks.get(m))) for m, x in inputs.items()}
        return dict(inputs), general, {}

    def forward(self, inputs: Features, masks: Features | None = None) -> LayerOutput:
        """Run the layer on a batch; losses are computed in training mode.

        Where processes share the batch, ``inputs`` are this one's clips and ``masks`` those of the whole batch.
        """
        _, general, _ = self.features(inputs, own(masks or {}))
        general = whole(general)
        quantized = self.quantizer(general, masks)
        losses = self.objective(inputs, general, quantized.quantized, masks or {}) if self.training else {}
        losses |= {f"commit/1/{m}": value for m, value in quantized.commitment.items()}
        return LayerOutput({}, general, {}, {}, quantized, {}, masks, losses)

    def objective(
        self, inputs: Features, general: dict[str, Tensor], quantized: dict[str, Tensor], masks: Features
    ) -> dict[str, Tensor]:
        """Return the method's own losses, named ``quantity/1[/modality]``.

        Where processes share the batch, ``inputs`` are this one's clips and all else is of the whole batch.
        """
        raise NotImplementedError

    def losses(self, output: LayerOutput) -> dict[str, Tensor]:
        """Return the unweighted losses."""
        return output.losses

    def club_pairs(self, output: LayerOutput) -> dict[str, tuple[Tensor, Tensor]]:
        """Nothing: there are no specific features to tell from general ones."""
        return {}

    def parts(self) -> list[nn.Module]:
        """The modules whose gradient norms are clipped one by one when ``clip="module"``."""
        own = [module for name, module in self.named_children() if name != "general"]
        return [*self.general.values(), *own]


def pooled(features: Features, masks: Features) -> dict[str, Tensor]:
    """Return the mean ``[B, D]`` over the valid steps of ``{m: [B, T, D]}``; zeros where a clip has none."""
    found = {}
    for m, z in features.items():
        if m in masks:
            weight = masks[m].unsqueeze(-1).to(z.dtype)
            found[m] = torch.where(masks[m].unsqueeze(-1), z, 0.0).sum(1) / weight.sum(1).clamp_min(1)
        else:
            found[m] = z.mean(1)
    return found


def present(masks: Features, *modalities: str) -> Tensor | None:
    """Return which clips ``[B]`` have a valid step in each of ``modalities``; None: all."""
    known = [masks[m].any(1) for m in modalities if m in masks]
    return torch.stack(known).all(0) if known else None


def ordered_pairs(modalities: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return all pairs of two different modalities, in both orders."""
    return list(itertools.permutations(modalities, 2))


def info_nce(anchors: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Return InfoNCE of ``[B, D]`` against ``[B, D]``: cosine over ``temperature``, the same clip is positive."""
    if not len(anchors):
        return anchors.sum() + targets.sum()
    scores = functional.normalize(anchors, dim=-1) @ functional.normalize(targets, dim=-1).mT / temperature
    return functional.cross_entropy(scores, torch.arange(len(scores), device=scores.device))
