"""Encoders and decoders of one modality at one layer: general, specific, and the way back.

Each factory takes the per-step shape of the modality, ``(F,)`` or ``(H, W, F)``, and the parameters:

    general_encoder   [B, T, *shape]          -> [B, T, D]
    specific_encoder  [B, T, *shape]          -> Specific(full, vector [B, T, W])
    decoder           q [B, T, D], specific   -> [B, T, *shape]

The decoder reads the vector, as CLUB and the next layer do; only ``grid_specific="map"`` (published) lets the
decoder of a grid read the map (``full``) behind it.

Masks are bool ``[B, T]``, True where a step is valid. Padded steps come out of general encoders and front
ends as zeros and change nothing for the others. Specific encoders and decoders see each step alone: no masks.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from srcid.model.grids import ConvDecoder, ConvSpecific, GridSpecific, LightDecoder, LightSpecific, Specific, plain_norm
from srcid.model.vector_quantizer import totals
from srcid.params import ModelParams

__all__ = ["LstmFrontend", "Specific", "decoder", "general_encoder", "specific_encoder"]

Shape = tuple[int, ...]


class GridPooling(nn.Module):
    """A grid to one vector: squeeze-and-excite gate on channels, then spatial attention guided by the mean.

        g = sigmoid(W2 relu(W1 mean(x)))              v = x * (1 + g)
        a = softmax over cells of u . tanh(Ws v + Wm mean(v))       out = sum over cells of a v

    Args:
        features: channels F.
        attention: ``softmax`` over the cells, or ``sum``: the published softmax runs over an axis of length
            1, so that all weights are 1 and the attention's parameters never learn.
    """

    def __init__(self, features: int, attention: str = "softmax") -> None:
        super().__init__()
        squeezed, hidden = max(1, features // 8), max(1, features // 2)
        narrow, wide = nn.Linear(features, squeezed, bias=False), nn.Linear(squeezed, features, bias=False)
        self.gate = nn.Sequential(narrow, nn.ReLU(), wide, nn.Sigmoid())
        self.guide, self.cell = nn.Linear(features, hidden), nn.Linear(features, hidden)
        self.score = nn.Linear(hidden, 1)
        self.axis = -2 if attention == "softmax" else -1

    def weights(self, cells: Tensor) -> Tensor:
        """Return the attention ``[..., P, 1]`` over the gated cells ``[..., P, F]``."""
        guide = self.guide(cells.mean(-2, keepdim=True))
        return self.score(torch.tanh(self.cell(cells) + guide)).softmax(self.axis)

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``[..., H, W, F]`` to ``[..., F]``."""
        cells = x.flatten(-3, -2)
        cells = cells * (1 + self.gate(cells.mean(-2, keepdim=True)))
        return (self.weights(cells).mT @ cells).squeeze(-2)


