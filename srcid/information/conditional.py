"""CLUB and the leave-one-out bound, from conditional Gaussians q(y|x) fitted after the fact.

q is fitted on one part of the clips, stopped early on a second and scored on a third, in float64 and with all
scored clips as each other's negatives at the same step; how the scoring is cut into chunks changes nothing.
Both sides are standardised with the fitting clips' moments (see :class:`Scaler`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from srcid.information.clips import Scaler, Side, complain, split_clips
from srcid.information.estimates import Estimate, Settings, collect, mean_over_clips, permute_clips, resample
from srcid.model.mutual_information import Club

UPPER = ("exact", "sampled", "published", "leave-one-out")


@dataclass(frozen=True)
class FittedClub:
    """A conditional Gaussian q(y|x) fitted on some clips, ready to be scored on others.

    ``q`` is Club's network or the ridge regression that did better on the stopping clips; ``curve`` is the
    network's, [look, (step, fit, stop)], mean log-likelihoods a step up to a constant.
    """

    q: Club | _Ridge
    scale_x: Scaler
    scale_y: Scaler
    curve: np.ndarray
    settings: Settings
    seed: int

    def gaussian(self, x: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log-variance of q(y|x) in the scaled units of y, float64 [n,T,e], for x [n,T,d].

        Raises:
            InformationError: x has other columns than the clips q was fitted on.
        """
        scaled = torch.from_numpy(self.scale_x.apply(x, "x"))
        with torch.no_grad():
            parts = [self.q.gaussian(rows) for rows in scaled.split(self.settings.chunk)]
        return torch.cat([mu for mu, _ in parts]), torch.cat([logvar for _, logvar in parts])

    def estimate(self, x: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None, estimator: str = "exact") -> float:
        """CLUB's estimate on clips x [n,T,d], y [n,T,e] in nats; see :func:`club` for the estimators."""
        y = self.scale_y.apply(y, "y")
        mask = np.ones(y.shape[:2], dtype=bool) if mask is None else mask
        return _upper(self, *self.gaussian(x), torch.from_numpy(y), torch.from_numpy(mask), estimator)["value"]


