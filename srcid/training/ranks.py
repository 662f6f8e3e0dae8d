"""What the processes of one training say to each other; one process alone says nothing.

Each holds the whole state and takes every step; it encodes its own clips only (:mod:`srcid.model.share`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from srcid.model.share import Share


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: its number, from 0; process 0 leads: it writes the log and the checkpoints.
        count: number of processes.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def joined(cls) -> Ranks:
        """Those of the initialised process group."""
        return cls(dist.get_rank(), dist.get_world_size())

    def share(self, clips: int) -> Share | None:
        """Return which of ``clips`` are this process's; None: all, as it is alone, or as they are too few to share."""
        return Share(self.rank, self.count, clips) if self.count > 1 and clips >= 2 * self.count else None

    def any(self, flag: bool) -> bool:
        """Return whether ``flag`` is set in any process."""
        if self.count == 1:
            return flag
        found = torch.tensor(int(flag))
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return bool(found)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every process the mean of all processes' gradients, in one message."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.count == 1 or not gradients:
            return
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        for gradient, part in zip(gradients, flat.div_(self.count).split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    @torch.no_grad()
    def follow_first(self, tensors: Iterable[Tensor]) -> None:
        """Set ``tensors`` to those of process 0."""
        for tensor in tensors if self.count > 1 else ():
            dist.broadcast(tensor, src=0)

    def differing(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Return the names of the tensors whose bits are not those of every other process."""
        if self.count == 1:
            return []
        tensors = {name: tensor.detach() for name, tensor in tensors.items() if tensor.numel()}
        least = torch.stack([torch.hash_tensor(tensor).cpu().view(torch.int64) for tensor in tensors.values()])
        most = least.clone()
        dist.all_reduce(least, op=dist.ReduceOp.MIN)
        dist.all_reduce(most, op=dist.ReduceOp.MAX)
        return [name for name, differs in zip(tensors, (least != most).tolist(), strict=True) if differs]