class TemporalEncoder(nn.Module):
    """Linear to D, then transformer encoder layers over time (post-norm, ReLU, no positional encoding).

    Args:
        features: input width F.
        dim: output width D.
        depth: transformer layers; with 0 only the linear map is left.
        heads: attention heads; divides ``dim``.
        feedforward: width of the feed-forward part.
        dropout: dropout inside the transformer layers.
    """

    def __init__(self, features: int, dim: int, depth: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(features, dim)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(dim, heads, feedforward, dropout, batch_first=True) for _ in range(depth)
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode ``[B, T, F]`` to ``[B, T, D]``."""
        x = self.linear(x)
        # A clip without any valid step attends to its padding: a softmax over nothing would be NaN.
        ignored = None if mask is None else ~mask & mask.any(1, keepdim=True)
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=ignored)
        return x if mask is None else x.masked_fill(~mask[..., None], 0)


class LocalEncoder(nn.Module):
    """Linear map of the steps within a short window to D, then blocks that see one step: no attention.

        x <- LayerNorm(x + W2 relu(W1 x))

    An attention without positions lets every step average its clip, so that codes name clips; here a code can
    only say what happens within ``window`` steps around its own.

    Args:
        features: input width F.
        dim: output width D.
        depth: number of blocks.
        window: steps that the first map reads, an odd number; 1: the step alone.
        feedforward: hidden width of a block.
        dropout: dropout inside the blocks.
    """

    def __init__(self, features: int, dim: int, depth: int, window: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.reach = window // 2
        self.linear = nn.Linear(window * features, dim)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(dim, feedforward),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(feedforward, dim),
                nn.Dropout(dropout),
            )
            for _ in range(depth)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(depth))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode ``[B, T, F]`` to ``[B, T, D]``; beyond the ends of a clip, and where padded, stand zeros."""
        if self.reach:
            x = x if mask is None else torch.where(mask[..., None], x, 0.0)
            x = functional.pad(x, (0, 0, self.reach, self.reach)).unfold(1, 2 * self.reach + 1, 1).flatten(2)
        x = self.linear(x)
        for block, norm in zip(self.blocks, self.norms, strict=True):
            x = norm(x + block(x))
        return x if mask is None else torch.where(mask[..., None], x, 0.0)


class GridEncoder(nn.Module):
    """General encoder of a grid: :class:`GridPooling`, then the encoder of a vector."""

    def __init__(self, pooling: GridPooling, temporal: TemporalEncoder | LocalEncoder) -> None:
        super().__init__()
        self.pooling, self.temporal = pooling, temporal

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode ``[B, T, H, W, F]`` to ``[B, T, D]``."""
        return self.temporal(self.pooling(x), mask)


class VectorSpecific(nn.Module):
    """Specific encoder of a vector modality: ``relu(linear(x))``, optionally layer-normalised.

    Attributes:
        width: width of the vector; ``full`` is the same tensor.
    """

    def __init__(self, features: int, width: int, params: ModelParams) -> None:
        super().__init__()
        self.width = width
        self.linear = nn.Linear(features, width)
        self.norm = plain_norm(width, params)

    def forward(self, x: Tensor) -> Specific:
        """Encode ``[B, T, F]`` to ``[B, T, W]``, twice the same."""
        vector = self.norm(functional.relu(self.linear(x)))
        return Specific(vector, vector)


class NoisySpecific(nn.Module):
    """Specific features with noise: ``s = mu(h) + sigma(h) e``, e ~ N(0, 1), on top of a specific encoder's h.

    General and specific features are functions of one input, so that their mutual information is infinite in
    general and what CLUB reports is a matter of scale. Noise makes the question finite, and answers it from
    above: I(z; s) <= I(x; s) <= E KL( N(mu, sigma^2) || N(0, 1) ), the *rate* (Alemi et al. 2017), for any z
    that is computed from x.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.width = encoder, encoder.width
        self.head = nn.Linear(self.width, 2 * self.width)
        with torch.no_grad():  # little noise at first: a feature that drowns before it is used is never used
            self.head.bias[self.width :] = -2.0

    def forward(self, x: Tensor) -> Specific:
        """Encode to mean and standard deviation, each ``[B, T, W]``."""
        mean, raw = self.head(self.encoder(x).vector).chunk(2, -1)
        deviation = (5 * torch.tanh(raw / 5)).exp()  # within e^5 and e^-5: neither overflows nor dies
        return Specific(mean, mean, deviation)


class CodeMeans(nn.Module):
    """Running mean of features per code, E[s | code], moved like a codebook: without gradient, by EMA.

    Subtracted from s it leaves what the code does not predict: the "minus" between a feature and its code that
    gives the semantic residual its name, of first order.
    """

    def __init__(self, size: int, width: int, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("counts", torch.zeros(size))
        self.register_buffer("sums", torch.zeros(size, width))

    @torch.no_grad()
    def learn(self, features: Tensor, codes: Tensor, mask: Tensor | None = None) -> None:
        """Move the means towards those of a batch: features ``[B, T, W]``, codes ``[B, T]``."""
        counts, sums = totals(codes, features, len(self.counts), mask)
        self.counts.mul_(self.decay).add_(counts, alpha=1 - self.decay)
        self.sums.mul_(self.decay).add_(sums, alpha=1 - self.decay)

    def forward(self, codes: Tensor) -> Tensor:
        """Return E[s | code] ``[B, T, W]`` for codes ``[B, T]``; zero for a code never met."""
        return (self.sums / self.counts.clamp_min(1e-6)[:, None])[codes.clamp_min(0)]


def rate(specific: Specific, mask: Tensor | None = None) -> Tensor:
    """Return E KL( N(mu, sigma^2) || N(0, 1) ) in nats a step, over the valid steps."""
    mean, deviation = specific.vector, specific.deviation
    steps = 0.5 * (mean.square() + deviation.square() - 1 - 2 * deviation.log()).sum(-1)
    return steps.mean() if mask is None else torch.where(mask, steps, 0.0).sum() / mask.sum().clamp_min(1)


class VectorDecoder(nn.Module):
    """``linear([linear(q), s])``."""

    def __init__(self, features: int, width: int, dim: int) -> None:
        super().__init__()
        self.code = nn.Linear(dim, width)
        self.output = nn.Linear(2 * width, features)

    def forward(self, quantized: Tensor, full: Tensor) -> Tensor:
        """Reconstruct ``[B, T, F]`` from ``[B, T, D]`` and ``[B, T, W]``."""
        return self.output(torch.cat([self.code(quantized), full], -1))


class FlatSpecific(nn.Module):
    """Specific encoder of a grid whose cells need not resemble each other: two layers over all cells at once."""

    def __init__(self, shape: Shape, params: ModelParams) -> None:
        super().__init__()
        self.width = params.pooled_dim
        self.hidden = nn.Linear(math.prod(shape), 2 * self.width)
        self.output = nn.Linear(2 * self.width, self.width)
        self.norm = plain_norm(self.width, params)

    def forward(self, x: Tensor) -> Specific:
        """Encode ``[B, T, H, W, F]`` to ``[B, T, W]``, twice the same."""
        vector = self.norm(self.output(functional.relu(self.hidden(x.flatten(2)))))
        return Specific(vector, vector)


class Unflattened(nn.Module):
    """A decoder of vectors whose output is a grid of ``shape``."""

    def __init__(self, decoder: nn.Module, shape: Shape) -> None:
        super().__init__()
        self.decoder, self.shape = decoder, shape

    def forward(self, quantized: Tensor, specific: Tensor) -> Tensor:
        """Reconstruct ``[B, T, H, W, F]`` from ``[B, T, D]`` and ``[B, T, W]``."""
        return self.decoder(quantized, specific).unflatten(-1, self.shape)


class ModulatedDecoder(nn.Module):
    """Two hidden layers over s; the code scales and shifts the first (FiLM, Perez et al. 2018).

        relu(W3 relu(W2 relu((1 + A q) * (W1 s) + B q)))  without the last ReLU

    A linear decoder can only add what the code says, so that s has to repeat it wherever its effect is not
    additive; here s can be what the code leaves open.
    """

    def __init__(self, features: int, width: int, dim: int) -> None:
        super().__init__()
        hidden = 2 * max(width, dim)
        self.specific, self.modulation = nn.Linear(width, hidden), nn.Linear(dim, 2 * hidden)
        self.output = nn.Sequential(nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, features))

    def forward(self, quantized: Tensor, specific: Tensor) -> Tensor:
        """Reconstruct ``[B, T, F]`` from ``[B, T, D]`` and ``[B, T, W]``."""
        scale, shift = self.modulation(quantized).chunk(2, -1)
        return self.output((1 + scale) * self.specific(specific) + shift)


class GridFromVector(nn.Module):
    """Decoder of a grid that starts from the vector s: a head makes the map ``[h, w, C]`` that ``grid`` decodes."""

    def __init__(self, head: nn.Module, grid: nn.Module, cells: Shape) -> None:
        super().__init__()
        self.head, self.grid, self.cells = head, grid, cells

    def forward(self, quantized: Tensor, specific: Tensor) -> Tensor:
        """Reconstruct ``[B, T, H, W, F]`` from ``[B, T, D]`` and ``[B, T, W]``."""
        return self.grid(quantized, functional.relu(self.head(quantized, specific)).unflatten(-1, self.cells))


class LstmFrontend(nn.Module):
    """Two-layer bidirectional LSTM over the steps, trained with the rest (text at paper scale: 768 to 256).

    Args:
        features: input width F.
        width: output width of both directions together; even.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        if width % 2:
            raise ValueError(f"found an LSTM width of {width}, need an even one: both directions share it")
        self.lstm = nn.LSTM(features, width // 2, 2, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode ``[B, T, F]`` to ``[B, T, width]``; padded steps are skipped, wherever they stand."""
        if mask is None:
            return self.lstm(x)[0]
        # Valid steps first, in their order: an LSTM packs prefixes only.
        order = mask.int().argsort(dim=1, descending=True, stable=True)[..., None]
        lengths = mask.sum(1).clamp(min=1).cpu()
        packed = pack_padded_sequence(x.take_along_dim(order, 1), lengths, batch_first=True, enforce_sorted=False)
        y, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=x.shape[1])
        return y.take_along_dim(order.argsort(dim=1), 1).masked_fill(~mask[..., None], 0)


