"""Bounds on the information of two sets of features, from predictors fitted after the fact.

Upper: CLUB and the leave-one-out bound, from a conditional Gaussian q(y|x). Lower: InfoNCE, how well the clip that
belongs to another is told from all others. Predictors are fitted on one part of the clips, stopped early on a
second and scored on a third, with all scored clips as each other's negatives at the same step. Both sides are
standardised with the fitting clips' moments, which changes no information.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.special import logsumexp
from torch import nn

from srcid.information.estimates import Estimate, Settings, Side, mean_over_clips, repeat, split_clips, transform
from srcid.model.mutual_information import LOGVAR_LIMIT, Club
from srcid.optimiser import Adam
from srcid.statistics import bootstrap_weights

HIDDEN, EMBEDDING = 128, 64  # widths of the networks, and of InfoNCE's separable critic
LR, BATCH, CHECK, PATIENCE = 5e-3, 128, 10, 3  # Adam; steps between looks at the stopping clips, looks without gain
EXACT = 1e-6  # share of y's variance left unexplained below which y is a function of x
CHUNK = 256  # clips held at once while scoring; changes no result
KINDS = {"infonce": "lower", "leave-one-out": "upper", "club": "upper"}


@dataclass(frozen=True)
class Gaussian:
    """q(y|x) = N(mu(x), diag sigma^2(x)) for standardised sides: Club's network, or a ridge regression."""

    predict: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # x [...,d] -> mean and log-variance [...,e]
    linear: bool
    curve: tuple = ()


