"""Quantisers of the library vector-quantize-pytorch behind the interface of ours, shared by all modalities.

References: Fifty et al. 2024 (rotation trick), Zeghidour et al. 2021 (residual VQ), Yu et al. 2023 (LFQ),
Zhu et al. 2024 (SimVQ), Mentzer et al. 2023 (FSQ, here in residual stages).

The library's defaults differ from the paper's and change between versions, so every argument is set here, and a
test compares the names with those of the installed version. Differences that remain: the library moves a code by
the features assigned to it alone, not by MM-EMA, and commits each feature to its own code alone.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srcid.model.quantizer import NegativeDistance, Parts, Quantizer, nearest_codes
from srcid.model.scalar_quantizer import fsq_levels
from srcid.model.vector_quantizer import codebook_from
from srcid.params import QuantizerParams


class LibraryQuantizer(Quantizer):
    """A quantiser of vector-quantize-pytorch; subclasses build the module and say where its codes lie.

    All modalities pass through one module, so they share its codebook. Only real (unpadded) steps are given to
    it. Its loss, a mean over those steps, is reported as every modality's commitment.

    Args:
        params: ``codebook_size``, ``stages``, ``stage_commitment``, ``decay``, ``ema_epsilon``, ``beta``,
            ``codebook_init``, ``revival`` and ``revival_after`` are read, where the module has something of the kind.
        dim: width D.
    """

    def __init__(self, params: QuantizerParams, dim: int) -> None:
        super().__init__(dim)
        self.params = params
        self.library = self._build(params, dim)
        self.register_buffer("ready", torch.tensor(not self._starts_from_data))

    _starts_from_data = False

    def _build(self, params: QuantizerParams, dim: int) -> nn.Module:
        raise NotImplementedError

    def _start(self, rows: Tensor) -> None:
        """Place the codebooks on the first training rows ``[N, D]``."""

    def _codes(self, found: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return values ``[1, N, D]``, codes ``[1, N]`` or ``[1, N, S]`` and loss of what the module returned."""
        return found

    @property
    def codebooks(self) -> Tensor:
        raise NotImplementedError

    @property
    def sizes(self) -> tuple[int, ...]:
        books = self.codebooks
        return (books.shape[1],) * len(books)

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32  # the library's

    def _inner(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``x [N, D]`` and the first stage's codes ``[L, d]`` in the space where nearest codes are found."""
        return x, self.codebooks[0]

    def encode(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, self.dim).to(self.dtype)
        if not len(rows):
            return torch.zeros(*x.shape[:-1], len(self.sizes), dtype=torch.int64, device=x.device)
        with torch.no_grad(), evaluating(self.library):
            codes = self._codes(self.library(rows[None]))[1]
        return codes.reshape(*x.shape[:-1], -1).long()

    def decode(self, codes: Tensor) -> Tensor:
        vectors = sum(book[codes[..., s].clamp_min(0)] for s, book in enumerate(self.codebooks))
        return torch.where((codes >= 0).all(-1, keepdim=True), vectors, 0.0)

    def nearest(self, x: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            distances, codes = nearest_codes(*self._inner(x.reshape(-1, self.dim).to(self.dtype)), k)
        return distances.view(*x.shape[:-1], k), codes.view(*x.shape[:-1], k)

    def _quantize(self, z: Tensor, valid: Tensor | None, with_logits: bool) -> Parts:
        rows = z.reshape(-1, self.dim) if valid is None else z[valid]
        if self.training and len(rows) and not self.ready:
            self._start(rows.detach())
            self.ready.fill_(True)
        logits = None
        if with_logits:
            inner, book = self._inner(z.reshape(-1, self.dim))
            logits = NegativeDistance.apply(inner, book.detach().clone()).view(*z.shape[:-1], len(book))
        values, loss = torch.zeros_like(z), z.new_zeros(())
        codes = torch.full((*z.shape[:-1], len(self.sizes)), -1, device=z.device)
        if len(rows):
            found, numbers, loss = self._codes(self.library(rows[None]))
            numbers = numbers.reshape(len(rows), -1).long()
            if valid is None:
                values, codes = found.reshape(z.shape), numbers.view(codes.shape)
            else:
                values, codes[valid] = values.masked_scatter(valid.unsqueeze(-1), found), numbers
        return values, codes, loss.sum().expand(len(z)), logits


class RotationVQ(LibraryQuantizer):
    """VectorQuantize with the rotation trick: the gradient is rotated from the code vector to the feature."""

    _starts_from_data = True

    def _build(self, params: QuantizerParams, dim: int) -> nn.Module:
        from vector_quantize_pytorch import VectorQuantize

        return _grace(VectorQuantize(dim=dim, codebook_size=params.codebook_size, **ema_options(params, True)))

    @property
    def codebooks(self) -> Tensor:
        return self.library.codebook.unsqueeze(0)

    def _start(self, rows: Tensor) -> None:
        _place(self.library, rows, self.params.codebook_init)


class LibraryResidualVQ(LibraryQuantizer):
    """ResidualVQ, straight-through: as our ``rvq``, with the library's update and commitment."""

    _starts_from_data = True

    def _build(self, params: QuantizerParams, dim: int) -> nn.Module:
        from vector_quantize_pytorch import ResidualVQ

        module = ResidualVQ(
            dim=dim, num_quantizers=params.stages, codebook_size=params.codebook_size,
            **{**residual_vq_options(dim), **ema_options(params, False)},
        )  # fmt: skip
        for stage in module.layers:
            _grace(stage)
        return module

    @property
    def codebooks(self) -> Tensor:
        return self.library.codebooks

    def _codes(self, found: Any) -> tuple[Tensor, Tensor, Tensor]:
        values, codes, loss = found
        return values, codes, loss.mean() if self.params.stage_commitment == "mean" else loss.sum()

    def _start(self, rows: Tensor) -> None:
        for stage in self.library.layers:
            _place(stage, rows, self.params.codebook_init)
            rows = rows - stage.codebook[nearest_codes(rows, stage.codebook)[1][:, 0]]


class LookupFreeQuantizer(LibraryQuantizer):
    """LFQ: the signs of a few learned projections; the size is the power of two nearest to ``codebook_size``."""

    def _build(self, params: QuantizerParams, dim: int) -> nn.Module:
        from vector_quantize_pytorch import LFQ

        bits = max(1, round(math.log2(params.codebook_size)))
        return LFQ(dim=dim, codebook_size=2**bits, **lfq_options(params.beta, has_projections=bits != dim))

    @property
    def codebooks(self) -> Tensor:
        return self.library.project_out(self.library.codebook).detach().unsqueeze(0)

    def _inner(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.library.project_in(x), self.library.codebook


class SimpleVQ(LibraryQuantizer):
    """SimVQ: a frozen random codebook behind a learned linear map, so that all codes move together."""

    def _build(self, params: QuantizerParams, dim: int) -> nn.Module:
        from vector_quantize_pytorch import SimVQ

        return SimVQ(dim=dim, codebook_size=params.codebook_size, **simvq_options(dim))

    @property
    def codebooks(self) -> Tensor:
        return self.library.codebook.detach().unsqueeze(0)


class ResidualScalarQuantizer(LibraryQuantizer):
    """ResidualFSQ: finite scalar quantisation of a learned projection, in stages of ever finer scale."""

    def _build(self, params: QuantizerParams, dim: int) -> nn.Module:
        from vector_quantize_pytorch import ResidualFSQ

        levels = list(params.fsq_levels or fsq_levels(params.codebook_size))
        return ResidualFSQ(levels=levels, num_quantizers=params.stages, dim=dim, **rfsq_options())

    def _codes(self, found: Any) -> tuple[Tensor, Tensor, Tensor]:
        values, codes = found
        return values, codes, values.new_zeros(())

    @property
    def codebooks(self) -> Tensor:
        module = self.library
        scaled = module.codebooks * module.scales[:, None]
        if not module.has_projections:
            return scaled
        books = F.linear(scaled, module.project_out.weight).detach()
        books[0] += module.project_out.bias.detach()  # once, as the stages are summed
        return books

    def _inner(self, x: Tensor) -> tuple[Tensor, Tensor]:
        clamp = self.library.soft_clamp_input_value
        return (self.library.project_in(x) / clamp).tanh() * clamp, self.library.codebooks[0]


KINDS: dict[str, type[LibraryQuantizer]] = {
    "vq-rotation": RotationVQ,
    "rvq-library": LibraryResidualVQ,
    "lfq": LookupFreeQuantizer,
    "simvq": SimpleVQ,
    "rfsq": ResidualScalarQuantizer,
}


# --------------------------------------------------------------------- every argument of the library, by name


def ema_options(params: QuantizerParams, rotation_trick: bool) -> dict[str, Any]:
    """Arguments of VectorQuantize but for ``dim`` and ``codebook_size``.

    A code whose EMA count has fallen as far as ``revival_after`` idle steps bring a count of 1 is replaced.
    """
    idle = params.decay**params.revival_after
    return dict(
        codebook_dim=None, heads=1, separate_codebook_per_head=False, decay=params.decay, eps=params.ema_epsilon,
        freeze_codebook=False, kmeans_init=False, kmeans_iters=10, sync_kmeans=False, use_cosine_sim=False,
        layernorm_after_project_in=False, threshold_ema_dead_code=0 if params.revival == "off" else idle,
        channel_last=True, accept_image_fmap=False, accept_3d_fmap=False, commitment_weight=params.beta,
        commitment_use_cross_entropy_loss=False, orthogonal_reg_weight=0.0, orthogonal_reg_active_codes_only=False,
        orthogonal_reg_max_codes=None, codebook_diversity_loss_weight=0.0, codebook_diversity_temperature=100.0,
        stochastic_sample_codes=False, sample_codebook_temp=1.0, straight_through=False,
        rotation_trick=rotation_trick, directional_reparam=False, directional_reparam_variance=0.0,
        sync_codebook=False, sync_affine_param=False, ema_update=True, vq_bridge=None, manual_ema_update=False,
        learnable_codebook=False, in_place_codebook_optimizer=None, manual_in_place_optimizer_update=False,
        affine_param=False, affine_param_batch_decay=0.99, affine_param_codebook_decay=0.9, sync_update_v=0.0,
        return_zeros_for_masked_padding=True, route_gradients_to_input=True,
    )  # fmt: skip


def residual_vq_options(dim: int) -> dict[str, Any]:
    """Arguments of ResidualVQ itself but for ``dim``, ``num_quantizers`` and ``codebook_size``."""
    return dict(
        codebook_dim=dim, shared_codebook=False, diveq=False, heads=1, quantize_dropout=False,
        quantize_dropout_cutoff_index=0, quantize_dropout_multiple_of=1, accept_image_fmap=False,
        implicit_neural_codebook=False, mlp_kwargs={}, beam_size=None, eval_beam_size=None,
        beam_score_quantizer_weights=None, quant_grad_frac=0.0, return_zeros_for_masked_padding=True,
    )  # fmt: skip


def lfq_options(beta: float, has_projections: bool) -> dict[str, Any]:
    """Arguments of LFQ but for ``dim`` and ``codebook_size``; the entropy terms are as in its paper."""
    return dict(
        entropy_loss_weight=0.1, commitment_loss_weight=beta, diversity_gamma=1.0,
        straight_through_activation=nn.Identity(), num_codebooks=1, keep_num_codebooks_dim=False, codebook_scale=1.0,
        frac_per_sample_entropy=1.0, has_projections=has_projections, projection_has_bias=True,
        soft_clamp_input_value=None, cosine_sim_project_in=False, cosine_sim_project_in_scale=None,
        channel_first=False, experimental_softplus_entropy_loss=False, entropy_loss_offset=5.0, spherical=False,
        force_quantization_f32=True, orthogonal_rotation=False,
    )  # fmt: skip


def simvq_options(dim: int) -> dict[str, Any]:
    """Arguments of SimVQ but for ``dim`` and ``codebook_size``; weights and rotation as its author advises."""
    return dict(
        codebook_transform=None, init_fn=_unchanged, channel_first=False, rotation_trick=True,
        input_to_quantize_commit_loss_weight=0.25, commitment_weight=1.0, frozen_codebook_dim=dim,
    )  # fmt: skip


def rfsq_options() -> dict[str, Any]:
    """Arguments of ResidualFSQ but for ``levels``, ``num_quantizers`` and ``dim``, and those of its FSQ stages."""
    return dict(
        is_channel_first=False, quantize_dropout=False, quantize_dropout_cutoff_index=0,
        quantize_dropout_multiple_of=1, soft_clamp_input_value=None, bound_hard_clamp=True, **fsq_stage_options(),
    )  # fmt: skip


def fsq_stage_options() -> dict[str, Any]:
    """Arguments of FSQ that ResidualFSQ leaves to its caller."""
    return dict(
        num_codebooks=1, keep_num_codebooks_dim=False, scale=None, allowed_dtypes=(torch.float32, torch.float64),
        channel_first=False, projection_has_bias=True, return_indices=True, force_quantization_f32=True,
        noise_dropout=0.0, orthogonal_rotation=False,
    )  # fmt: skip


def _unchanged(codebook: Tensor) -> Tensor:
    return codebook


# ------------------------------------------------------------------------------- the state of an EMA codebook


def _grace(module: Any) -> Any:
    """Let a replaced code begin with a count of 1, as ours does; at the library's it would be replaced again."""
    module._codebook.reset_cluster_size = 1.0
    return module


def _place(module: Any, rows: Tensor, how: str) -> None:
    """Start a VectorQuantize's codebook, and its EMA state, on ``rows``; ``uniform`` leaves it as it is."""
    if how == "uniform":
        return
    state = module._codebook
    state.embed.copy_(codebook_from(rows, module.codebook_size, how)[None])
    state.embed_avg.copy_(state.embed)
    state.cluster_size.fill_(1.0)


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put ``module`` into evaluation mode for a while."""
    before = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(before)
