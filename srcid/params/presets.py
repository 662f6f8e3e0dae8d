"""Presets, which name choices of options, and the options that presets and overrides come to.

Where the authors' public code departs from the paper, both behaviours are values of one named option; the
preset ``paper`` takes the paper's, ``published`` the code's.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from srcid.params.rules import Params
from srcid.params.section import ParameterError, describe, suggest
from srcid.values import shorten

_PUBLISHED: dict[str, Any] = dict(
    general_encoder="transformer", grid_specific="map", grid_encoder="conv", decoder="linear", specific_rate=0.0,
    specific_subtraction=False, specific_norm="none", target_grad=True, residual_detach=False, grid_attention="sum",
    revival="row", revival_after=301, ema_idle="shrink",
    codebook_init="uniform", ema_order="sequential", ema_partner="index", commitment="published",
    cpc_negatives="predictions", cpc_same_weight=0.1, cpc_depth=2, stage_commitment="total", zero_code=True,
    club_estimator="published", club_side="both", club_input="quantized", club_logvar="tanh", club_scale="raw",
    cmcm_layers="first", cmcm_form="published",
    lstm_target="trainable", padding="included", encode_mode="train", protocol="published", precision="float64",
    clip="module", clip_norm=0.5, warm_start="absolute", warm_threshold=0.1,
)  # fmt: skip
_PAPER: dict[str, Any] = dict(
    general_encoder="transformer", grid_specific="map", grid_encoder="conv", decoder="linear", specific_rate=0.0,
    specific_subtraction=False, specific_norm="none", residual_norm="none", residual_detach=False, target_grad=True,
    lstm_modalities=("text",),
    ema_partner="attention", commitment="paper", club_side="both", club_input="general", club_estimator="exact",
    club_weight=1.0, club_scale="raw", warm_start="absolute", warm_threshold=0.1, clip="module", clip_norm=0.5,
)  # fmt: skip

# the authors' two-layer model ("primary and secondary alignment"), public with the code of the paper's reference 12
_TWO_LAYER: dict[str, Any] = dict(
    layers=2, layer_weights=(1.0, 0.3), warm_start="epochs", warm_epochs=3, cmcm_weight=0.0, ema_repeats=6,
)  # fmt: skip

PUBLISHED_ROWS: dict[str, tuple[str, ...]] = {
    "attention": ("grid_attention",), "revival": ("revival", "revival_after", "ema_idle"), "start": ("codebook_init",),
    "ema": ("ema_order",), "partner": ("ema_partner",), "commitment": ("commitment",),
    "stages": ("stage_commitment", "zero_code"), "negatives": ("cpc_negatives",),
    "same-pairs": ("cpc_same_weight", "cpc_depth"),
    "club": ("club_estimator", "club_side", "club_input", "club_logvar", "club_scale"),
    "cmcm": ("cmcm_layers", "cmcm_form"), "target": ("lstm_target", "target_grad", "residual_detach"),
    "encoder": ("general_encoder",), "padding": ("padding",),
    "specific": (
        "grid_specific", "grid_encoder", "decoder", "specific_rate", "specific_subtraction", "specific_norm",
    ),
    "mode": ("encode_mode",), "protocol": ("protocol",), "precision": ("precision",),
}  # fmt: skip

PRESETS: dict[str, dict[str, Any]] = {
    # scale
    "demo": dict(
        dim=64, specific_dim=64, pooled_dim=64, grid_channels=(64, 128), club_hidden=256, lstm_dim=64,
        general_encoder="local", window=3, feedforward=2.0, grid_encoder="flat", grid_specific="vector",
        decoder="modulated", specific_rate=0.01, specific_subtraction=True, specific_norm="none", residual_norm="none",
        residual_detach=True, codebook_size=48, decay=0.97, batch_size=40, epochs=10, lr=3e-3, club_lr=3e-3,
        club_steps=2, schedule="cosine",
        probe_lr=3e-3, probe_epochs=15, keep_features=5000, threads=1,
    ),
    "paper": _PAPER,
    "published": {**_PAPER, **_PUBLISHED},
    "published-two-layer": {**_PAPER, **_PUBLISHED, **_TWO_LAYER},
    # methods
    "srcid": dict(layers=2),
    "dcid": dict(layers=1),
    "k3": dict(layers=3),
    "cmcm": dict(layers=1, club_weight=0.0, recon_weight=0.0),
    # rivals
    "turn": dict(
        method="turn", layers=1, cpc_weight=0.0, cmcm_weight=0.0, club_weight=0.0, specific_rate=0.0, quantizer="vq",
        lstm_modalities=(),
    ),
    "codis": dict(
        method="codis", layers=1, recon_weight=0.0, cpc_weight=0.0, cmcm_weight=0.0, club_weight=0.0,
        specific_rate=0.0, quantizer="vq", lstm_modalities=(),
    ),
    "codaar": dict(layers=1, quantizer="codaar", club_weight=0.0),
    # ablations: one thing switched off or replaced
    "no-recon": dict(recon_weight=0.0),
    "no-commit": dict(commit_weight=0.0),
    "no-cmcm": dict(cmcm_weight=0.0),
    "no-cpc": dict(cpc_weight=0.0),
    "no-club": dict(club_weight=0.0),
    "no-club1": dict(club_off=(1,)),
    "no-club2": dict(club_off=(2,)),
    "no-warm-start": dict(warm_start="off"),
    "no-revival": dict(revival="off"),
    # the rows of method section 4, one at a time, as the authors' public code has them
    **{f"published-{row}": {name: _PUBLISHED[name] for name in names} for row, names in PUBLISHED_ROWS.items()},
}  # fmt: skip

ABLATIONS = tuple(n for n in PRESETS if n.startswith("no-") or n.removeprefix("published-") in PUBLISHED_ROWS)
"""Presets that take something from a method or replace it: what they change is told in the names of runs compared."""


def resolve(preset: str = "demo", **overrides: Any) -> Params:
    """Return the full parameters of ``preset`` with ``overrides`` on top.

    ``preset`` may join several names with ``+``, later ones winning: ``"paper+dcid"``.

    Raises:
        ParameterError: unknown presets or names, wrong types, values out of range; all reported at once.
    """
    problems, values = [], {}
    if not isinstance(preset, str):
        problems.append(f"preset={shorten(preset)}: need text, names of presets joined by +")
        preset = "demo"
    for name in preset.split("+"):
        if name in PRESETS:
            values.update(PRESETS[name])
        else:
            problems.append(
                f"preset {shorten(name)} is unknown{suggest(name, list(PRESETS))}; there are {', '.join(PRESETS)}"
            )
    values.update(overrides)
    try:
        params = Params(**values)
    except ValidationError as error:
        problems.extend(describe(error, list(Params.model_fields)))
    ParameterError.check("invalid parameters:", problems)
    return params