def fit_ridge(x: np.ndarray, y: np.ndarray) -> Gaussian:
    """Ridge regression of y [n,e] on x [n,d]; its leave-one-out errors choose its strength and are its variances."""
    from sklearn.linear_model import RidgeCV

    strengths = len(x) * np.logspace(-4, 2, 7)
    model = RidgeCV(alphas=strengths, store_cv_results=True).fit(x, y)
    error = model.cv_results_.reshape(*y.shape, -1)[..., strengths == model.alpha_][..., 0].mean(axis=0)
    logvar = np.log(np.maximum(error, 1e-12))

    def predict(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mu = rows @ np.reshape(model.coef_, (y.shape[1], -1)).T + model.intercept_
        return mu, np.broadcast_to(logvar, mu.shape)

    return Gaussian(predict, True)


def fit_network(data: dict[str, tuple[np.ndarray, ...]], settings: Settings, seed: int) -> Gaussian:
    """Fit Club's network by maximum likelihood; ``data`` has (x, y, mask) of the parts "fit" and "stop"."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        club = Club(data["fit"][0].shape[-1], data["fit"][1].shape[-1], HIDDEN, scale="raw")  # scaled already
    curve = _fit(club, lambda part: club.log_likelihood(*part), data, settings, seed)
    club.double().eval()

    def predict(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            mu, logvar = club.gaussian(torch.from_numpy(np.ascontiguousarray(rows)))
        return mu.numpy(), logvar.numpy()

    return Gaussian(predict, False, curve)


def feature_bounds(x: Side, y: Side, mask: np.ndarray, settings: Settings) -> dict[str, Estimate]:
    """Bound I(x;y) of features from below and from above.

    "club" (Cheng et al. 2020): the mean of log q over pairs that belong together less that over all pairs of the
    step. "leave-one-out" (Poole et al. 2019): log q(y|x) less the log of its mean over the other clips, much
    tighter where the dependence is strong. Both bound from above where q is the true conditional; q is Club's
    network, or the ridge regression where the stopping clips like that better: with few clips a network finds
    nothing in many dimensions. "infonce" (van den Oord et al. 2018) bounds from below for any critic, but cannot
    exceed the logarithm of the scored clips; its critic is a separable network or log q of the ridge.

    ``detail`` says how far the upper bounds may be trusted: "skill" is the held-out log-likelihood of q over that
    of an independent Gaussian, in nats a step; "residual" the held-out squared error over q's variance (1 if q is
    right); "saturated" the share of log-variances at the edge of their range; "linear" the share of seeds whose q
    is the ridge. Where q leaves nothing unexplained, the upper bounds are infinite.
    """
    from sklearn.preprocessing import StandardScaler

    def run(x: Side, y: Side, mask: np.ndarray, seed: int) -> dict[str, dict[str, Any]]:
        parts = split_clips(len(mask), seed)
        fit = parts["fit"]
        scalers = [StandardScaler().fit(side.values[fit][mask[fit]]) for side in (x, y)]
        scaled = [transform(scaler, side.values) for scaler, side in zip(scalers, (x, y), strict=True)]
        data = {name: (scaled[0][rows], scaled[1][rows], mask[rows]) for name, rows in parts.items()}
        a, b, valid = data["fit"]
        ridge, network = fit_ridge(a[valid], b[valid]), fit_network(data, settings, seed)
        q = max((network, ridge), key=lambda q: _likelihood(q, *data["stop"]))
        return _upper(q, *data["score"], settings, seed) | {"infonce": _infonce(ridge, data, settings, seed)}

    return repeat(KINDS, run, x, y, mask, settings)


def _likelihood(q: Gaussian, x: np.ndarray, y: np.ndarray, mask: np.ndarray) -> float:
    mu, logvar = q.predict(x[mask])
    return float((-((y[mask] - mu) ** 2) * np.exp(-logvar) - logvar).sum(axis=-1).mean() / 2)


def _upper(q: Gaussian, x, y, mask, settings: Settings, seed: int) -> dict[str, dict[str, Any]]:
    mu, logvar = q.predict(x)
    limit = LOGVAR_LIMIT["free"]
    square, spread = (y[mask] - mu[mask]) ** 2 * np.exp(-logvar[mask]), logvar[mask]
    # standardised y has mean 0 and variance 1 on the fitting clips: that Gaussian is the reference
    skill = float((y[mask] ** 2 - square - spread).sum(axis=-1).mean() / 2)
    residual = float(square.mean())
    saturated = 0.0 if q.linear else float((np.abs(spread) > 0.99 * limit).mean())
    exact = (spread < (np.log(EXACT) if q.linear else -0.99 * limit)).mean() > 0.01
    flags = []
    if exact:
        flags.append("y is a function of x as far as can be seen: their information is unbounded")
    elif saturated > 0.01:
        flags.append(f"{saturated:.0%} of q's log-variances sit at the edge of their range")
    if residual > 1.5:
        flags.append(f"q's errors on new clips are {residual:.1f} times the variance it claims: it is overconfident")
    if skill <= 0:
        flags.append("q predicts y no better than y's mean does: there is nothing to find, or q did not find it")
    if q.curve and q.curve[-1][0] >= settings.steps and q.curve[-1][2] >= max(look[2] for look in q.curve):
        flags.append(f"q was still improving after {settings.steps} steps; raise Settings(steps=...)")
    detail = {"skill": skill, "residual": residual, "saturated": saturated, "linear": float(q.linear)}
    about = {"detail": detail, "flags": flags, "curve": q.curve}
    if exact:
        return {name: {"value": math.inf, "replicates": np.full(2, math.inf), **about} for name in KINDS}
    left_out = mean_over_clips(contrast(mu, logvar, y, mask, own=False), mask, settings, seed)
    return {"club": _club(mu, logvar, y, mask, settings, seed) | about, "leave-one-out": left_out | about}


def _club(mu, logvar, y, mask, settings: Settings, seed: int) -> dict[str, Any]:
    """Eq. 6 over all negatives: the mean over j of (mu_i - y_j)^2 is mu_i^2 - 2 mu_i mean(y) + mean(y^2).

    Clips enter by how often they are drawn, so that resamples are products of matrices.
    """
    counts = np.vstack([np.ones(len(y)), bootstrap_weights(len(y), settings.bootstrap, seed)])
    total = np.zeros(len(counts))
    for t in range(y.shape[1]):
        weight = counts * mask[:, t]
        size = np.maximum(weight.sum(axis=1, keepdims=True), 1)
        precision, m, z = np.exp(-logvar[:, t]), mu[:, t], y[:, t]
        other = (weight @ precision * (weight @ z**2) - 2 * weight @ (precision * m) * (weight @ z)) / size
        total += (other.sum(axis=1) + weight @ (precision * (2 * m * z - z**2)).sum(axis=1)) / 2
    total /= (counts @ mask).sum(axis=1)
    return {"value": float(total[0]), "replicates": total[1:]}


def contrast(mu: np.ndarray, logvar: np.ndarray, y: np.ndarray, mask: np.ndarray, own: bool) -> np.ndarray:
    """log q(y_i|x_i) less the log of the mean of q(y_i|x_j) over the clips of the step, with j = i or without; [n,T].

    With it this is InfoNCE with critic log q(y|x), a lower bound for any q; without, the leave-one-out upper bound.
    """
    terms = np.zeros(y.shape[:2])
    for t in range(y.shape[1]):
        rows = np.flatnonzero(mask[:, t])
        if len(rows) < 2:
            continue
        m, v, z = mu[rows, t], logvar[rows, t], y[rows, t]
        precision = np.exp(-v)
        constant = (m * m * precision + v).sum(axis=-1)
        for part in np.array_split(np.arange(len(rows)), -(-len(rows) // CHUNK)):
            # log q(y_i|x_j) for i in the part and all j, by expanding the square: no [i, j, d] array
            log_q = z[part] @ (precision * m).T - ((z[part] ** 2) @ precision.T + constant) / 2
            joint = log_q[np.arange(len(part)), part].copy()
            if not own:
                log_q[np.arange(len(part)), part] = -np.inf
            terms[rows[part], t] = joint - logsumexp(log_q, axis=1) + math.log(len(rows) - (not own))
    return terms


class _Critic(nn.Module):
    """Separable critic f(x)·g(y) of InfoNCE, both directions averaged; one network a side."""

    def __init__(self, x_dim: int, y_dim: int) -> None:
        super().__init__()
        self.left, self.right = (
            nn.Sequential(
                nn.Linear(dim, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, EMBEDDING)
            )
            for dim in (x_dim, y_dim)
        )

    def terms(self, x: torch.Tensor, y: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Per clip and step, log N + the mean log-probability of finding y from x and x from y; [n,T]."""
        left, right = (z.transpose(0, 1) for z in (self.left(x), self.right(y)))  # [T,n,width]
        score = left @ right.transpose(1, 2) * EMBEDDING**-0.5  # [T,n,n]
        own = score.diagonal(dim1=1, dim2=2)
        absent = ~mask.T[:, None, :]
        # a step without a valid pair would give -inf - -inf; its term is not used
        sides = [torch.logsumexp(s.masked_fill(absent, -torch.inf), -1).nan_to_num(neginf=0.0)
                 for s in (score, score.transpose(1, 2))]  # fmt: skip
        return (own - (sides[0] + sides[1]) / 2 + mask.sum(dim=0).clamp(min=1).to(x.dtype).log()[:, None]).T


