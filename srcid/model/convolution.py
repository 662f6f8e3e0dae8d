"""3x3 convolution over small grids as a few large matrix products (Toom-Cook, in 2-D also called Winograd).

A short convolution is a product of polynomials: evaluate both at n points, multiply value by value,
interpolate. The transpose of that recipe is the correlation that neural networks call convolution. With V the
Vandermonde matrix of the n points, one axis of n cells and a filter of 3 taps give n - 2 cells,

    y = V[:, :n-2]^T ( (V[:, :3] w) * (V^-T x) )

In two dimensions the matrices become Kronecker products, and "value by value" becomes one matrix product
``[frames, inputs] @ [inputs, outputs]`` per pair of points: 49 of them for a 7x7 grid, where the sum over
taps needs 225, and 25 instead of 81 for a 5x5 one. See A. Lavin and S. Gray, *Fast Algorithms for
Convolutional Neural Networks*, CVPR 2016, arXiv:1509.09308.

Grids are held *positions first*, ``[H * W, frames, channels]``: each transform is one matrix product too.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

Grid = tuple[int, int]

# Small values of both signs lose least: float32 results are within a few roundings of the direct sum. An axis
# needs as many points as it has cells, padding included; longer ones are left to torch's own convolution.
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)

# Transformed weights are made and used in pieces of this many bytes: they stay in the cache, take no lasting
# memory, and are below the size from which the C library maps (and clears) fresh pages for every tensor.
PIECE = 24_000_000

_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
# With bfloat16 matrix units (Intel AMX) one product of all taps takes 0.55 of this module's time (benchmarks/grid.py).
_MATRIX_UNITS = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()


def shrink(grid: Grid) -> tuple[Grid, Grid]:
    """Return (grid after a 3x3 convolution, padding): padded only along axes too short to lose two cells."""
    padding = tuple(0 if cells >= 3 else 1 for cells in grid)
    return tuple(cells - 2 + 2 * pad for cells, pad in zip(grid, padding, strict=True)), padding


def vandermonde(count: int, powers: int) -> Tensor:
    """Return ``[count, powers]`` in float64: the first ``count`` points to the powers 0, 1, 2, ..."""
    points = torch.tensor(POINTS[:count], dtype=torch.float64, device="cpu")
    return points[:, None] ** torch.arange(powers, device="cpu")


@lru_cache(maxsize=64)
def transforms(grid: Grid, padding: Grid, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Return the (output, weight, input) matrices of a 3x3 convolution that reads ``grid``.

    Shapes ``[positions out, P]``, ``[P, 9]`` and ``[P, positions in]`` for P pairs of points.
    """
    axes = []
    for cells, pad in zip(grid, padding, strict=True):
        count = cells + 2 * pad
        spread = torch.linalg.inv(vandermonde(count, count)).T[:, pad : count - pad]  # padding is zero: no columns
        axes.append((vandermonde(count, count - 2).T, vandermonde(count, 3), spread))
    return tuple(torch.kron(y.contiguous(), x.contiguous()).to(dtype) for y, x in zip(*axes, strict=True))


def transform(matrix: Tensor, x: Tensor) -> Tensor:
    """Apply ``matrix`` to the first axis of ``x``."""
    return (matrix @ x.flatten(1)).view(len(matrix), *x.shape[1:])


def multiply(left: Tensor, right: Tensor) -> Tensor:
    """Return ``left @ right`` for ``[P, N, I]`` and ``[P, I, O]``.

    Large float32 products on a CPU go to oneDNN, which torch's matmul does not ask for them: on AMD
    processors it is twice as fast as the default library.
    """
    large = left.shape[1] * right.shape[1] * right.shape[2] >= 2**22
    if not (large and _ONEDNN and left.dtype == right.dtype == torch.float32 and left.device.type == "cpu"):
        return torch.bmm(left, right)
    onednn = torch.ops.mkldnn._linear_pointwise
    pairs = zip(left.unbind(), right.unbind(), strict=True)
    return torch.stack([onednn(a, b.T, None, "none", [], "") for a, b in pairs])


class _Products(torch.autograd.Function):
    """Differentiable :func:`multiply`."""

    @staticmethod
    def forward(ctx, left: Tensor, right: Tensor) -> Tensor:
        ctx.save_for_backward(left, right)
        return multiply(left, right)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        left, right = ctx.saved_tensors
        return (
            multiply(grad, right.mT) if ctx.needs_input_grad[0] else None,
            multiply(left.mT, grad) if ctx.needs_input_grad[1] else None,
        )


