"""The interface of all quantisers, its result, and the identity quantiser as the control.

A quantiser takes the general features of every modality, ``{name: z^m [B, T, D]}``, and answers with a
:class:`Quantized`. What is learned without gradients lives in registered buffers, so a ``state_dict`` holds
all of it; training mode updates it, evaluation leaves it bit-identical.

Padded steps (``masks[m]`` false) take no part in counts, updates and losses; their code is -1 and their
output zero.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from srcid.problems import ProblemsError

BLOCK = 2**26  # largest [rows, codes] distance matrix that `nearest_codes` holds at once, in elements


Parts = tuple[Tensor, Tensor, Tensor, Tensor | None]
"""Straight-through values, codes, commitment ``[M]`` and logits of a batch ``[M, B, T, D]``."""


class QuantizerError(ProblemsError):
    """Features or settings a quantiser cannot work with."""


@dataclass(frozen=True)
class Quantized:
    """What a quantiser says of one batch, for every modality m.

    Attributes:
        quantized: ``[B, T, D]``; the value is the code vector, the gradient passes straight through.
        codes: int64 ``[B, T, S]``, S code numbers a step (residual stages, FSQ dimensions); -1 where padded.
        commitment: scalar loss with gradient to the features only.
        logits: ``[B, T, L]``, minus the distance to each code, with gradient to the features; None if not
            asked for or not available.
        sizes: how many values each of the S code numbers can take.
    """

    quantized: dict[str, Tensor]
    codes: dict[str, Tensor]
    commitment: dict[str, Tensor]
    logits: dict[str, Tensor] | None = None
    sizes: tuple[int, ...] = ()


class Quantizer(nn.Module):
    """The interface of all quantisers; subclasses say what happens to one stacked batch (``_quantize``)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(
        self, features: dict[str, Tensor], masks: dict[str, Tensor] | None = None, *, with_logits: bool = False
    ) -> Quantized:
        """Quantise a batch; in training mode also update the codebook(s).

        Args:
            features: ``{m: z^m [B, T, D]}``, at least one modality, all of one shape.
            masks: ``{m: bool [B, T]}``, true at real steps; modalities that are left out have no padding.
            with_logits: also return minus the distances to all codes, with gradient.

        Raises:
            QuantizerError: features of unequal shapes or not of width D, masks that do not fit.
        """
        names, shape = list(features), self._check(features, masks or {})
        device = next(iter(features.values())).device.type
        with torch.autocast(device, enabled=False):  # nearest codes are not found in half precision
            stacked = _stack([features[name] for name in names]).to(self.dtype)
            valid = None
            if masks:
                whole = torch.ones(shape[:2], dtype=torch.bool, device=stacked.device)
                valid = torch.stack([masks.get(name, whole) for name in names])
            values, codes, commitment, logits = self._quantize(stacked, valid, with_logits)
        if valid is not None:
            values = torch.where(valid.unsqueeze(-1), values, 0.0)
            codes = torch.where(valid.unsqueeze(-1), codes, -1)

        def split(batch: Tensor) -> dict[str, Tensor]:
            return dict(zip(names, batch.unbind(0) if len(names) > 1 else [batch.squeeze(0)], strict=True))

        scores = None if logits is None else split(logits)
        return Quantized(split(values), split(codes), split(commitment), scores, self.sizes)

    def of(self, modality: str) -> Quantizer:
        """Return what encodes ``modality``: this quantiser, unless its codebook has a part for each modality."""
        return self

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes ``[..., S]`` of vectors ``[..., D]``."""
        raise NotImplementedError

    def decode(self, codes: Tensor) -> Tensor:
        """Return the vectors ``[..., D]`` of codes ``[..., S]``; zero where a code is negative (padding)."""
        raise NotImplementedError

    def nearest(self, x: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        """Return distances and numbers ``[..., k]`` of the codes nearest to ``x [..., D]``, nearest first.

        Codes that do not exist (k too large, or nothing to enumerate) are infinitely far and numbered -1.
        """
        raise NotImplementedError

    def describe(self, x: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Return what code tables keep of features ``x [B, T, D]``; ``mask [B, T]`` is true at real steps.

        ``codes [B, T, S]`` and ``second [B, T]``, the second nearest code, -1 where padded; ``distance [B, T]`` to the
        quantised value and ``nearest [B, T, 2]``, to the two nearest codes, NaN where padded; ``quantized [B, T, D]``,
        zero where padded.
        """
        absent = torch.zeros_like(x[..., 0], dtype=torch.bool) if mask is None else ~mask
        codes = self.encode(x)
        values = x if codes.shape[-1] == 0 else self.decode(codes)
        nearest, numbers = self.nearest(x, 2)
        return {
            "codes": codes.masked_fill(absent[..., None], -1),
            "distance": (x - values).norm(dim=-1).masked_fill(absent, torch.nan),
            "second": numbers[..., 1].masked_fill(absent, -1),
            "nearest": nearest.masked_fill(absent[..., None], torch.nan),
            "quantized": values * ~absent[..., None],
        }

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many values each of a code's S numbers can take: L per stage, or the FSQ levels."""
        return ()

    @property
    def codebooks(self) -> Tensor | None:
        """Code vectors ``[S, L, D]`` whose sum is the quantised value, or None where they cannot be listed.

        An FSQ with few enough codes lists them as ``[1, L, D]``, in mixed radix, first dimension slowest.
        """
        return None

    @property
    def dtype(self) -> torch.dtype:
        """Precision in which quantisation is computed."""
        return next(itertools.chain(self.parameters(), self.buffers())).dtype

    def _quantize(self, z: Tensor, valid: Tensor | None, with_logits: bool) -> Parts:
        """Quantise ``z [M, B, T, D]``, of which ``valid [M, B, T]`` counts."""
        raise NotImplementedError

    def _check(self, features: dict[str, Tensor], masks: dict[str, Tensor]) -> torch.Size:
        problems = []
        if not features:
            raise QuantizerError("found no features, need those of at least one modality; pass {name: [B, T, D]}")
        shape = next(iter(features.values())).shape
        for name, feature in features.items():
            if feature.ndim != 3 or feature.shape[-1] != self.dim or feature.shape != shape:
                problems.append(
                    f"features '{name}': found shape {tuple(feature.shape)}, need [B, T, {self.dim}], the"
                    " same for all modalities; reduce each to the general width first"
                )
        for name, mask in masks.items():
            if name in features and (mask.shape != shape[:2] or mask.dtype != torch.bool):
                problems.append(
                    f"mask '{name}': found {mask.dtype} {tuple(mask.shape)}, need bool {tuple(shape[:2])};"
                    " give one flag per clip and step"
                )
        if problems:
            raise QuantizerError("; ".join(problems))
        return shape