def _infonce(ridge: Gaussian, data: dict[str, tuple], settings: Settings, seed: int) -> dict[str, Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        critic = _Critic(data["fit"][0].shape[-1], data["fit"][1].shape[-1])
    curve = _fit(critic, lambda part: critic.terms(*part)[part[2]].mean(), data, settings, seed)
    critic.double()

    def by_network(x, y, mask):
        with torch.no_grad():
            return critic.terms(*(torch.from_numpy(z) for z in (x, y, mask))).numpy()

    def by_ridge(x, y, mask):
        return contrast(*ridge.predict(x), y, mask, own=True)

    stop, score = data["stop"], data["score"]
    best = max((by_network, by_ridge), key=lambda terms: terms(*stop)[stop[2]].mean())
    result = mean_over_clips(best(*score), score[2], settings, seed)
    cap = math.log(max(int(score[2].sum(axis=0).max()), 1))
    near = result["value"] > 0.8 * cap
    flags = [f"near its cap of log({round(math.exp(cap))}) = {cap:.1f} nats: the truth may be far higher"] * near
    return result | {"cap": cap, "flags": flags, "curve": curve, "detail": {"linear": float(best is by_ridge)}}


def _fit(module: nn.Module, gain: Callable, data: dict[str, tuple], settings: Settings, seed: int) -> tuple:
    """Raise ``gain`` of random batches of fitting clips by Adam; end with the weights best on the stopping clips.

    Returns (step, gain on fitting clips, gain on stopping clips) of each look.
    """
    x, y, mask = (torch.from_numpy(z) for z in data["fit"])
    fit, stop = (x.float(), y.float(), mask), [torch.from_numpy(z) for z in data["stop"]]
    stop = (stop[0].float(), stop[1].float(), stop[2])
    rng, n = np.random.default_rng([seed, 7]), len(mask)
    optimiser = Adam(module.parameters(), lr=LR, fused=True)  # small networks: overhead counts
    best, most, waited, curve, recent = copy.deepcopy(module.state_dict()), -math.inf, 0, [], []
    order = np.empty(0, dtype=int)
    for step in range(1, settings.steps + 1):
        if len(order) < min(BATCH, n):
            order = rng.permutation(n)
        rows, order = torch.from_numpy(order[:BATCH]), order[BATCH:]
        value = gain(tuple(part[rows] for part in fit))
        optimiser.zero_grad(set_to_none=True)
        (-value).backward()
        optimiser.step()
        recent.append(float(value.detach()))
        if step % CHECK and step < settings.steps:
            continue
        with torch.no_grad():
            found = float(gain(stop))
        curve.append((float(step), float(np.mean(recent)), found))
        recent, waited = [], waited + 1
        if found > most:
            best, most, waited = copy.deepcopy(module.state_dict()), found, 0
        if waited >= PATIENCE:
            break
    module.load_state_dict(best)
    return tuple(curve)