@dataclass(frozen=True)
class _Ridge:
    """Linear q(y|x) of constant variance per column, for scaled sides."""

    weight: torch.Tensor  # [d,e]
    logvar: torch.Tensor  # [e]

    def gaussian(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mu = x @ self.weight
        return mu, self.logvar.expand_as(mu)


class Read(Club):
    """Club's estimators on a Gaussian that is known already: its "x" is mean and log-variance side by
    side.
    """

    def __init__(self):
        nn.Module.__init__(self)  # no layers, and no random draw for them
        self.standardises = False  # both sides come in scaled units

    def gaussian(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return tuple(x.chunk(2, dim=-1))


def fit_club(
    x: Side, y: Side, mask: np.ndarray, fit: np.ndarray, stop: np.ndarray, settings: Settings, seed: int
) -> FittedClub:
    """Fit q(y|x) by maximum likelihood on the clips ``fit``, keep the weights that serve the clips ``stop``
    best.
    """
    scale_x = Scaler.learn(x.values[fit], mask[fit], settings.components)
    scale_y = Scaler.learn(y.values[fit], mask[fit], settings.components)
    data = {
        name: tensors(scale_x.apply(x.values[rows]), scale_y.apply(y.values[rows]), mask[rows])
        for name, rows in (("fit", fit), ("stop", stop))
    }
    candidates, curve = [], np.empty((0, 3))
    if settings.q != "linear":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            widths = (data["fit"][0].shape[-1], data["fit"][1].shape[-1])
            club = Club(*widths, settings.hidden, logvar=settings.logvar, scale="raw")  # scaled above
        curve = ascend(club, lambda part: club.log_likelihood(*part), data, settings, seed)
        candidates.append(club.double().eval())
    if settings.q != "network":
        candidates.extend(_ridges(*data["fit"]))
    a, b, valid = data["stop"]

    def likelihood(q):
        with torch.no_grad():
            mu, logvar = q.gaussian(a[valid].double())
        return float((-((b[valid] - mu) ** 2) * (-logvar).exp() - logvar).sum(dim=-1).mean())

    return FittedClub(max(candidates, key=likelihood), scale_x, scale_y, curve, settings, seed)


def _ridges(x: torch.Tensor, y: torch.Tensor, mask: torch.Tensor) -> list[_Ridge]:
    """Ridge regressions of several strengths, each with its generalised cross-validation error as
    variance.
    """
    x, y = x[mask].double(), y[mask].double()
    n = len(x)
    values, axes = torch.linalg.eigh(x.T @ x / n)
    values, cross = values.clamp(min=0), axes.T @ (x.T @ y) / n
    found = []
    for strength in np.logspace(-4, 2, 13):
        weight = axes @ (cross / (values + strength)[:, None])
        freedom = float((values / (values + strength)).sum()) / n
        if freedom < 0.9:  # beyond that the error below is a guess
            error = ((y - x @ weight) ** 2).mean(dim=0) / (1 - freedom) ** 2
            found.append(_Ridge(weight, error.clamp(min=1e-12).log()))
    return found


def club(x: Side, y: Side, mask: np.ndarray, settings: Settings) -> dict[str, Estimate]:
    """CLUB's estimates of I(x;y) (Cheng et al. 2020) and the leave-one-out bound, all from the same fits.

    "exact": all scored clips as negatives, the closed form of :class:`Club`. "sampled" and "published": one
    random permutation. "leave-one-out": log q(y|x) less the log of its mean over the other clips (Poole et
    al. 2019), with the same q much tighter than CLUB when the dependence is strong. They bound the
    information from above where q is the true conditional; ``detail`` says how far it may be trusted: "skill"
    is the held-out log-likelihood of q over that of an independent Gaussian, in nats a step; "residual" the
    held-out squared error over q's variance (1 if q is right); "saturated" the share of log-variances at the
    edge of their range; "linear" the share of seeds whose q is the ridge regression.
    """

    def run(x: Side, y: Side, mask: np.ndarray, seed: int) -> dict[str, dict[str, Any]]:
        parts = split_clips(len(mask), settings.split, np.random.default_rng([seed, 11]))
        fitted = fit_club(x, y, mask, parts["fit"], parts["stop"], settings, seed)
        rows = parts["score"]
        mu, logvar = fitted.gaussian(x.values[rows])
        truth = torch.from_numpy(fitted.scale_y.apply(y.values[rows]))
        valid = torch.from_numpy(mask[rows])
        detail, flags = _trust(mu, logvar, truth, valid, fitted)
        return {
            name: _upper(fitted, mu, logvar, truth, valid, name)
            | {"detail": detail, "flags": flags, "curve": fitted.curve}
            for name in UPPER
        }

    runs = [run(x, y, mask, settings.seed + i) for i in range(settings.seeds)]
    null = [run(x, *permute_clips(y, mask, settings.seed, i), settings.seed + i) for i in range(settings.nulls)]
    results = {}
    for name in UPPER:
        mine, nulls = [r[name] for r in runs], [r[name]["value"] for r in null]
        label = name if name == "leave-one-out" else f"club-{name}"
        results[name] = collect(label, "upper", mine, nulls, x, y, mask, settings)
    return results


def _upper(fitted: FittedClub, mu, logvar, y, mask, estimator: str) -> dict[str, Any]:
    if estimator not in UPPER:
        complain([f"estimator '{estimator}' is unknown; there are {', '.join(UPPER)}"])
    settings, seed = fitted.settings, fitted.seed
    if estimator == "leave-one-out":
        terms = contrast(mu, logvar, y, mask, settings.chunk, own=False)
        return mean_over_clips(terms.numpy(), mask.numpy(), settings, seed)
    known, read = torch.cat([mu, logvar], dim=-1), Read()

    def value(rows, draw):
        generator = torch.Generator().manual_seed(seed * 100_003 + draw)
        return float(read.estimate(known[rows], y[rows], mask[rows], estimator=estimator, generator=generator))

    def replicates():
        counts = resample(len(y), settings, seed).astype(int)
        drawn = (clips.repeat_interleave(torch.from_numpy(c)) for c in counts)
        with torch.no_grad():
            return np.array([value(rows, i) for i, rows in enumerate(drawn, start=1)])

    clips = torch.arange(len(y))
    with torch.no_grad():
        return {"value": value(clips, 0), "replicates": replicates}


def contrast(mu, logvar, y, mask, chunk: int, own: bool) -> torch.Tensor:
    """log q(y_i|x_i) less the log of the mean of q(y_i|x_j) over the clips of the step, with or without j =
    i.

    With it this is InfoNCE with critic log q(y|x), a lower bound for any q; without, the leave-one-out upper
    bound.
    """
    terms = torch.zeros(y.shape[:2], dtype=y.dtype)
    for t in range(y.shape[1]):
        rows = mask[:, t].nonzero().squeeze(1)
        if len(rows) < 2:
            continue
        m, v, z = mu[rows, t], logvar[rows, t], y[rows, t]
        precision = (-v).exp()
        constant = (m * m * precision + v).sum(dim=-1)
        for part in torch.arange(len(rows)).split(chunk):
            # log q(y_i|x_j) for i in the part and all j, by expanding the square: no [i, j, d] tensor
            log_q = z[part] @ (precision * m).T - ((z[part] ** 2) @ precision.T + constant) / 2
            joint = log_q[torch.arange(len(part)), part].clone()
            if not own:
                log_q[torch.arange(len(part)), part] = -torch.inf
            terms[rows[part], t] = joint - torch.logsumexp(log_q, dim=1) + math.log(len(rows) - (not own))
    return terms


def _trust(mu, logvar, y, mask, fitted: FittedClub) -> tuple[dict[str, float], list[str]]:
    mu, logvar, y = mu[mask], logvar[mask], y[mask]
    square = (y - mu) ** 2 * (-logvar).exp()
    # scaled y has mean 0 and variance 1 on the fitting clips: that Gaussian is the reference
    skill = float(((y**2 - square - logvar) / 2).sum(dim=-1).mean())
    residual = float(square.mean())
    limit = fitted.q.limit if isinstance(fitted.q, Club) else np.inf
    saturated = float((logvar.abs() > 0.99 * limit).double().mean())
    linear = isinstance(fitted.q, _Ridge)
    curve = fitted.curve
    flags = []
    if saturated > 0.01:
        flags.append(
            f"{saturated:.0%} of q's log-variances sit at the edge of their range: "
            "the value follows the scale of "
            "y, not its dependence on x"
        )
    if residual > 1.5:
        flags.append(
            f"q's held-out errors are {residual:.1f} times the variance it claims: "
            "it is overconfident on new "
            "clips and its bound is not to be relied on"
        )
    if skill <= 0:
        flags.append(
            "q predicts held-out y no better than y's mean does: either there is nothing to find, or q did "
            "not find it and bounds nothing"
        )
    if not linear and curve[-1, 0] >= fitted.settings.steps and curve[-1, 2] >= curve[:, 2].max():
        flags.append(f"q was still improving after {fitted.settings.steps} steps; raise Settings(steps=...)")
    explained = min(fitted.scale_x.explained, fitted.scale_y.explained)
    detail = {
        "skill": skill,
        "residual": residual,
        "saturated": saturated,
        "linear": float(linear),
        "explained_x": fitted.scale_x.explained,
        "explained_y": fitted.scale_y.explained,
    }
    if explained < 0.9:
        flags.append(f"the principal components read hold only {explained:.0%} of a side's variance")
    return detail, flags


def ascend(module: nn.Module, gain: Callable, data: dict, settings: Settings, seed: int) -> np.ndarray:
    """Raise ``gain`` of random batches of fitting clips by Adam; end with the weights best on the stopping
    clips.
    """
    rng = np.random.default_rng([seed, 7])
    optimiser = torch.optim.Adam(module.parameters(), lr=settings.lr, fused=True)  # small networks: overhead counts
    n = len(data["fit"][0])
    size = min(settings.batch, n)
    best, most, waited, curve, recent = copy.deepcopy(module.state_dict()), -math.inf, 0, [], []
    order = np.empty(0, dtype=int)
    for step in range(1, settings.steps + 1):
        if len(order) < size:
            order = rng.permutation(n)
        rows, order = torch.from_numpy(order[:size]), order[size:]
        value = gain(tuple(part[rows] for part in data["fit"]))
        optimiser.zero_grad(set_to_none=True)
        (-value).backward()
        optimiser.step()
        recent.append(float(value.detach()))
        if step % settings.check and step < settings.steps:
            continue
        module.eval()
        with torch.no_grad():
            stop = float(gain(data["stop"]))
        module.train()
        curve.append((step, np.mean(recent), stop))
        recent, waited = [], waited + 1
        if stop > most:
            best, most, waited = copy.deepcopy(module.state_dict()), stop, 0
        if waited >= settings.patience:
            break
    module.load_state_dict(best)
    return np.array(curve)


def tensors(x: np.ndarray, y: np.ndarray, mask: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.from_numpy(x).float(), torch.from_numpy(y).float(), torch.from_numpy(mask)
