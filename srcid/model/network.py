"""The semantic-residual layer, and SRCID as a chain of them.

One layer splits each modality into a general and a specific part, quantises the general part with a codebook
shared by all modalities, and is judged by the losses of Eq. 8 of the SRCID paper. Layer k+1 reads layer k's
*specific* features: what was not found to be shared is searched again for something shared.

    x_1 = features        z_k = general(x_k)      q_k = quantise(z_k)
    x_{k+1} = s_k         s_k = specific(x_k)     x_k ~ decode(q_k, s_k)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from srcid.model.alignment import CrossModalCPC, code_matching_loss
from srcid.model.encoders import (
    CodeMeans,
    LstmFrontend,
    NoisySpecific,
    Specific,
    decoder,
    general_encoder,
    rate,
    specific_encoder,
)
from srcid.model.mutual_information import Club
from srcid.model.output import LayerOutput, valid_steps, widened
from srcid.model.quantize import make_quantizer
from srcid.model.rivals.codis import CodisLayer
from srcid.model.rivals.turn import TurnLayer
from srcid.model.share import Features, averaged, own, whole
from srcid.params import Params


class SemanticResidualLayer(nn.Module):
    """One semantic-residual layer over any number of modalities.

    Args:
        shapes: per-step feature shape of each modality this layer reads: ``(F,)`` or ``(H, W, F)``.
        params: all options; see :class:`srcid.params.Params`.
        index: number of the layer, from 1. Only layer 1 has trained front ends.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], params: Params, index: int) -> None:
        super().__init__()
        self.index, self.params, self.modalities = index, params, tuple(shapes)
        self.frontend = nn.ModuleDict()
        if index == 1:
            for name in params.lstm_modalities:
                if name in shapes:
                    self.frontend[name] = LstmFrontend(shapes[name][-1], params.lstm_dim)
        read = {m: (params.lstm_dim,) if m in self.frontend else shapes[m] for m in shapes}
        rebuilt = read if params.lstm_target != "input" else dict(shapes)

        self.general = nn.ModuleDict({m: general_encoder(read[m], params) for m in shapes})
        width = {m: read[m][0] if index > 1 else None for m in shapes}  # later layers keep the width they read
        specific = {m: specific_encoder(read[m], params, width[m]) for m in shapes}
        coded = _with_code_width(params, len(shapes))
        self.decoder = nn.ModuleDict({m: decoder(rebuilt[m], specific[m], coded) for m in shapes})
        self.specific = nn.ModuleDict(
            {m: NoisySpecific(encoder) if params.specific_rate else encoder for m, encoder in specific.items()}
        )
        self.code_means = nn.ModuleDict()
        self.widths = {m: self.specific[m].width for m in shapes}
        self.quantizer = make_quantizer(params, params.dim, self.modalities)
        if params.specific_subtraction and self.quantizer.sizes:  # the identity quantiser has no codes
            size = self.quantizer.sizes[0]
            self.code_means.update({m: CodeMeans(size, width, params.decay) for m, width in self.widths.items()})
        self.cpc = CrossModalCPC(
            self.modalities, params.dim, params.cpc_horizon, params.cpc_depth, params.cpc_same_weight,
            params.cpc_negatives,
        )  # fmt: skip
        about = params.club_hidden, params.club_logvar, params.club_scale
        self.club = nn.ModuleDict({m: Club(params.dim, width, *about) for m, width in self.widths.items()})

    @property
    def matches_codes(self) -> bool:
        """Whether this layer has the code-matching loss."""
        return self.params.cmcm_weight > 0 and (self.params.cmcm_layers == "all" or self.index == 1)

    @property
    def watches_club(self) -> bool:
        """Whether CLUB is fitted here, be it as a loss or (``club_off``) only to be logged."""
        return self.params.club_weight > 0

    def features(self, inputs: Features, masks: Features | None = None) -> tuple[dict[str, Tensor], ...]:
        """Return (encoder inputs, general, specific) of the given modalities, without quantising.

        A subset of the layer's modalities is fine: this is how one modality alone is encoded.
        """
        masks = masks or {}
        read, general, specific = {}, {}, {}
        for m, x in inputs.items():
            mask = masks.get(m)
            read[m] = self.frontend[m](x, mask) if m in self.frontend else x
            general[m] = widened(self.general[m](read[m], mask))
            found = self.specific[m](read[m])
            specific[m] = Specific(found.full, widened(found.vector), found.deviation)
        return read, general, specific

    def relative(self, specific: Mapping[str, Specific], codes: Features) -> dict[str, Specific]:
        """Return the specific features less what the codes ``[B, T, S]`` predict of them, where asked for."""
        if not self.code_means:
            return dict(specific)
        return {m: s._replace(vector=s.vector - self.code_means[m](codes[m][..., 0])) for m, s in specific.items()}

    def forward(self, inputs: Features, masks: Features | None = None) -> LayerOutput:
        """Run the layer on a batch; in training mode the codebook takes its EMA update.

        Where processes share the batch, ``inputs`` are this one's clips and ``masks`` those of the whole batch.
        """
        ours = own(masks or {})
        read, general, found = self.features(inputs, ours)
        general = whole(general)
        quantized = self.quantizer(general, masks, with_logits=self.training and self.matches_codes)
        target = {m: x if self.params.target_grad or self.index == 1 else x.detach() for m, x in inputs.items()}
        for m in self.frontend:
            if self.params.lstm_target != "input":
                target[m] = read[m] if self.params.lstm_target == "trainable" else read[m].detach()
        if self.training and self.code_means:
            for m, vectors in whole({m: s.vector.detach() for m, s in found.items()}).items():
                self.code_means[m].learn(vectors, quantized.codes[m][..., 0], (masks or {}).get(m))
        found = self.relative(found, own(quantized.codes))
        specific = {m: s.draw() for m, s in found.items()}
        full = {m: s.full if self.params.grid_specific == "map" else specific[m] for m, s in found.items()}
        values = own(quantized.quantized)
        reconstruction = {m: self.decoder[m](values[m], full[m]) for m in inputs}
        noisy = {m: s for m, s in found.items() if s.deviation is not None}
        rates = averaged(
            {m: rate(s, ours.get(m)) for m, s in noisy.items()},
            {m: valid_steps(s.vector, ours.get(m)) for m, s in noisy.items()},
        )
        passed = specific if self.training else {m: s.vector for m, s in found.items()}
        return LayerOutput(target, general, whole(specific), rates, quantized, reconstruction, masks, passed=passed)

    def parts(self) -> list[nn.Module]:
        """The modules whose gradient norms are clipped one by one when ``clip="module"``."""
        groups = (self.frontend, self.general, self.specific, self.decoder)
        return [module for group in groups for module in group.values()] + [self.quantizer, self.cpc]

    def club_pairs(self, output: LayerOutput) -> dict[str, tuple[Tensor, Tensor]]:
        """Return, per modality, the (conditioning, predicted) features between which CLUB bounds information."""
        source = output.general if self.params.club_input == "general" else output.quantized.quantized
        return {m: (source[m], output.specific[m]) for m in output.specific}

    def losses(self, output: LayerOutput) -> dict[str, Tensor]:
        """Return this layer's unweighted losses, named ``quantity/layer[/modality]``.

        ``mi`` is the CLUB bound in nats. Where ``club_off`` names this layer it carries no gradient.
        """
        p, k, masks = self.params, self.index, output.masks or {}
        losses = {f"recon/{k}/{m}": error for m, error in output.errors().items()}
        losses |= {f"commit/{k}/{m}": value for m, value in output.quantized.commitment.items()}
        if output.quantized.logits is not None:
            losses[f"cmcm/{k}"] = code_matching_loss(output.quantized.logits, output.masks, p.cmcm_form)
        losses |= {f"rate/{k}/{m}": value for m, value in output.rate.items()}
        if p.cpc_weight > 0:
            losses[f"cpc/{k}"] = self.cpc(output.general, masks=output.masks)
        if self.watches_club:
            for m, (x, y) in self.club_pairs(output).items():
                x = x if p.club_side in ("both", "general") else x.detach()
                y = y if p.club_side in ("both", "specific") else y.detach()
                with torch.set_grad_enabled(torch.is_grad_enabled() and k not in p.club_off):
                    losses[f"mi/{k}/{m}"] = self.club[m].estimate(x, y, masks.get(m), estimator=p.club_estimator)
        return losses


