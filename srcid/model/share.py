"""A batch whose clips several processes share: each encodes and decodes its own, all see the whole batch.

Whatever compares clips (codebooks, contrastive losses, CLUB) every process computes on the whole batch, gathered. Its
results, its random draws and its state are then those of one process that has all clips, and equal everywhere.

Gradients follow from one rule: the mean over processes is the gradient of the one loss. Of what is gathered all
processes know the whole gradient; an encoder's is the part of its clips, times the number of processes. What is taken
out again for a decoder (:func:`own`) has its gradient gathered as features are.

Without :func:`shared` every function here returns what it was given: one process has all clips.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

Features = Mapping[str, Tensor]
_aten = torch.ops.aten


@dataclass(frozen=True)
class Share:
    """The clips of a batch that belong to this process: a slice, as equal as can be.

    Attributes:
        rank: number of this process, from 0.
        ranks: number of processes.
        clips: clips B of the whole batch.
    """

    rank: int
    ranks: int
    clips: int

    @property
    def own(self) -> slice:
        """The clips of this process."""
        return slice(self.clips * self.rank // self.ranks, self.clips * (self.rank + 1) // self.ranks)


_current: ContextVar[Share | None] = ContextVar("share", default=None)


@contextlib.contextmanager
def shared(share: Share | None) -> Iterator[None]:
    """Let the functions below know of ``share``, and draw dropout and noise for the whole batch meanwhile."""
    token = _current.set(share)
    try:
        if share is None:
            yield
        else:
            with _WholeDraws(share), sdpa_kernel(SDPBackend.MATH):  # fused attention draws dropout out of sight
                yield
    finally:
        _current.reset(token)


def own(features: Features) -> dict[str, Tensor]:
    """Return this process's clips of ``{name: [B, ...]}``; those with a gradient are equal in all but the last axis."""
    share = _current.get()
    if share is None:
        return dict(features)
    if not any(x.requires_grad for x in features.values()):
        return {m: x[share.own] for m, x in features.items()}
    return _split(_Own.apply(torch.cat(list(features.values()), -1), share), features)


def whole(features: Features) -> dict[str, Tensor]:
    """Return ``{name: [B, ...]}`` of this process's clips ``{name: [b, ...]}``, equal in all but the last axis."""
    share = _current.get()
    if share is None or not features:
        return dict(features)
    return _split(_Sum.apply(_among_all(torch.cat(list(features.values()), -1), share), share.ranks), features)


def averaged(means: Features, counts: Mapping[str, Tensor | int]) -> dict[str, Tensor]:
    """Return the means over the whole batch, given those over this process's clips and of how many values each is."""
    share = _current.get()
    if share is None or not means:
        return dict(means)
    weight = torch.stack([torch.as_tensor(counts[m], device=x.device).to(x.dtype) for m, x in means.items()])
    sums, totals = _Sum.apply(torch.stack([torch.stack(list(means.values())) * weight, weight]), share.ranks)
    return dict(zip(means, sums / totals.clamp_min(1), strict=True))


def _among_all(x: Tensor, share: Share) -> Tensor:
    """Return ``[B, ...]``: this process's clips in their places, and zeros."""
    return functional.pad(x, (*[0] * (2 * x.ndim - 2), share.own.start, share.clips - share.own.stop))


def _split(joined: Tensor, features: Features) -> dict[str, Tensor]:
    """Cut the last axis into the widths of ``features``."""
    return dict(zip(features, joined.split([x.shape[-1] for x in features.values()], -1), strict=True))


class _Sum(torch.autograd.Function):
    """Sum over processes, with the gradient that the module explains."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ranks: int) -> Tensor:
        ctx.ranks, x = ranks, x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.ranks, None


class _Own(torch.autograd.Function):
    """This process's clips, with the gradient that all processes together give the whole batch."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, share: Share) -> Tensor:
        ctx.share = share
        return x[share.own].clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        gathered = _among_all(gradient, ctx.share)
        dist.all_reduce(gathered)
        return gathered / ctx.share.ranks, None


class _WholeDraws(TorchDispatchMode):
    """Draws the random numbers of features for the whole batch, as one process would, and keeps those of its own clips.

    All processes so use up the same random numbers, and what a clip gets does not depend on who has it. What is drawn
    for the whole batch anyway (permutations, steps, samples) is none of these operations.
    """

    def __init__(self, share: Share) -> None:
        super().__init__()
        self.clips, self.own = share.clips, share.own

    def __torch_dispatch__(self, operation: Any, types: Any, arguments: tuple = (), options: dict | None = None) -> Any:
        options = options or {}
        if operation is _aten.bernoulli_.float:  # dropout on a CPU
            target = arguments[0]
            return target.copy_(operation(self._whole(target), *arguments[1:], **options)[self.own])
        if operation is _aten.native_dropout.default:  # and on a GPU
            features, probability, training = arguments
            scale = operation(torch.ones_like(self._whole(features)), probability, training)
            return features * scale[0][self.own], scale[1][self.own]
        if operation is _aten.randn_like.default:
            return operation(self._whole(arguments[0]), **options)[self.own]
        if operation is _aten.rand.default:
            return operation([self.clips, *arguments[0][1:]], **options)[self.own]
        return operation(*arguments, **options)

    def _whole(self, features: Tensor) -> Tensor:
        """Return an empty tensor for all clips, laid out in memory as ``features [b, ...]``: the order of drawing."""
        if len(features) != self.own.stop - self.own.start:
            raise RuntimeError(f"random numbers of shape {tuple(features.shape)} are not those of clips")
        layout = sorted(range(features.ndim), key=features.stride, reverse=True)
        shape = [self.clips, *features.shape[1:]]
        return torch.empty_permuted(shape, layout, dtype=features.dtype, device=features.device)
