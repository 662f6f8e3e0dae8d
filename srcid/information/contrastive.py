"""InfoNCE, the bound from below: how well the clip that belongs to another is told from all others.

Clips are divided and scored as in :mod:`srcid.information.conditional`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from srcid.information.clips import Side, split_clips
from srcid.information.conditional import ascend, contrast, fit_club, tensors
from srcid.information.estimates import Estimate, Settings, mean_over_clips, repeat


class _Critic(nn.Module):
    """Separable critic f(x)·g(y) of InfoNCE; one network a side."""

    def __init__(self, x_dim: int, y_dim: int, hidden: int, width: int):
        super().__init__()

        def net(dim):
            return nn.Sequential(
                nn.Linear(dim, hidden),
                nn.ReLU(),
                nn.Linear(hidden, hidden),
                nn.ReLU(),
                nn.Linear(hidden, width),
            )

        self.left, self.right = net(x_dim), net(y_dim)

    def terms(self, x: torch.Tensor, y: torch.Tensor, mask: torch.Tensor, chunk: int | None = None) -> torch.Tensor:
        """Per clip and step, log N + the mean of the log-probabilities of finding y from x and x from y;
        [n,T].
        """
        left, right = (z.transpose(0, 1) for z in (self.left(x), self.right(y)))  # [T,n,width]
        valid = mask.T
        count = valid.sum(dim=1).clamp(min=1).to(x.dtype).log()[:, None]
        scale = left.shape[-1] ** -0.5
        found = []
        for part in torch.arange(x.shape[0]).split(chunk or x.shape[0]):
            sides = []
            for one, other in ((left, right), (right, left)):
                score = one[:, part] @ other.transpose(1, 2) * scale  # [T, part, n]
                own = (one[:, part] * other[:, part]).sum(dim=-1) * scale
                score = score.masked_fill(~valid[:, None, :], -torch.inf)
                # a clip without a valid pair would give -inf - -inf; its term is not used
                sides.append(own - torch.logsumexp(score, dim=-1).nan_to_num(neginf=0.0))
            found.append((sides[0] + sides[1]) / 2 + count)
        return torch.cat(found, dim=1).T


def infonce(x: Side, y: Side, mask: np.ndarray, settings: Settings) -> Estimate:
    """InfoNCE lower bound on I(x;y) (van den Oord et al. 2018) with a separable critic.

    The critic is a network (both directions averaged) or, where the stopping clips like that better, log
    q(y|x) of a ridge regression, which is separable too and needs fewer clips in many dimensions.

    It holds for any critic on the clips scored, but cannot exceed log(number of scored clips), its ``cap``;
    near the cap it is flagged, because it then says nothing of how much more there is. Its resamples keep the
    negatives.
    """

    def run(x: Side, y: Side, mask: np.ndarray, seed: int) -> dict[str, Any]:
        parts = split_clips(len(mask), settings.split, np.random.default_rng([seed, 11]))
        ridge = fit_club(x, y, mask, parts["fit"], parts["stop"], replace(settings, q="linear"), seed)
        data = {
            name: tensors(ridge.scale_x.apply(x.values[rows]), ridge.scale_y.apply(y.values[rows]), mask[rows])
            for name, rows in parts.items()
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            critic = _Critic(data["fit"][0].shape[-1], data["fit"][1].shape[-1], settings.hidden, settings.embedding)
        curve = ascend(critic, lambda part: critic.terms(*part)[part[2]].mean(), data, settings, seed)
        critic.double()

        def by_network(part):
            return critic.terms(part[0].double(), part[1].double(), part[2], settings.chunk)

        def by_ridge(part):
            mu, logvar = ridge.q.gaussian(part[0].double())
            return contrast(mu, logvar, part[1].double(), part[2], settings.chunk, own=True)

        with torch.no_grad():
            stop, score = data["stop"], data["score"]
            best = max((by_network, by_ridge), key=lambda critic: float(critic(stop)[stop[2]].mean()))
            terms = best(score)
        result = mean_over_clips(terms.numpy(), score[2].numpy(), settings, seed)
        cap = math.log(max(int(score[2].sum(dim=0).max()), 1))
        flags = []
        if result["value"] > 0.8 * cap:
            flags.append(f"near its cap of log({round(math.exp(cap))}) = {cap:.1f} nats: the truth may be far higher")
        detail = {
            "linear": float(best is by_ridge),
            "explained_x": ridge.scale_x.explained,
            "explained_y": ridge.scale_y.explained,
        }
        return result | {"cap": cap, "flags": flags, "curve": curve, "detail": detail}

    return repeat("infonce", "lower", run, x, y, mask, settings)
