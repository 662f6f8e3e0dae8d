"""Vector quantisation with a codebook that all modalities share, and its residual form.

References: van den Oord et al. 2017 (VQ, EMA), Xia et al. 2023 (MM-EMA, DCID), Lee et al. 2022 (residual VQ).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from srcid.model.assignment import assign
from srcid.model.quantizer import NegativeDistance, Quantizer, nearest_codes

RECENT = 100  # steps: the published revival copies a code that was in use this recently
REVIVAL_NOISE = 1 / 1024  # half-width of the uniform noise on such a copy
KMEANS_STEPS = 10


class Wait:
    """Counts steps until a code can have been idle for ``limit`` of them: only then a GPU is asked, and waited for."""

    def __init__(self, limit: int) -> None:
        self.limit, self.left = limit, 0

    def over(self) -> bool:
        """Count a step; return whether some code may have been idle long enough."""
        self.left -= 1
        return self.left <= 0

    def begin(self, idle: Tensor) -> None:
        """Look at how long codes have been idle, and wait until the first of them can reach the limit."""
        self.left = self.limit - int(idle.max())


class VectorQuantizer(Quantizer):
    """One codebook for all modalities, moved by multi-modal EMA (MM-EMA; method section 3).

    The code of a feature is its nearest code vector. A code's running sum takes, for each feature assigned to
    it, half that feature and half the mean of the other modalities at the same clip and step; with a single
    modality this is the ordinary EMA of van den Oord et al. (2017), appendix A.1.

    Args:
        size: code vectors L.
        dim: width D.
        decay: EMA decay gamma, per step.
        epsilon: Laplace smoothing of the counts.
        order: ``joint``: one update a step; ``sequential``: one per modality in turn, each with decay
            (published).
        repeats: EMA updates per step, each with codes chosen anew (the published two-layer code makes 6).
        idle: what becomes of a code that a step assigns nothing to: ``stay``, or (published) its sum decays
            against a smoothed count, so that it drifts to the origin.
        partner: what of another modality joins the sums: ``index``, its feature at the same step, or
            ``attention``, softmax over the clip's steps t' of ``z^m_t . z^n_t' / sqrt(D)``, with values
            ``z^n_t'``.
        init: ``samples`` or ``kmeans`` of the first training batch, mixed across modalities as in an
            update, or ``uniform`` in +-1/L (published).
        revival: ``reset``: a code idle for ``revival_after`` steps restarts at a feature of the batch, with
            its EMA state; ``row``: only its row is overwritten, by a recently used code plus noise
            (published; the next update undoes it); ``off``.
        revival_after: steps in a row without use before revival.
        beta: commitment cost.
        commitment: ``paper``: beta times own + beta/2 times the mean over the others; ``published``: 2 beta
            times own + beta/2 times the sum over the others. Each term is a mean over clips, steps and
            features.
        zero_code: pin the vector of code 0 to zero after every update; its EMA state goes on (the published
            residual stages).
        metric: ``euclidean``, or ``cosine``: features and code vectors are brought to one length, sqrt(D), so that
            only their direction counts. Yu et al. (ICLR 2022, ViT-VQGAN) found more codes in use so; and how long a
            feature is, which differs between modalities, no longer decides which code it has.
        assignment: from which code a feature learns in training: ``nearest``, ``joint`` or ``transport``;
            :mod:`srcid.model.assignment` says why.
    """

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        decay: float = 0.99,
        epsilon: float = 1e-5,
        order: str = "joint",
        repeats: int = 1,
        idle: str = "stay",
        partner: str = "index",
        init: str = "samples",
        revival: str = "reset",
        revival_after: int = 100,
        beta: float = 0.25,
        commitment: str = "paper",
        zero_code: bool = False,
        metric: str = "euclidean",
        assignment: str = "nearest",
    ) -> None:
        super().__init__(dim)
        self.cosine, self.assignment = metric == "cosine", assignment
        self.size, self.decay, self.epsilon = size, decay, epsilon
        self.repeats = repeats
        self.order, self.idle_codes, self.partner, self.init = order, idle, partner, init
        self.revival, self.revival_after = revival, revival_after
        self.zero_code = zero_code
        self.own_weight = beta * (2 if commitment == "published" else 1)
        self.other_weight, self.sum_others = beta / 2, commitment == "published"

        codebook = self._directed(torch.empty(size, dim).uniform_(-1 / size, 1 / size))
        self.register_buffer("codebook", codebook)
        self.register_buffer("counts", torch.zeros(size))  # EMA of assignments; Laplace-smoothed
        self.register_buffer("sums", codebook.clone())  # EMA of assigned features; codebook = sums / counts
        # steps in a row without assignment
        self.register_buffer("idle", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("ready", torch.tensor(init == "uniform"))
        self._placed, self._wait = False, Wait(revival_after)
        self._pin()

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.size,)

    @property
    def codebooks(self) -> Tensor:
        return self.codebook.unsqueeze(0)

    @property
    def placed(self) -> bool:
        """Whether the codebook has its start; once it has, no device is asked again."""
        self._placed = self._placed or bool(self.ready)
        return self._placed

    def _load_from_state_dict(self, *arguments, **options) -> None:
        super()._load_from_state_dict(*arguments, **options)
        self._placed, self._wait = False, Wait(self.revival_after)

    def encode(self, x: Tensor) -> Tensor:
        return self.nearest(x, 1)[1]

    def decode(self, codes: Tensor) -> Tensor:
        vectors = self.codebook[codes[..., 0].clamp_min(0)]
        return torch.where(codes[..., :1] >= 0, vectors, 0.0)

    def nearest(self, x: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        rows = self._directed(x.reshape(-1, self.dim).to(self.dtype))
        distances, codes = nearest_codes(rows, self.codebook, k)
        return distances.view(*x.shape[:-1], k), codes.view(*x.shape[:-1], k)

    def _quantize(
        self, z: Tensor, valid: Tensor | None, with_logits: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        z = self._directed(z)
        if self.training:
            self._start(z.detach(), valid)
        logits = None
        if with_logits:
            # the update below changes the codebook in place before backward: distances need a copy
            logits = NegativeDistance.apply(z.reshape(-1, self.dim), self.codebook.clone())
            logits = logits.view(*z.shape[:-1], self.size)
        if self.training and self.assignment != "nearest":
            codes = assign(self.assignment, z.detach(), self.codebook, valid)
        elif logits is not None:
            codes = logits.detach().argmax(-1)
        else:
            codes = self.encode(z.detach())[..., 0]
        vectors = self.codebook[codes]
        commitment = self._commitment(z, vectors, valid)
        if self.training:
            with torch.no_grad():
                self._update(z.detach(), codes, valid)
                for _ in range(1, self.repeats):
                    self._update(z.detach(), assign(self.assignment, z.detach(), self.codebook, valid), valid)
        # vectors + 0 with gradient 1 to z: the value is the code vector to the last bit
        return vectors + (z - z.detach()), codes.unsqueeze(-1), commitment, logits

    def _commitment(self, z: Tensor, vectors: Tensor, valid: Tensor | None) -> Tensor:
        """Return the commitment loss of each modality, ``[M]``.

        The mean of ``||z^m - q^n||^2`` over the others n is ``||z^m - mean q^n||^2`` plus the spread of the
        q^n around their mean: one pass for any number of modalities, and the spread needs no gradient.
        """
        own = (z - vectors).square().mean(-1)
        centre, count = mean_of_others(vectors, valid)
        spread = mean_of_others(vectors.square().mean(-1), valid)[0] - centre.square().mean(-1)
        others = (z - centre).square().mean(-1) + spread
        weight = self.other_weight * (count if self.sum_others else (count > 0).to(z.dtype))
        loss = self.own_weight * own + weight * others
        if valid is None:
            return loss.sum((1, 2)) / max(1, loss[0].numel())
        return torch.where(valid, loss, 0.0).sum((1, 2)) / valid.sum((1, 2)).clamp_min(1)

    # -------------------------------------------------------------------------------- state, without gradient

    @torch.no_grad()
    def _start(self, z: Tensor, valid: Tensor | None) -> None:
        """Place the codebook on the first training batch that holds any feature."""
        if self.placed:
            return
        rows = self._rows(z, valid)
        if not len(rows):
            return
        self.codebook.copy_(self._directed(codebook_from(rows, self.size, self.init)))
        self._restart(torch.ones_like(self.idle, dtype=torch.bool))
        self.ready.fill_(True)

    def _update(self, z: Tensor, codes: Tensor, valid: Tensor | None) -> None:
        """One MM-EMA step on ``z [M, B, T, D]`` with codes ``[M, B, T]``, then revival of idle codes."""
        mixed = self._mix(z, valid)
        used = torch.zeros_like(self.idle, dtype=torch.bool)
        for group in [slice(None)] if self.order == "joint" else [slice(m, m + 1) for m in range(len(z))]:
            counted = None if valid is None else valid[group]
            counts, sums = totals(codes[group], mixed[group], self.size, counted)
            used |= counts > 0
            self._ema(counts, sums)
        self._age(used, z, valid)

    def _age(self, used: Tensor, z: Tensor, valid: Tensor | None) -> None:
        """Count the steps without use, and revive what was idle too long; in an empty batch nothing ages."""
        self.idle.add_(used.any()).masked_fill_(used, 0)
        if self.revival != "off":
            self._revive(z, valid)
        self._pin()

    def _pin(self) -> None:
        if self.zero_code:
            self.codebook[0] = 0

    def _directed(self, x: Tensor) -> Tensor:
        """Return ``x [..., D]`` at length sqrt(D) where only directions count."""
        return functional.normalize(x, dim=-1) * math.sqrt(self.dim) if self.cosine else x

    def _mix(self, z: Tensor, valid: Tensor | None) -> Tensor:
        """Return what each feature adds to its code: half itself, half its partners elsewhere."""
        if self.partner == "attention" and len(z) > 1:
            others, count = self._attend(z, valid)
        else:
            others, count = mean_of_others(z, valid)
        if valid is None and len(z) > 1:
            return z.lerp(others, 0.5)
        return torch.where(count.unsqueeze(-1) > 0, z.lerp(others, 0.5), z)

    def _rows(self, z: Tensor, valid: Tensor | None) -> Tensor:
        """Return the mixed features ``[N, D]`` of the valid steps: places where MM-EMA itself would put a code."""
        mixed = self._mix(z, valid)
        return mixed.reshape(-1, self.dim) if valid is None else mixed[valid]

    def _attend(self, z: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
        """Cross-attention without parameters over the steps of a clip, mean over the other modalities.

        One batched product holds all ordered pairs: scores ``[B, M, T, M, T]``.
        """
        m, b, t, d = z.shape
        rows = z.transpose(0, 1).reshape(b, m * t, d)
        scores = (rows @ rows.mT).view(b, m, t, m, t) / math.sqrt(d)
        pair = (1 - torch.eye(m, dtype=z.dtype, device=z.device)).expand(b, m, m)
        if valid is not None:
            keys = valid.transpose(0, 1)  # [B, M, T]
            scores = scores.masked_fill(~keys[:, None, None], torch.finfo(z.dtype).min)
            pair = pair * keys.any(-1)[:, None].to(z.dtype)  # a modality without any real step is no partner
        count = pair.sum(-1)  # [B, M]
        pair = pair / count.clamp_min(1)[..., None]
        weights = scores.softmax(-1) * pair[:, :, None, :, None]
        others = weights.view(b, m * t, m * t) @ rows
        return others.view(b, m, t, d).transpose(0, 1), count.T.unsqueeze(-1)

    def _ema(self, counts: Tensor, sums: Tensor) -> None:
        """Move counts, sums and codebook towards one batch; all stay where nothing was assigned to any code."""
        smoothed = self.counts.mul(self.decay).add_(counts, alpha=1 - self.decay)
        total = smoothed.sum()
        smoothed.add_(self.epsilon).mul_(total / (total + self.size * self.epsilon))
        summed = self.sums.mul(self.decay).add_(sums, alpha=1 - self.decay)
        moved = self._directed(summed / smoothed[:, None])
        if self.idle_codes == "stay":  # smoothing floors the count of an unused code, so that sums / counts shrinks
            unused = (counts == 0)[:, None]
            moved = torch.where(unused, self.codebook, moved)
            summed = torch.where(unused, moved * smoothed[:, None], summed)
        some = counts.any()  # chosen by the device itself: asking it would mean to wait for it
        for buffer, value in ((self.counts, smoothed), (self.sums, summed), (self.codebook, moved)):
            buffer.copy_(torch.where(some, value, buffer))

    def _revive(self, z: Tensor, valid: Tensor | None) -> None:
        """Give codes that were idle too long another place."""
        if not self._wait.over():
            return
        idle = self.idle >= self.revival_after
        number = int(idle.sum())
        if number and self.revival == "reset":
            rows = self._rows(z, valid)
            if len(rows):
                self.codebook[idle] = self._directed(draw_samples(rows, number))
                self._restart(idle)
                self.idle[idle] = 0
        elif number:
            recent = (self.idle < RECENT).nonzero().flatten()
            if len(recent):
                pick, noise = self._draw_copies(len(recent), number)
                self.codebook[idle] = self._directed(self.codebook[recent[pick]] + noise)
                self.idle[idle] = 0
        self._wait.begin(self.idle)

    def _restart(self, codes: Tensor) -> None:
        """Make the EMA state of ``codes`` (bool ``[L]``) that of one assignment to their rows."""
        self.counts[codes] = 1
        self.sums[codes] = self.codebook[codes]

    def _draw_copies(self, choices: int, number: int) -> tuple[Tensor, Tensor]:
        """Draw which recent codes to copy ``[number]``, and the noise on the copies ``[number, D]``."""
        noise = torch.empty(number, self.dim).uniform_(-REVIVAL_NOISE, REVIVAL_NOISE)
        return torch.randint(choices, (number,)).to(self.idle.device), noise.to(self.codebook)


class ResidualQuantizer(Quantizer):
    """Residual VQ (Lee et al. 2022): stage s quantises what the stages before it left over; the sum is used.

    Every stage is a :class:`VectorQuantizer` with its own codebook and MM-EMA on its own residuals. Code
    vectors carry no gradient, so the commitment gradient of every stage reaches the features. Logits are
    those of the first stage, and so are :meth:`nearest` codes.

    Args:
        stages: number of stages S.
        size, dim, options: as in :class:`VectorQuantizer`.
        stage_commitment: ``mean`` over the stages; their ``sum``, which commits S times as strongly as one
            stage does and may hold the encoders where they began; or (published) that of the ``total`` alone.
    """

    def __init__(self, stages: int, size: int, dim: int, *, stage_commitment: str = "mean", **options) -> None:
        super().__init__(dim)
        self.stage_weight = {"mean": 1 / stages, "sum": 1.0, "total": 0.0}[stage_commitment]
        self.stages = nn.ModuleList(VectorQuantizer(size, dim, **options) for _ in range(stages))

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(stage.size for stage in self.stages)

    @property
    def codebooks(self) -> Tensor:
        return torch.stack([stage.codebook for stage in self.stages])

    def encode(self, x: Tensor) -> Tensor:
        residual, codes = x, []
        for stage in self.stages:
            codes.append(stage.encode(residual))
            residual = residual - stage.decode(codes[-1])
        return torch.cat(codes, -1)

    def decode(self, codes: Tensor) -> Tensor:
        return sum(stage.decode(codes[..., s : s + 1]) for s, stage in enumerate(self.stages))

    def nearest(self, x: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        return self.stages[0].nearest(x, k)

    def _quantize(
        self, z: Tensor, valid: Tensor | None, with_logits: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        residual, total, codes, commitment, logits = z, torch.zeros_like(z), [], z.new_zeros(len(z)), None
        for s, stage in enumerate(self.stages):
            values, code, loss, scores = stage._quantize(residual, valid, with_logits and s == 0)
            logits = scores if s == 0 else logits
            codes.append(code)
            commitment = commitment + self.stage_weight * loss
            total = total + values.detach()
            residual = residual - values.detach()
        if not self.stage_weight:
            commitment = self.stages[0]._commitment(z, total, valid)
        return total + (z - z.detach()), torch.cat(codes, -1), commitment, logits


def codebook_from(rows: Tensor, size: int, how: str) -> Tensor:
    """Return a codebook ``[size, D]`` of the ``rows [N, D]``: some of them (``samples``), or k-means centres."""
    codebook = draw_samples(rows, size)
    for _ in range(KMEANS_STEPS if how == "kmeans" else 0):
        counts, sums = totals(nearest_codes(rows, codebook)[1], rows, size)
        codebook = torch.where(counts[:, None] > 0, sums / counts[:, None].clamp_min(1), codebook)
    return codebook


def draw_samples(rows: Tensor, number: int) -> Tensor:
    """Draw ``number`` of the ``rows [N, D]``, without repetition while they last."""
    order = torch.cat([torch.randperm(len(rows)) for _ in range(math.ceil(number / len(rows)))])
    return rows[order[:number].to(rows.device)]


def totals(codes: Tensor, rows: Tensor, size: int, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return number ``[L]`` and sum ``[L, D]`` of the ``rows [..., D]`` that each of ``size`` codes is assigned.

    Where ``valid`` (bool, as ``codes``) is false, a row counts nothing. It is not cut out: a GPU would have to say how
    many are left, and be waited for.
    """
    rows, codes = rows.reshape(-1, rows.shape[-1]), codes.flatten()
    weight = torch.ones_like(rows[:, 0])
    if valid is not None:
        valid = valid.flatten()
        weight, rows, codes = valid.to(rows.dtype), torch.where(valid[:, None], rows, 0.0), codes.clamp_min(0)
    counts = rows.new_zeros(size).index_add_(0, codes, weight)
    return counts, rows.new_zeros(size, rows.shape[1]).index_add_(0, codes, rows)


def mean_of_others(values: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return, for ``values [M, B, T, ...]``, the mean over the *other* modalities at the same clip and step.

    Returns:
        That mean (zero where there is no other), and the number of others that are there, ``[M, B, T]`` or
        ``[M, 1, 1]``.
    """
    if valid is None:
        count = values.new_full((len(values), 1, 1), len(values) - 1)
        others = values.sum(0) - values
    else:
        weight = valid.to(values.dtype)
        count = weight.sum(0) - weight
        kept = torch.where(_match(valid, values), values, 0.0)
        others = kept.sum(0) - kept
    return others.div_(_match(count.clamp_min(1), values)), count


def _match(weight: Tensor, values: Tensor) -> Tensor:
    """Append axes to ``weight`` until it broadcasts over ``values`` from the left."""
    return weight.reshape(weight.shape + (1,) * (values.ndim - weight.ndim))
