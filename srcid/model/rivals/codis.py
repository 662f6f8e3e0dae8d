"""CODIS (Duan et al., CVPR 2022): prototypes shared by modalities, assigned by optimal transport from momentum twins.

    P^m = softmax_k cos(z~^m, c_k) / tau                      student: mean over the clip's steps
    T^m = transport plan between twins' clips and prototypes, uniform marginals, no gradient
    L_code  = - sum over m != n of mean_i sum_k (B T^n_ik) log P^m_ik  +  sum_m <sg T^m, 1 - cos(z~^m, c)>
    L_align = InfoNCE of students against twins, within and across modalities

[recalled] marks what is known of the method but was found in no source: twin momentum 0.995, the temperature, the
transport cost's part in L_code and its plan by the proximal point method, for which Sinkhorn's iterations stand here;
about 4,000 prototypes, here as many codes as every other method has. Fusion encoder, matching and masked-language
losses are left out. A probe reads the prototype nearest by cosine at each step.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from srcid.model.assignment import transport_plan
from srcid.model.quantizer import Parts, Quantizer, nearest_codes
from srcid.model.rivals.layer import RivalLayer, info_nce, ordered_pairs, pooled, present
from srcid.model.share import Features, own, whole
from srcid.params import Params


class PrototypeQuantizer(Quantizer):
    """Prototypes ``[L, D]`` that learn by gradient; a feature's code is the prototype nearest by cosine.

    Values are prototypes of length 1. It has no loss of its own: the method's losses move the prototypes.
    """

    def __init__(self, size: int, dim: int) -> None:
        super().__init__(dim)
        self.prototypes = nn.Parameter(torch.randn(size, dim))

    @property
    def sizes(self) -> tuple[int, ...]:
        return (len(self.prototypes),)

    @property
    def codebooks(self) -> Tensor:
        return functional.normalize(self.prototypes.detach(), dim=-1).unsqueeze(0)

    def encode(self, x: Tensor) -> Tensor:
        return self.nearest(x, 1)[1]

    def decode(self, codes: Tensor) -> Tensor:
        vectors = self.codebooks[0][codes[..., 0].clamp_min(0)]
        return torch.where(codes[..., :1] >= 0, vectors, 0.0)

    def nearest(self, x: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        """Distances are chords between directions, ``sqrt(2 - 2 cos)``."""
        return nearest_codes(functional.normalize(x.to(self.dtype), dim=-1), self.codebooks[0], k)

    def _quantize(self, z: Tensor, valid: Tensor | None, with_logits: bool) -> Parts:
        codes = self.encode(z.detach())
        return self.decode(codes) + (z - z.detach()), codes, z.new_zeros(len(z)), None


class CodisLayer(RivalLayer):
    """The layer of CODIS; see the module for its losses.

    Buffers hold the last ``codis_queue`` clips of each twin, so that a batch is not far smaller than the number of
    prototypes among which the plan has to spread it.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], params: Params, index: int = 1) -> None:
        super().__init__(shapes, params, PrototypeQuantizer(params.codebook_size, params.dim))
        self.twins = copy.deepcopy(self.general).requires_grad_(False)
        self.register_buffer("queue", torch.zeros(len(self.modalities), params.codis_queue, params.dim))
        self.register_buffer("queued", torch.zeros(len(self.modalities), dtype=torch.int64))

    def parts(self) -> list[nn.Module]:
        return [module for module in super().parts() if module is not self.twins]

    def objective(
        self, inputs: Features, general: dict[str, Tensor], quantized: dict[str, Tensor], masks: Features
    ) -> dict[str, Tensor]:
        p, losses = self.params, {"assign/1": 0.0, "contrast/1": 0.0}
        self._follow()
        with torch.no_grad():
            ours = own(masks)
            twins = whole({m: self.twins[m](x, ours.get(m)).to(general[m]) for m, x in inputs.items()})
            twins = pooled(twins, masks)
        students = pooled(general, masks)
        prototypes = functional.normalize(self.quantizer.prototypes, dim=-1)
        cosines = {m: functional.normalize(z, dim=-1) @ prototypes.mT for m, z in students.items()}
        plans = {m: self._plan(i, twins[m], present(masks, m)) for i, m in enumerate(self.modalities) if m in twins}
        for m, n in [*ordered_pairs(tuple(students)), *((m, m) for m in self.modalities if m in students)]:
            rows = present(masks, m, n)
            every = slice(None) if rows is None else rows
            if m == n:
                misfit = plans[m] * (1 - cosines[m])
                self._enqueue(self.modalities.index(m), twins[m][every])
            else:
                misfit = -plans[n] * (cosines[m] / p.codis_temperature).log_softmax(-1)
            misfit = misfit.sum(-1)[every]
            losses["assign/1"] = losses["assign/1"] + misfit.sum() / max(1, len(misfit))
            contrast = info_nce(students[m][every], twins[n][every], p.contrast_temperature)
            losses["contrast/1"] = losses["contrast/1"] + contrast
        return losses

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the twins towards the students."""
        for twin, student in zip(self.twins.parameters(), self.general.parameters(), strict=True):
            twin.lerp_(student.detach(), 1 - self.params.codis_momentum)

    @torch.no_grad()
    def _plan(self, place: int, clips: Tensor, there: Tensor | None) -> Tensor:
        """Return B times the rows ``[B, L]`` of the transport plan for these clips; rows of absent clips are 0."""
        known = self.queue[place, : int(self.queued[place].clamp_max(self.params.codis_queue))]
        some = clips if there is None else clips[there]
        rows = functional.normalize(torch.cat([some, known.to(clips)]), dim=-1)
        prototypes = functional.normalize(self.quantizer.prototypes, dim=-1)
        plan = transport_plan(rows @ prototypes.mT, self.params.codis_epsilon, self.params.codis_iterations)
        found = plan[: len(some)] * len(rows)
        if there is None:
            return found
        return clips.new_zeros(len(clips), found.shape[1]).masked_scatter(there[:, None], found)

    @torch.no_grad()
    def _enqueue(self, place: int, clips: Tensor) -> None:
        size = self.params.codis_queue
        if not size:
            return
        slots = (self.queued[place] + torch.arange(len(clips), device=clips.device)) % size
        self.queue[place, slots[-size:]] = clips[-size:].to(self.queue)
        self.queued[place] += len(clips)
