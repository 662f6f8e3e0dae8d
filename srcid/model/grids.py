"""Specific encoders of grid modalities ``[B, T, H, W, F]`` and the decoders that mirror them.

``conv`` is the published design: two 3x3 convolutions and a residual block. ``light`` projects every cell to
few channels first and runs the same two convolutions there, with a fiftieth of the arithmetic. The paper
prescribes neither.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from srcid.model.convolution import Conv3x3, Grid, Pointwise, shrink
from srcid.params import ModelParams


class Specific(NamedTuple):
    """Modality-specific features.

    Attributes:
        full: the vector again, or a grid's map ``[B, T, h, w, C]`` from which it was made.
        vector: ``[B, T, W]``, what CLUB and the next layer read (and the decoder, unless it reads the map);
            the mean of s where s is noisy.
        deviation: ``[B, T, W]``, the standard deviation of a noisy s; None: s is the vector.
    """

    full: Tensor
    vector: Tensor
    deviation: Tensor | None = None

    def draw(self) -> Tensor:
        """Return the vector with its noise."""
        return self.vector if self.deviation is None else self.vector + self.deviation * torch.randn_like(self.vector)


def plain_norm(width: int, params: ModelParams) -> nn.Module:
    """Return layer normalisation without parameters where ``specific_norm`` asks for it, or else nothing."""
    return nn.LayerNorm(width, elementwise_affine=False) if params.specific_norm == "layer" else nn.Identity()


def positions_first(x: Tensor) -> Tensor:
    """``[B, T, H, W, C]`` to ``[H * W, B * T, C]``."""
    return x.permute(2, 3, 0, 1, 4).flatten(2, 3).flatten(0, 1)


def steps_first(x: Tensor, like: Tensor, grid: Grid) -> Tensor:
    """``[H * W, B * T, C]`` to ``[B, T, H, W, C]`` with the B and T of ``like``."""
    return x.view(*grid, *like.shape[:2], -1).permute(2, 3, 0, 1, 4)


class ResidualBlock(nn.Module):
    """``relu(relu(x) + conv1x1(relu(conv3x3(relu(x)))))``, positions first.

    The skip adds relu(x), as the published block does (its first ReLU works in place).
    """

    def __init__(self, channels: int, grid: Grid) -> None:
        super().__init__()
        self.spread = Conv3x3(channels, channels, grid, padding=(1, 1), bias=False)
        self.mix = Pointwise(channels, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(x)
        return functional.relu(x + self.mix(functional.relu(self.spread(x))))


class GridSpecific(nn.Module):
    """What grid specific encoders share: the pooled head, the optional norms, the layout.

    Attributes:
        width: width of the vector.
        grids: (H, W) of the input, after the first and after the second convolution.
        channels: channels of the map.
    """

    def __init__(self, grid: Grid, channels: int, pooled: int, hidden: int, params: ModelParams) -> None:
        super().__init__()
        middle, self.first_padding = shrink(grid)
        small, self.second_padding = shrink(middle)
        self.grids, self.channels, self.width = (grid, middle, small), channels, params.pooled_dim
        self.head = nn.Sequential(nn.Linear(pooled, hidden), nn.ReLU(), nn.Linear(hidden, params.pooled_dim))
        self.map_norm, self.vector_norm = plain_norm(channels, params), plain_norm(params.pooled_dim, params)

    def forward(self, x: Tensor) -> Specific:
        """Encode ``[B, T, H, W, F]`` to a map ``[B, T, h, w, C]`` and a vector ``[B, T, W]``."""
        cells = self.map_norm(self.encode(positions_first(x)))
        vector = self.vector_norm(self.head(self.pool(cells)))
        return Specific(steps_first(cells, x, self.grids[2]), vector.view(*x.shape[:2], -1))

    def encode(self, x: Tensor) -> Tensor:
        """``[H * W, N, F]`` to the map ``[h * w, N, C]``."""
        raise NotImplementedError

    def pool(self, cells: Tensor) -> Tensor:
        """What of the map the head reads, ``[N, pooled]``."""
        raise NotImplementedError


class ConvSpecific(GridSpecific):
    """The published design; with ``grid_channels`` (c1, c2) the head runs c2 -> c2 / 2 -> ``pooled_dim``."""

    def __init__(self, shape: tuple[int, int, int], params: ModelParams) -> None:
        first, second = params.grid_channels
        super().__init__(shape[:2], second, second, max(1, second // 2), params)
        self.first = Conv3x3(shape[2], first, self.grids[0], self.first_padding)
        self.second = Conv3x3(first, second, self.grids[1], self.second_padding)
        self.mix = Pointwise(second, second)
        self.residual = ResidualBlock(second, self.grids[2])

    def encode(self, x: Tensor) -> Tensor:
        x = functional.relu(self.first(x))
        x = functional.relu(self.second(x))
        return self.residual(self.mix(x))

    def pool(self, cells: Tensor) -> Tensor:
        return cells.mean(0)


def light_channels(params: ModelParams) -> int:
    """Channels in which the light design works."""
    return max(32, params.grid_channels[0] // 8)


class LightSpecific(GridSpecific):
    """Each cell projected to few channels, two 3x3 convolutions there; the head reads the whole small map."""

    def __init__(self, shape: tuple[int, int, int], params: ModelParams) -> None:
        channels = light_channels(params)
        small = shrink(shrink(shape[:2])[0])[0]
        super().__init__(shape[:2], channels, small[0] * small[1] * channels, params.pooled_dim, params)
        self.project = Pointwise(shape[2], channels)
        self.first = Conv3x3(channels, channels, self.grids[0], self.first_padding)
        self.second = Conv3x3(channels, channels, self.grids[1], self.second_padding)

    def encode(self, x: Tensor) -> Tensor:
        x = functional.relu(self.project(x))
        x = functional.relu(self.first(x))
        return functional.relu(self.second(x))

    def pool(self, cells: Tensor) -> Tensor:
        return cells.transpose(0, 1).flatten(1)


class ConvDecoder(nn.Module):
    """The published mirror: [linear(q) at every cell, map] through transposed convolutions to the grid."""

    def __init__(self, features: int, specific: GridSpecific, params: ModelParams) -> None:
        super().__init__()
        self.grids = large, middle, _ = specific.grids
        first = params.grid_channels[0]
        self.code = nn.Linear(params.dim, params.dim)
        self.second = Conv3x3(params.dim + specific.channels, first, middle, specific.second_padding, transposed=True)
        self.residual = ResidualBlock(first, middle)
        self.first = Conv3x3(first, features, large, specific.first_padding, transposed=True)
        self.mix = Pointwise(features, features)

    def forward(self, quantized: Tensor, full: Tensor) -> Tensor:
        """Reconstruct ``[B, T, H, W, F]`` from ``[B, T, D]`` and the map ``[B, T, h, w, C]``."""
        cells = positions_first(full)
        code = self.code(quantized).flatten(0, 1).expand(len(cells), -1, -1)
        x = self.residual(self.second(torch.cat([code, cells], -1)))
        x = self.mix(functional.relu(self.first(x)))
        return steps_first(x, quantized, self.grids[0])


class LightDecoder(nn.Module):
    """Mirror of :class:`LightSpecific`: linear(q) is added to the map, channels grow last."""

    def __init__(self, features: int, specific: GridSpecific, params: ModelParams) -> None:
        super().__init__()
        self.grids = large, middle, _ = specific.grids
        channels = specific.channels
        self.code = nn.Linear(params.dim, channels)
        self.second = Conv3x3(channels, channels, middle, specific.second_padding, transposed=True)
        self.first = Conv3x3(channels, channels, large, specific.first_padding, transposed=True)
        self.project = Pointwise(channels, features)

    def forward(self, quantized: Tensor, full: Tensor) -> Tensor:
        """Reconstruct ``[B, T, H, W, F]`` from ``[B, T, D]`` and the map ``[B, T, h, w, C]``."""
        x = positions_first(full) + self.code(quantized).flatten(0, 1)
        x = functional.relu(self.second(x))
        x = functional.relu(self.first(x))
        return steps_first(self.project(x), quantized, self.grids[0])