LAYERS = {"srcid": SemanticResidualLayer, "turn": TurnLayer, "codis": CodisLayer}
"""What a method's layers are; the rivals have one."""


class SRCID(nn.Module):
    """Semantic Residual Cross-modal Information Disentanglement: K layers, each reading the last one's residue.

    Args:
        shapes: per-step feature shape of each modality, ``(F,)`` or ``(H, W, F)``; two modalities or more.
        params: all options. ``layers=1`` is DCID.

    Example:
        >>> from srcid.params import resolve
        >>> net = SRCID({"a": (8,), "b": (6,)}, resolve("demo"))
        >>> outputs = net({"a": torch.randn(4, 10, 8), "b": torch.randn(4, 10, 6)})
        >>> outputs[1].quantized.codes["a"].shape
        torch.Size([4, 10, 1])
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], params: Params) -> None:
        super().__init__()
        if len(shapes) < 2:
            raise ValueError(f"found {len(shapes)} modality, need 2 or more: {list(shapes)}")
        unknown = [m for m in params.lstm_modalities if m in shapes and len(shapes[m]) > 1]
        if unknown:
            raise ValueError(f"lstm_modalities names grids {unknown}; an LSTM front end reads vectors only")
        self.shapes, self.params = dict(shapes), params
        self.layers = nn.ModuleList()
        for index in range(1, params.layers + 1):
            layer = LAYERS[params.method](shapes, params, index)
            self.layers.append(layer)
            shapes = {m: (width,) for m, width in layer.widths.items()}

    def residual(self, specific: Features) -> dict[str, Tensor]:
        """Return the next layer's input made of this layer's specific features."""
        if self.params.residual_detach:
            specific = {m: s.detach() for m, s in specific.items()}
        if self.params.residual_norm == "layer":
            specific = {m: functional.layer_norm(s, s.shape[-1:]) for m, s in specific.items()}
        return dict(specific)

    def forward(self, inputs: Features, masks: Features | None = None, layers: int | None = None) -> list[LayerOutput]:
        """Run the first ``layers`` layers (all by default) on a batch of ``[B, T, ...]`` features.

        Where processes share the batch, ``inputs`` are this one's clips and ``masks`` those of the whole batch.
        """
        inputs, masks = self._masked(inputs, masks)
        outputs: list[LayerOutput] = []
        for layer in self.layers[:layers]:
            outputs.append(layer(inputs, masks))
            inputs = self.residual(outputs[-1].passed)
        return outputs

    def encode(self, inputs: Features, masks: Features | None = None) -> Iterator[tuple[nn.Module, dict, dict]]:
        """Yield (layer, general, specific) of every layer for the given modalities; no codebook is touched."""
        inputs, masks = self._masked(inputs, masks)
        for layer in self.layers:
            _, general, specific = layer.features(inputs, masks)
            if specific and layer.code_means:
                specific = layer.relative(specific, {m: layer.quantizer.of(m).encode(z) for m, z in general.items()})
            yield layer, general, specific
            inputs = self.residual({m: s.vector for m, s in specific.items()})

    def _masked(self, inputs: Features, masks: Features | None) -> tuple[dict[str, Tensor], Features | None]:
        """Return inputs whose padded steps are zeros, whatever stood there (NaN too), and the masks that count."""
        if self.params.padding != "masked" or not masks:
            return dict(inputs), None
        ours = own(masks)
        return {
            m: torch.where(ours[m].reshape(*ours[m].shape, *[1] * (x.ndim - 2)), x, 0.0) if m in ours else x
            for m, x in inputs.items()
        }, masks

    def losses(self, outputs: list[LayerOutput]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted total (Eq. 8) and its unweighted parts."""
        parts: dict[str, Tensor] = {}
        for layer, output in zip(self.layers, outputs, strict=False):
            parts.update(layer.losses(output))
        total = sum(self.weight(name) * value for name, value in parts.items())
        return total, parts

    def weight(self, name: str) -> float:
        """Return the weight with which the loss ``quantity/layer[/modality]`` enters the total."""
        p, quantity, layer = self.params, name.split("/")[0], int(name.split("/")[1])
        of_layer = p.layer_weights[min(layer, len(p.layer_weights)) - 1] if p.layer_weights else 1.0
        if quantity == "mi":
            return 0.0 if layer in p.club_off else of_layer * p.club_weight
        return of_layer * (p.specific_rate if quantity == "rate" else getattr(p, f"{quantity}_weight"))

    def club_parameters(self) -> list[nn.Parameter]:
        """Parameters of the CLUB estimators, which have an optimiser of their own."""
        return [p for layer in self.layers for p in layer.club.parameters()]

    def main_parameters(self) -> list[nn.Parameter]:
        """All other trained parameters."""
        club = {id(p) for p in self.club_parameters()}
        return [p for p in self.parameters() if p.requires_grad and id(p) not in club]

    def modules_to_clip(self) -> list[nn.Module]:
        """The modules whose gradient norms are clipped one by one when ``clip="module"``."""
        found = [module for layer in self.layers for module in layer.parts()]
        return [module for module in found if next(module.parameters(), None) is not None]


def _with_code_width(params: Params, modalities: int) -> Params:
    """Return parameters whose ``dim`` is the width of a quantised value: CoDAAR reads out a part a modality."""
    return params.model_copy(update={"dim": modalities * params.dim}) if params.quantizer == "codaar" else params
