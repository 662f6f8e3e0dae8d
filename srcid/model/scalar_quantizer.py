"""Finite scalar quantisation: a fixed grid instead of a learned codebook.

Reference: Mentzer et al. 2023, "Finite scalar quantization: VQ-VAE made simple".
"""

from __future__ import annotations

import itertools
import math
from functools import cached_property

import torch
from torch import Tensor, nn

from srcid.model.quantizer import NegativeDistance, Parts, Quantizer, QuantizerError, nearest_codes

ENUMERABLE = 2**16  # largest implicit codebook that is written out


def fsq_levels(size: int) -> tuple[int, ...]:
    """Return FSQ levels of 5 to 8 whose product is nearest to ``size`` (as a ratio); fewest dimensions on
    ties.

    >>> fsq_levels(400), fsq_levels(64)
    ((8, 7, 7), (8, 8))
    """
    if size < 5:
        return (max(size, 2),)
    most = math.ceil(math.log(size, 5))
    choices = (c for d in range(1, most + 1) for c in itertools.combinations_with_replacement(range(8, 4, -1), d))
    return min(choices, key=lambda levels: abs(math.log(math.prod(levels) / size)))


class FiniteScalarQuantizer(Quantizer):
    """Finite scalar quantisation (Mentzer et al. 2023): each dimension is bounded by tanh and rounded to few
    levels.

    There is no learned codebook and nothing to commit to. The implicit codebook has ``count`` codes: the
    product of the levels.

    Args:
        dim: width D of features.
        levels: levels per dimension, each at least 2.
        projection: quantise a learned linear map of the features to ``len(levels)`` dimensions, and map back
            (codes ``[B, T, len(levels)]``). Without it the D features are quantised directly, feature i with
            ``levels[i % len(levels)]`` (codes ``[B, T, D]``): a far larger implicit codebook.

    Distances (logits, :meth:`nearest`) are measured in the bounded space, in steps between neighbouring
    levels, and need an implicit codebook of at most 65536 codes; :meth:`nearest` then numbers codes by mixed
    radix, first dimension slowest. For larger ones logits are None and :meth:`nearest` knows one code,
    unnumbered (-1).
    """

    def __init__(self, dim: int, levels: tuple[int, ...], projection: bool = True) -> None:
        super().__init__(dim)
        if not levels or min(levels) < 2:
            raise QuantizerError(
                f"fsq_levels: found {tuple(levels)}, need integers of at least 2; try {fsq_levels(400)}"
            )
        if not projection:
            levels = tuple(itertools.islice(itertools.cycle(levels), dim))
        self.levels = tuple(levels)
        self.down = nn.Linear(dim, len(levels)) if projection else nn.Identity()
        self.up = nn.Linear(len(levels), dim) if projection else nn.Identity()
        number = torch.tensor(self.levels, dtype=torch.get_default_dtype())
        offset = (number % 2 == 0) * 0.5  # an even number of levels sits at half steps
        reach = (number - 1) / 2 + 0.01  # slightly beyond the outer levels, so that tanh can reach them
        self.register_buffer("offset", offset, persistent=False)
        self.register_buffer("reach", reach, persistent=False)
        # two levels lie at -1 and 1 with the border at 0; a larger even number keeps the zero of Mentzer et al.
        two = number == 2
        self.register_buffer("shift", torch.where(two, 0.0, torch.atanh(offset / reach)), persistent=False)
        self.register_buffer("centre", 0.5 * two, persistent=False)
        self.register_buffer("lowest", torch.div(number, 2, rounding_mode="floor"), persistent=False)

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.levels

    @property
    def codebooks(self) -> Tensor | None:
        return None if self._grid is None else self.decode(self._grid.to(self.offset.device)).detach().unsqueeze(0)

    @property
    def count(self) -> int:
        """Reachable codes: the product of the levels, as a Python integer of any size."""
        return math.prod(self.levels)

    @cached_property
    def _grid(self) -> Tensor | None:
        """All codes ``[count, dimensions]`` in mixed-radix order, if they can be enumerated."""
        if self.count > ENUMERABLE:
            return None
        return torch.cartesian_prod(*(torch.arange(n) for n in self.levels)).view(self.count, -1)

    def _bound(self, x: Tensor) -> Tensor:
        """Map features to the bounded space, where levels are the integers from -lowest."""
        return torch.tanh(self.down(x) + self.shift) * self.reach - self.offset

    def _scaled(self, levels: Tensor) -> Tensor:
        """Bring the integers from -lowest to within -1 and 1."""
        return (levels + self.centre) / (self.lowest - self.centre)

    def encode(self, x: Tensor) -> Tensor:
        return (self._bound(x.to(self.dtype)).round() + self.lowest).long()

    def decode(self, codes: Tensor) -> Tensor:
        vectors = self.up(self._scaled(codes - self.lowest))
        return torch.where((codes >= 0).all(-1, keepdim=True), vectors, 0.0)

    def nearest(self, x: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            bounded = self._bound(x.to(self.dtype))
        if self._grid is not None:
            return nearest_codes(bounded, self._grid.to(bounded) - self.lowest, k)
        distances = bounded.new_full((*x.shape[:-1], k), math.inf)
        distances[..., 0] = (bounded - bounded.round()).norm(dim=-1)
        return distances, torch.full(distances.shape, -1, device=x.device)

    def _quantize(self, z: Tensor, valid: Tensor | None, with_logits: bool) -> Parts:
        bounded = self._bound(z)
        rounded = bounded.detach().round()
        values = self.up(self._scaled(rounded + (bounded - bounded.detach())))
        codes = (rounded + self.lowest).long()
        logits = None
        if with_logits and self._grid is not None:
            grid = self._grid.to(bounded) - self.lowest
            logits = NegativeDistance.apply(bounded.flatten(0, -2), grid).view(*z.shape[:-1], self.count)
        return values, codes, z.new_zeros(len(z)), logits