def general_encoder(shape: Shape, params: ModelParams) -> TemporalEncoder | LocalEncoder | GridEncoder:
    """Return the module ``(x [B, T, *shape], mask [B, T] or None) -> [B, T, dim]``."""
    checked(shape)
    feedforward = max(1, round(params.feedforward * params.dim))
    kind, spread = (
        (TemporalEncoder, params.heads) if params.general_encoder == "transformer" else (LocalEncoder, params.window)
    )
    temporal = kind(shape[-1], params.dim, params.encoder_depth, spread, feedforward, params.dropout)
    return temporal if len(shape) == 1 else GridEncoder(GridPooling(shape[-1], params.grid_attention), temporal)


def specific_encoder(shape: Shape, params: ModelParams, width: int | None = None) -> nn.Module:
    """Return the module ``x [B, T, *shape] -> Specific``; its ``width`` is that of the vector.

    ``width`` replaces ``params.specific_dim`` for vectors (layers 2 and later keep the width of what they
    read); a grid's is ``params.pooled_dim``.
    """
    checked(shape)
    if len(shape) == 1:
        return VectorSpecific(shape[0], width or params.specific_dim, params)
    return {"light": LightSpecific, "conv": ConvSpecific, "flat": FlatSpecific}[params.grid_encoder](shape, params)


