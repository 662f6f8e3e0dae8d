"""CLUB: an upper bound of the mutual information between two features, minimised to disentangle them.

Cheng et al. 2020, "CLUB: A contrastive log-ratio upper bound of mutual information"; Eq. 5 and 6 of the SRCID
paper. A network models ``q(y | x) = N(mu(x), diag sigma^2(x))``. It is fitted by maximum likelihood on
detached features (:meth:`Club.log_likelihood`); with it held fixed,

    I = E[log q(y_i | x_i)] - E[log q(y_j | x_i)]

bounds the information (:meth:`Club.estimate`), and minimising I moves the features. All values are in nats.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

# The log-variance is LIMIT * tanh(raw / LIMIT). With 10 it is free in effect (standard deviations from 0.007
# to 148, slope 1 around 0) yet exp(-logvar) cannot overflow and the gradient never dies, as it would with a
# hard clamp. With 1 it is the published tanh head, which saturates.
LOGVAR_LIMIT = {"free": 10.0, "tanh": 1.0}


class Club(nn.Module):
    """Variational CLUB between x (general features) and y (specific features), step by step.

    Args:
        x_dim: width of x.
        y_dim: width of y.
        hidden: width parameter; the hidden layers are ``hidden / 2`` wide, as in the published network.
        logvar: ``free``: mean and log-variance are two outputs of one network with one hidden layer;
            ``tanh``: the published pair of separate networks with three hidden layers each and log-variances
            within +-1.
        scale: ``standard``: y is brought to mean 0 and deviation 1 per feature over the batch, with gradient.
            Information does not depend on the scale of y, but a q in raw units does: it is void once y shrinks,
            and shrinking y lowers the bound. ``raw`` (published): y as it is.

    In all methods x is ``[B, T, x_dim]``, y ``[B, T, y_dim]`` and mask bool ``[B, T]`` (None: every step
    counts). Sums run over y's features, means over valid clips and steps.
    """

    def __init__(self, x_dim: int, y_dim: int, hidden: int, logvar: str = "free", scale: str = "standard") -> None:
        super().__init__()
        self.limit, self.standardises = LOGVAR_LIMIT[logvar], scale == "standard"
        width = max(1, hidden // 2)
        if logvar == "tanh":
            self.p_mu = _mlp(x_dim, width, width, width, y_dim)
            self.p_logvar = _mlp(x_dim, width, width, width, y_dim)
        else:
            self.p_both = _mlp(x_dim, width, 2 * y_dim)

    def gaussian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of q(y | x), each ``[B, T, y_dim]``."""
        mu, raw = self.p_both(x).chunk(2, -1) if hasattr(self, "p_both") else (self.p_mu(x), self.p_logvar(x))
        return mu, self.limit * torch.tanh(raw / self.limit)

    def scaled(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return y in the units of q."""
        if not self.standardises or not y.numel():
            return y
        mean, variance = _moments(y, mask)
        return (y - mean) * variance.clamp_min(1e-12).rsqrt()

    def independent(self, y: Tensor, mask: Tensor | None = None, scaled: bool = False) -> Tensor:
        """Return the log-likelihood of y under its own mean and variance, which know no x; constant left out.

        :meth:`log_likelihood` minus this, on clips that q was not fitted to, is q's *skill*: below 0 it predicts
        worse than no prediction, and :meth:`estimate` means nothing.
        """
        y = y if scaled else self.scaled(y, mask)
        return -0.5 * (1 + _moments(y, mask)[1].clamp_min(1e-12).log()).sum()

    def log_likelihood(self, x: Tensor, y: Tensor, mask: Tensor | None = None, scaled: bool = False) -> Tensor:
        """Return the mean of log q(y | x), y in the units of q, without its constant ``-y_dim/2 log(2 pi)``.

        Args:
            scaled: y is in those units already (:meth:`scaled`), which spares many steps on one batch the work.
        """
        y = y if scaled else self.scaled(y, mask)
        mu, logvar = self.gaussian(x)
        terms = (y - mu).square() * (-logvar).exp() + logvar
        if mask is None:
            return -0.5 * terms.sum() / max(1, y[..., 0].numel())
        return -0.5 * (terms.sum(-1) * mask).sum() / mask.sum().clamp_min(1)

    def estimate(
        self,
        x: Tensor,
        y: Tensor,
        mask: Tensor | None = None,
        estimator: str = "exact",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the CLUB estimate of I(x; y) in nats, with gradient to x and y.

        Args:
            estimator: ``exact``: Eq. 6, negatives are all clips at the same step; ``sampled``: one random
                permutation of the clips, unbiased for the exact value; ``published``: one permutation, with
                squared errors and log-variances averaged over time before they are divided.
            generator: source of the permutation; None: torch's own.
        """
        y = self.scaled(y, mask)
        mu, logvar = self.gaussian(x)
        if estimator == "exact":
            return _exact(mu, logvar, y, mask)
        order = self._draw_permutation(len(y), generator).to(y.device)
        if estimator == "sampled":
            return _sampled(mu, logvar, y, mask, order)
        if estimator == "published":
            return _published(mu, logvar, y, mask, order)
        raise ValueError(f"found estimator '{estimator}', need exact, sampled or published; choose one of these")

    def _draw_permutation(self, clips: int, generator: torch.Generator | None) -> Tensor:
        return torch.randperm(clips, generator=generator)


def _moments(y: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return mean and variance ``[W]`` of y ``[B, T, W]`` over valid clips and steps."""
    if mask is None:
        mean = y.mean((0, 1))
        return mean, (y - mean).square().mean((0, 1))
    weight = mask.unsqueeze(-1).to(y.dtype)
    weight = weight / weight.sum().clamp_min(1)
    mean = (y * weight).sum((0, 1))
    return mean, ((y - mean).square() * weight).sum((0, 1))


def _mlp(*widths: int) -> nn.Sequential:
    """Linear layers of these widths with ReLU between them."""
    layers = [module for pair in itertools.pairwise(widths) for module in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def _exact(mu: Tensor, logvar: Tensor, y: Tensor, mask: Tensor | None) -> Tensor:
    """All negatives in one pass: the mean over j of ``(mu_i - y_j)^2`` is ``(mu_i - ybar)^2 + var(y)``.

    With features counted from their mean over clips, the difference of negative and positive squared error is
    ``var(y) + y (2 mu - y)``; no N x N tensor appears.
    """
    if mask is None:
        centre = y.mean(0)
        y, mu = y - centre, mu - centre
        gap = y.square().mean(0) + y * (2 * mu - y)
        return 0.5 * (gap * (-logvar).exp()).sum() / max(1, y[..., 0].numel())
    weight = mask.unsqueeze(-1).to(y.dtype)
    clips = weight.sum(0).clamp_min(1)  # valid clips at each step
    centre = (y * weight).sum(0) / clips
    y, mu = y - centre, mu - centre
    gap = (y.square() * weight).sum(0) / clips + y * (2 * mu - y)
    return 0.5 * (gap * (-logvar).exp() * weight).sum() / weight.sum().clamp_min(1)


def _sampled(mu: Tensor, logvar: Tensor, y: Tensor, mask: Tensor | None, order: Tensor) -> Tensor:
    """One permutation, fixed points allowed (as in Eq. 6, where j = i is a negative too)."""
    precision = (-logvar).exp()
    own = ((mu - y).square() * precision).sum(-1)
    other = ((mu - y[order]).square() * precision).sum(-1)
    if mask is None:
        return 0.5 * (other - own).sum() / max(1, own.numel())
    # a valid clip meets a valid one with probability clips / B: the inverse keeps the estimate unbiased
    weight = mask.to(y.dtype)
    clips = weight.sum(0).clamp_min(1)
    return 0.5 * (other * weight * weight[order] * (len(y) / clips) - own * weight).sum() / weight.sum().clamp_min(1)


def _published(mu: Tensor, logvar: Tensor, y: Tensor, mask: Tensor | None, order: Tensor) -> Tensor:
    """Time averages first, then one division: no likelihood ratio, kept to compare with that code."""
    mask = torch.ones_like(y[..., 0]) if mask is None else mask.to(y.dtype)
    both = mask * mask[order]  # steps valid in a clip and in the one that lends its negative

    def over_time(values: Tensor, weight: Tensor) -> Tensor:
        return (values * weight.unsqueeze(-1)).sum(1) / weight.sum(1, keepdim=True).clamp_min(1)

    precision = (-over_time(logvar, mask)).exp()
    gap = over_time((mu - y[order]).square(), both) - over_time((mu - y).square(), mask)
    known = both.any(1)
    return 0.5 * ((gap * precision).sum(-1) * known).sum() / known.sum().clamp_min(1)