class IdentityQuantizer(Quantizer):
    """The control: nothing is quantised. Codes have S = 0 numbers, so nothing can be decoded from them."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.register_buffer("anchor", torch.zeros(()), persistent=False)  # only knows device and precision

    def encode(self, x: Tensor) -> Tensor:
        return torch.zeros(*x.shape[:-1], 0, dtype=torch.int64, device=x.device)

    def decode(self, codes: Tensor) -> Tensor:
        raise QuantizerError("found the identity quantiser, need one with codes to decode; read its features instead")

    def nearest(self, x: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        distances = x.new_full((*x.shape[:-1], k), math.inf)
        return distances, torch.full(distances.shape, -1, device=x.device)

    def _quantize(self, z: Tensor, valid: Tensor | None, with_logits: bool) -> Parts:
        return z, self.encode(z), z.new_zeros(len(z)), None


def _stack(parts: list[Tensor]) -> Tensor:
    """Stack the modalities; a single one is not copied, which is a quarter of what FSQ costs on a large batch."""
    return torch.stack(parts) if len(parts) > 1 else parts[0].unsqueeze(0)


def squared_distances(rows: Tensor, codebook: Tensor) -> Tensor:
    """Return ``||x - e||^2`` of rows ``[N, D]`` and codes ``[L, D]`` as ``[N, L]``, by one matrix product.

    Both are counted from the codebook's mean: ``|x|^2 - 2 x e + |e|^2`` cancels where features have a large one.
    """
    centre = codebook.mean(0)
    rows, codebook = rows - centre, codebook - centre
    cross = torch.addmm(codebook.square().sum(1), rows, codebook.T, alpha=-2)
    return cross.add_(rows.square().sum(1, keepdim=True))


def nearest_codes(x: Tensor, codebook: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """Return distances and numbers ``[..., k]`` of the ``k`` codes ``[L, D]`` nearest to ``x [..., D]``, nearest first.

    Works in blocks of bounded memory. Fewer than ``k`` codes: the rest is infinitely far and numbered -1.
    """
    rows, found = x.reshape(-1, x.shape[-1]), min(k, len(codebook))
    distances = rows.new_full((len(rows), k), math.inf)
    codes = torch.full((len(rows), k), -1, device=rows.device)
    with torch.no_grad():
        size = max(1, BLOCK // len(codebook))
        for start in range(0, len(rows), size):
            block = squared_distances(rows[start : start + size], codebook)
            best, index = block.topk(found, largest=False) if found > 1 else block.min(1, keepdim=True)
            distances[start : start + size, :found] = best.clamp_min(0).sqrt()
            codes[start : start + size, :found] = index
    return distances.view(*x.shape[:-1], k), codes.view(*x.shape[:-1], k)


class NegativeDistance(torch.autograd.Function):
    """``-||x - e||`` of rows ``[N, D]`` and codes ``[L, D]``, ``[N, L]``, with gradient to the rows only.

    One matrix product and one buffer in each direction: with W the incoming gradient over the result, the
    gradient of ``x_n`` is ``sum_l W_nl (x_n - e_l)``. Rounding may make squared distances negative, so they
    have a floor, and the gradient stays finite on top of a code.
    """

    @staticmethod
    def forward(ctx, rows: Tensor, codebook: Tensor) -> Tensor:
        logits = squared_distances(rows, codebook).clamp_(min=1e-10).sqrt_().neg_()
        ctx.save_for_backward(rows, codebook, logits)
        return logits

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        rows, codebook, logits = ctx.saved_tensors
        weight = gradient / logits
        return torch.addmm(rows * weight.sum(1, keepdim=True), weight, codebook, alpha=-1), None