class _ToomCook(torch.autograd.Function):
    """``output @ ((weight @ w) * (input @ x)) + bias``, piecewise in w: no transformed weights are kept.

    Always in float32 or float64, under autocast too: in bfloat16 the transforms would magnify rounding 4 to
    12 times, and float32 already runs as fast as a direct convolution does in bfloat16.
    """

    @staticmethod
    def pieces(points: int, columns: int, x: Tensor) -> int:
        """How many rows (or columns) of the weights to transform at a time."""
        return max(64, PIECE // (points * columns * x.element_size()) // 32 * 32)

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx, x: Tensor, w: Tensor, bias: Tensor | None, matrices: tuple[Tensor, ...]) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.matrices = output, weight, input_ = matrices
        evaluated = transform(input_, x)
        size = _ToomCook.pieces(len(weight), w.shape[1], w)
        parts = [multiply(evaluated, transform(weight, part)) for part in w.split(size, 2)]
        y = transform(output, torch.cat(parts, 2))
        return y if bias is None else y.add_(bias)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, w = ctx.saved_tensors
        output, weight, input_ = ctx.matrices
        need_x, need_w, need_bias = ctx.needs_input_grad[:3]
        spread = transform(output.T, grad)
        size = _ToomCook.pieces(len(weight), w.shape[2], w)
        grad_x = grad_w = None
        if need_x:
            parts = [multiply(spread, transform(weight, part).mT) for part in w.split(size, 1)]
            grad_x = transform(input_.T, torch.cat(parts, 2))
        if need_w:
            evaluated = transform(input_, x)
            parts = [transform(weight.T, multiply(part.mT, spread)) for part in evaluated.split(size, 2)]
            grad_w = torch.cat(parts, 1)
        return grad_x, grad_w, grad.sum((0, 1)) if need_bias else None, None


class Conv3x3(nn.Module):
    """3x3 convolution, or its transpose, over ``[H * W, N, inputs]``.

    The same function as :class:`torch.nn.Conv2d` and :class:`torch.nn.ConvTranspose2d` with stride 1.

    Args:
        inputs, outputs: channels.
        grid: (H, W) that the convolution reads, or that its transpose gives back: the larger of the two.
        padding: zero rows and columns around that grid, 0 or 1 per axis.
        transposed: whether this is the transpose.
        bias: whether there is one.

    Attributes:
        weight: ``[9, inputs, outputs]``, one matrix per tap, taps row by row.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        grid: Grid,
        padding: Grid = (0, 0),
        transposed: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.grid, self.padding, self.transposed = grid, padding, transposed
        self.weight = nn.Parameter(torch.empty(9, inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None
        bound = (9 * inputs) ** -0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[H' * W', N, outputs]``."""
        if x.device.type == "cpu" and _MATRIX_UNITS and torch.is_autocast_enabled("cpu"):
            return self._gathered(x.to(torch.get_autocast_dtype("cpu")))
        largest = max(cells + 2 * pad for cells, pad in zip(self.grid, self.padding, strict=True))
        if x.device.type != "cpu" or largest > len(POINTS):
            return self._direct(x)
        output, weight, input_ = transforms(self.grid, self.padding, self.weight.dtype)
        matrices = (input_.T, weight, output.T) if self.transposed else (output, weight, input_)
        return _ToomCook.apply(x, self.weight, self.bias, matrices)

    @property
    def _small(self) -> Grid:
        """The smaller of the two grids."""
        return tuple(cells - 2 + 2 * pad for cells, pad in zip(self.grid, self.padding, strict=True))

    def _gathered(self, x: Tensor) -> Tensor:
        """The same as one matrix product of all nine taps, summed where they meet: for units of low precision."""
        (height, width), (down, across) = self._small, self.padding
        taps = [(t // 3, t % 3) for t in range(9)]
        if self.transposed:
            parts = (x @ self.weight.transpose(0, 1).flatten(1)).unflatten(-1, (9, -1))
            parts = parts.to(torch.promote_types(x.dtype, torch.float32)).unflatten(0, self._small).unbind(-2)
            spread = (
                functional.pad(p, (0, 0, 0, 0, j, 2 - j, i, 2 - i)) for p, (i, j) in zip(parts, taps, strict=True)
            )
            y = sum(spread)[down : down + self.grid[0], across : across + self.grid[1]]
        else:
            image = functional.pad(x.unflatten(0, self.grid), (0, 0, 0, 0, across, across, down, down))
            y = torch.cat([image[i : i + height, j : j + width] for i, j in taps], -1) @ self.weight.flatten(0, 1)
        y = y.flatten(0, 1)
        return y if self.bias is None else y + self.bias

    def _direct(self, x: Tensor) -> Tensor:
        """The same by torch's own convolution: for accelerators and large grids."""
        taps = self.weight.unflatten(0, (3, 3))
        if self.transposed:
            (height, width), convolve, taps = self._small, functional.conv_transpose2d, taps.permute(2, 3, 0, 1)
        else:
            (height, width), convolve, taps = self.grid, functional.conv2d, taps.permute(3, 2, 0, 1)
        image = x.view(height, width, *x.shape[1:]).permute(2, 3, 0, 1)
        return convolve(image, taps, self.bias, padding=self.padding).permute(2, 3, 0, 1).flatten(0, 1)

    def extra_repr(self) -> str:
        _, inputs, outputs = self.weight.shape
        return f"{inputs}, {outputs}, grid={self.grid}, padding={self.padding}, transposed={self.transposed}"


class Pointwise(nn.Linear):
    """1x1 convolution: :class:`torch.nn.Linear` on the last axis, by :func:`multiply` where faster."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[..., outputs]``."""
        if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        y = _Products.apply(x.reshape(1, -1, self.in_features), self.weight.T[None]).view(*x.shape[:-1], -1)
        return y if self.bias is None else y + self.bias