def decoder(shape: Shape, specific: VectorSpecific | GridSpecific, params: ModelParams) -> nn.Module:
    """Return the module ``(quantized [B, T, dim], specific) -> [B, T, *shape]`` that undoes ``specific``."""
    checked(shape)
    if isinstance(specific, VectorSpecific):
        if len(shape) != 1:
            raise ValueError(f"found a vector encoder and a target of shape {shape}, need a target (F,)")
        return _vector_decoder(shape[0], specific.width, params)
    if isinstance(specific, FlatSpecific):
        return Unflattened(_vector_decoder(math.prod(shape), specific.width, params), shape)
    if shape[:-1] != specific.grids[0]:
        raise ValueError(
            f"found an encoder of {specific.grids[0]} cells and a target of shape {shape}: they must agree"
        )
    grid = (LightDecoder if isinstance(specific, LightSpecific) else ConvDecoder)(shape[-1], specific, params)
    if params.grid_specific == "map":
        return grid
    cells = (*specific.grids[2], specific.channels)
    return GridFromVector(_vector_decoder(math.prod(cells), specific.width, params), grid, cells)


def _vector_decoder(features: int, width: int, params: ModelParams) -> VectorDecoder | ModulatedDecoder:
    return (VectorDecoder if params.decoder == "linear" else ModulatedDecoder)(features, width, params.dim)


def checked(shape: Shape) -> None:
    """Raise ValueError unless ``shape`` is ``(F,)`` or ``(H, W, F)`` with positive sizes."""
    if len(shape) not in (1, 3) or min(shape) < 1:
        raise ValueError(f"found a feature shape of {tuple(shape)} per step, need (F,) or (H, W, F), all at least 1")
