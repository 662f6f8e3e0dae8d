"""Losses that align modalities: cross-modal code matching (CMCM) and contrastive predictive coding (CPC).

Both are InfoNCE over the clips of a batch: what one modality says of a clip should fit the same clip in
another modality better than it fits other clips. With nothing learned each is log B a pair; 0 is perfect.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

PUBLISHED_FLOOR = 1e-10  # added to code probabilities before the logarithm
PUBLISHED_EPSILON = 1e-5  # added to the InfoNCE denominator


def code_matching_loss(
    logits: dict[str, Tensor], masks: dict[str, Tensor] | None = None, form: str = "paper"
) -> Tensor:
    """Return the cross-modal code matching loss (Liu et al. 2022), summed over unordered pairs of modalities.

    ``P^m_i`` is the mean over the valid steps of clip i of softmax(logits), the clip's distribution over
    codes. Clips i and j are as similar as ``S_ij = sum_l P^m_i log P^n_j + P^n_j log P^m_i``.

    Args:
        logits: ``{m: [B, T, L]}``, minus the distance of each feature to each code.
        masks: ``{m: bool [B, T]}``; padded steps do not count, and clips without a valid step take no part.
        form: ``paper``: cross-entropy over the rows of S with the diagonal positive, averaged over both
            directions of a pair, so that the order of modalities does not matter. ``published``: half the row
            direction alone (``paper`` weighs a pair twice as much), the second term of S crossed as ``P^n_i
            log P^m_j``, and small constants inside the logarithms.
    """
    masks = masks or {}
    with torch.autocast(next(iter(logits.values())).device.type, enabled=False):
        codes = {m: _clip_codes(scores, masks.get(m)) for m, scores in logits.items()}
        total = next(iter(logits.values())).new_zeros(())
        for m, n in itertools.combinations(codes, 2):
            (log_p, here), (log_q, there) = codes[m], codes[n]
            pair = _published_matching if form == "published" else _matching
            total = total + pair(log_p, log_q, None if here is None and there is None else _both(here, there))
    return total


def _clip_codes(logits: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return log P ``[B, L]``, averaged over valid steps, and which clips have any (None: all)."""
    steps = logits.log_softmax(-1)
    if mask is None:
        return steps.logsumexp(1) - math.log(steps.shape[1]), None
    valid = mask.any(1)
    weight = torch.where(
        valid[:, None], mask.to(steps.dtype), 1.0
    )  # a clip without a step stays finite, and is left out
    weight = weight / weight.sum(1, keepdim=True)
    return (steps + weight.clamp_min(torch.finfo(steps.dtype).tiny).log().unsqueeze(-1)).logsumexp(1), valid


def _both(here: Tensor | None, there: Tensor | None) -> Tensor:
    return here & there if here is not None and there is not None else there if here is None else here


def _matching(log_p: Tensor, log_q: Tensor, valid: Tensor | None) -> Tensor:
    """Mean over clips of the cross-entropies along both axes of S."""
    if valid is not None:
        log_p, log_q = log_p[valid], log_q[valid]
    similarity = log_p.exp() @ log_q.T + (log_q.exp() @ log_p.T).T
    fits = similarity.log_softmax(1).diagonal() + similarity.log_softmax(0).diagonal()
    return -0.5 * fits.sum() / max(1, len(fits))


def _published_matching(log_p: Tensor, log_q: Tensor, valid: Tensor | None) -> Tensor:
    if valid is not None:
        log_p, log_q = log_p[valid], log_q[valid]
    if not len(log_p):
        return log_p.sum()
    p, q = log_p.exp(), log_q.exp()
    similarity = p @ (q + PUBLISHED_FLOOR).log().T + q @ (p + PUBLISHED_FLOOR).log().T
    shifted = similarity - similarity.min()  # the source shifts by the least similarity before it adds the epsilon
    epsilon = shifted.new_full((len(p),), math.log(PUBLISHED_EPSILON))
    fits = shifted.diagonal() - torch.logaddexp(shifted.logsumexp(1), epsilon)
    return -0.5 * fits.mean()


