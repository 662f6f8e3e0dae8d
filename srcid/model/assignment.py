"""Which code a feature learns from in training. Tables are encoded by the nearest code in any case.

``nearest``: each feature has its own nearest code (van den Oord et al. 2017).

``joint``: the modalities that are there at a clip and step share the code that is nearest to all of them together,

    argmin_k sum over m of ||z^m - e_k||^2  =  argmin_k ||mean z^m - e_k||^2.

One code for one moment is what code matching (CMCM) asks for by a loss; here it holds by construction, and commitment
draws each modality to the shared code until it is its nearest, too.

``transport``: codes are the largest entries in the rows of an entropic transport plan between the features of the batch
and the codes, with uniform marginals: all codes are used alike, so that none is idle and needs revival (Asano et al.,
ICLR 2020; Caron et al., NeurIPS 2020, whose 3 iterations and entropy weight of 0.05 stand here). The cost is the
squared distance over its mean. Where one thing is much more frequent than others, it is spread over many codes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from srcid.model.quantizer import nearest_codes, squared_distances

EPSILON, ITERATIONS = 0.05, 3


@torch.no_grad()
def assign(how: str, z: Tensor, codebook: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return the code ``[M, B, T]`` of each feature of ``z [M, B, T, D]``; any where ``valid`` (bool) is false.

    No row is cut out: a GPU would have to say how many are left, and be waited for.
    """
    if valid is not None:
        z = torch.where(valid.unsqueeze(-1), z, 0.0)
    if how == "joint":
        there = z.shape[0] if valid is None else valid.sum(0).clamp_min(1).unsqueeze(-1)
        z = (z.sum(0) / there).expand_as(z)
    rows = z.reshape(-1, z.shape[-1])
    if how != "transport":
        return nearest_codes(rows, codebook)[1].view(z.shape[:-1])
    cost, there = squared_distances(rows, codebook), None if valid is None else valid.flatten()
    mean = cost.mean() if there is None else cost.mean(1).mul(there).sum() / there.sum().clamp_min(1)
    return transport_plan(1 - cost / mean, EPSILON, ITERATIONS, there).argmax(-1).view(z.shape[:-1])


def transport_plan(similarity: Tensor, epsilon: float, iterations: int, there: Tensor | None = None) -> Tensor:
    """Return the plan ``[N, K]`` between rows and columns with uniform marginals 1/N and 1/K, at cost 1 - similarity.

    Sinkhorn's iterations (Cuturi 2013) on the entropic problem, in logarithms; the last one makes the rows exact.
    Where ``there`` (bool ``[N]``) is false, a row takes no part, and what the plan says of it means nothing.
    """
    rows, columns = similarity.shape
    count = math.log(max(rows, 1)) if there is None else there.sum().log()
    log = similarity / epsilon
    for _ in range(iterations):
        if there is not None:
            log = log.masked_fill(~there.unsqueeze(-1), -math.inf)
        log = log - log.logsumexp(0, keepdim=True) - math.log(columns)
        log = log - log.logsumexp(1, keepdim=True) - count
    return log.exp()