class CrossModalCPC(nn.Module):
    """Cross-modal CPC (van den Oord et al. 2018; Eq. 7 of the SRCID paper).

    An LSTM per modality summarises the steps up to t in a context ``c^m_t``; a linear map per modality and
    horizon, ``W^m_r c^m_t``, scores the features ``z^n_{t+r}`` of all clips of the batch, in every other
    modality n.

    Args:
        modalities: names, two or more unless ``same_weight`` is positive.
        dim: width D of features, and of contexts.
        horizon: R, steps predicted ahead.
        depth: LSTM layers; the published code has 2.
        same_weight: weight of the pairs m = n; the published code has 0.1.
        negatives: ``targets``: a prediction is compared with the targets of all clips (Eq. 7);
            ``predictions``: a target is compared with the predictions of all clips (published).
    """

    def __init__(
        self,
        modalities: tuple[str, ...],
        dim: int,
        horizon: int = 1,
        depth: int = 1,
        same_weight: float = 0.0,
        negatives: str = "targets",
    ) -> None:
        super().__init__()
        self.modalities, self.horizon, self.same_weight = tuple(modalities), horizon, same_weight
        self.negatives = negatives
        self.context = nn.ModuleDict({m: nn.LSTM(dim, dim, depth, batch_first=True) for m in self.modalities})
        self.predictor = nn.ModuleDict({m: nn.Linear(dim, horizon * dim) for m in self.modalities})

    def draw_step(self, steps: int) -> int:
        """Draw the context's last step t: 1 to T - 1 - R, as published, or 0 where clips are too short.

        Raises:
            ValueError: clips of ``steps`` steps hold no target R steps ahead.
        """
        latest = steps - 1 - self.horizon
        if latest < 0:
            raise ValueError(
                f"found clips of {steps} steps, need at least {self.horizon + 1} to predict"
                f" cpc_horizon={self.horizon} steps ahead; lower cpc_horizon or set cpc_weight=0"
            )
        earliest = min(1, latest)
        return earliest + int(torch.randint(latest - earliest + 1, ()))

    def forward(
        self, features: dict[str, Tensor], step: int | None = None, masks: dict[str, Tensor] | None = None
    ) -> Tensor:
        """Return the loss: InfoNCE averaged over clips and horizons, summed over ordered pairs of modalities.

        Args:
            features: ``{m: [B, T, D]}`` for each of ``modalities``.
            step: the context's last step t, from 0; None draws it.
            masks: ``{m: bool [B, T]}``; a clip takes part in a pair where context and target step are valid.

        Raises:
            ValueError: T is too short for the horizon, or ``step`` leaves no room for it.
        """
        names = self.modalities
        clips, steps, dim = features[names[0]].shape
        step = self.draw_step(steps) if step is None else step
        if not 0 <= step < steps - self.horizon:
            raise ValueError(
                f"found step={step} in clips of {steps} steps, need 0 to {steps - 1 - self.horizon}"
                f" (cpc_horizon={self.horizon}); choose an earlier step"
            )
        if not clips:
            return sum(features[m].sum() for m in names)
        predictions, targets = [], []
        for m in names:
            context = self.context[m](features[m][:, : step + 1])[0][:, -1]
            predictions.append(self.predictor[m](context).view(clips, self.horizon, dim))
            targets.append(features[m][:, step + 1 : step + 1 + self.horizon])
        # one product per horizon scores all clips and ordered pairs: context m of clip b against target n of
        # clip c
        left, right = (torch.stack(rows).permute(2, 0, 1, 3).flatten(1, 2) for rows in (predictions, targets))
        scores = (left @ right.mT).view(self.horizon, len(names), clips, len(names), clips).transpose(2, 3)
        return self._info_nce(scores, self._valid(masks, step, (clips, steps), scores.device))

    def _valid(self, masks: dict[str, Tensor] | None, step: int, shape: tuple, device: torch.device) -> Tensor | None:
        """Return which clips have a valid context m at t and a valid target n at t + r, ``[R, m, n, B]``."""
        if not masks:
            return None
        whole = torch.ones(shape, dtype=torch.bool, device=device)
        mask = torch.stack([masks.get(m, whole) for m in self.modalities])
        ahead = mask[:, :, step + 1 : step + 1 + self.horizon].permute(2, 0, 1)
        return mask[None, :, None, :, step] & ahead[:, None]

    def _info_nce(self, scores: Tensor, valid: Tensor | None) -> Tensor:
        """Return the loss of ``scores [R, m, n, b, c]``, in which b = c is the positive."""
        rivals = -1 if self.negatives == "targets" else -2
        if valid is not None:  # an invalid clip is neither anchor nor negative
            scores = scores.masked_fill(~valid.unsqueeze(-2 if rivals == -1 else -1), torch.finfo(scores.dtype).min)
        misfit = -scores.log_softmax(rivals).diagonal(dim1=-2, dim2=-1)  # [R, m, n, B]
        if valid is None:
            pairs = misfit.mean((0, -1))
        else:
            pairs = ((misfit * valid).sum(-1) / valid.sum(-1).clamp_min(1)).mean(0)
        return (torch.ones_like(pairs).fill_diagonal_(self.same_weight) * pairs).sum()
