"""Every knob of a run: one flat, frozen, validated set of parameters, and the presets that name choices of them.

Names are flat, so that a notebook's parameter cell, ``papermill -p``, the command line and ``params.json`` all
say the same word for the same thing. The sections below exist for the reader and for functions that need only
one of them; :class:`Params` is all of them together.

Where the authors' public code departs from the paper, both behaviours are values of one named option; the
preset ``paper`` takes the paper's, ``published`` the code's.
"""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from srcid.problems import ProblemsError
from srcid.values import plain, shorten

LIBRARY_QUANTIZERS = ("vq-rotation", "rvq-library", "lfq", "simvq", "rfsq")


class ParameterError(ProblemsError):
    """Parameters that cannot be used; the message lists every problem at once."""


class Section(BaseModel):
    """Shared behaviour of all parameter models: frozen, closed to unknown names, and telling all problems at once.

    Types are strict: a number is no text that looks like one, and no truth value. Lists stand for tuples, as in JSON.

    Attributes:
        rules: what must hold between fields. A rule takes the fields that it names as arguments, and returns what
            is wrong with them, or an empty string. Every field of a section has a default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)
    rules: ClassVar[tuple[Callable[..., str], ...]] = ()

    @model_validator(mode="wrap")
    @classmethod
    def _obeys_rules(cls, given: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Apply the rules between valid fields, also where other fields are not valid."""
        if not isinstance(given, dict):
            return validate(given)
        problems: list[Any] = []
        values = {}
        for name, value in given.items():
            try:
                values[name] = _tuples(plain(value))
            except ValueError as error:
                wrong = PydanticCustomError("plain", "{wrong}", {"wrong": str(error)})
                problems.append({"type": wrong, "loc": (name,), "input": value})
        try:
            found = validate(values)
        except ValidationError as error:
            problems += error.errors(include_url=False)
        bad = {problem["loc"][0] for problem in problems}
        if bad:
            found = validate({name: value for name, value in values.items() if name not in bad})
        for rule in cls.rules:
            fields = inspect.signature(rule).parameters
            if bad.isdisjoint(fields) and (wrong := rule(**{name: getattr(found, name) for name in fields})):
                problems.append({"type": PydanticCustomError("rule", "{wrong}", {"wrong": wrong}), "input": given})
        if problems:
            raise ValidationError.from_exception_data(cls.__name__, problems)
        return found


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _tuples(entry) for name, entry in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


class ModelParams(Section):
    """Shape of the network (method sections 2 and 4)."""

    layers: int = Field(2, ge=1, le=8, description="semantic-residual layers K; 1 is DCID, 2 is SRCID")
    dim: int = Field(256, ge=2, le=4096, description="width D of general features and codes")
    general_encoder: Literal["local", "transformer"] = Field(
        "transformer",
        description="general encoder: blocks that see a window of steps, or (published) attention over the clip",
    )
    window: int = Field(1, ge=1, le=15, description="steps that a local general encoder sees; odd")
    encoder_depth: int = Field(2, ge=0, le=12, description="blocks or transformer layers of a general encoder")
    heads: int = Field(4, ge=1, le=64, description="attention heads of a general encoder; divides dim")
    feedforward: float = Field(4.0, gt=0, le=16, description="transformer feed-forward width, in multiples of dim")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout of the general encoders")
    specific_dim: int = Field(256, ge=1, le=8192, description="width of the specific features of vector modalities")
    pooled_dim: int = Field(512, ge=1, le=8192, description="width of a grid's pooled specific feature")
    grid_encoder: Literal["light", "conv", "flat"] = Field(
        "light",
        description="specific encoder and decoder of grids: conv as published, light under a tenth of its FLOPs, "
        "flat: two layers over all cells",
    )
    grid_channels: tuple[PositiveInt, PositiveInt] = Field(
        (1024, 2048), description="channels of the two grid convolutions"
    )
    grid_attention: Literal["softmax", "sum"] = Field(
        "softmax",
        description="spatial attention of grids: softmax over positions; sum is the published degenerate axis",
    )
    lstm_modalities: tuple[str, ...] = Field(
        (),
        description="modalities that first pass a trained 2-layer bidirectional LSTM (text at paper scale)",
    )
    lstm_dim: int = Field(256, ge=2, le=8192, description="output width of that LSTM, both directions together; even")
    lstm_target: Literal["input", "encoding", "trainable"] = Field(
        "input",
        description="what layer 1 rebuilds for those: raw input, detached LSTM output, or (published) trainable",
    )
    padding: Literal["masked", "included"] = Field(
        "masked", description="padded steps: left out of attention, codes and losses; included as published"
    )
    grid_specific: Literal["vector", "map"] = Field(
        "vector",
        description="what the decoder of a grid reads: the vector that CLUB and layer 2 read, or (published) its map",
    )
    specific_rate: float = Field(
        0.0, ge=0, description="weight of the rate (nats a step) of noisy specific features; 0: no noise"
    )
    specific_subtraction: bool = Field(False, description="subtract from specific features their running mean per code")
    decoder: Literal["linear", "modulated"] = Field(
        "linear", description="decoder: linear in [code, s], or two hidden layers over s that the code modulates"
    )
    target_grad: bool = Field(False, description="layers 2 and later also move what they rebuild (published)")
    specific_norm: Literal["none", "layer"] = Field("layer", description="normalisation of the specific features")
    residual_norm: Literal["none", "layer"] = Field("layer", description="normalisation of the next layer's input")
    residual_detach: bool = Field(False, description="stop gradients at the input of layers 2 and later")


class RivalParams(Section):
    """Which method is trained, and what only rivals of SRCID have (``srcid/model/rivals``; [recalled] as there)."""

    method: Literal["srcid", "turn", "codis"] = Field(
        "srcid",
        description="srcid: semantic-residual layers; turn, codis: rivals with one layer and losses of their own",
    )
    contrast_weight: float = Field(1.0, ge=0, description="weight of the rivals' InfoNCE between clips")
    contrast_temperature: float = Field(0.1, gt=0, description="temperature of that InfoNCE")
    turn_groups: int = Field(2, ge=1, le=16, description="turn: groups of the width, each with its codebook")
    turn_level: Literal["step", "clip"] = Field("step", description="turn: what is quantised; clip as in its paper")
    turn_mask: float = Field(0.2, gt=0, lt=1, description="turn: share of masked steps; 0.15 to 0.3 [recalled]")
    assign_weight: float = Field(1.0, ge=0, description="codis: weight of the assignment to prototypes")
    codis_momentum: float = Field(0.995, ge=0, lt=1, description="codis: momentum of the twins [recalled]")
    codis_temperature: float = Field(0.1, gt=0, description="codis: temperature of the assignment [recalled]")
    codis_epsilon: float = Field(0.05, gt=0, description="codis: entropy weight of the transport plan")
    codis_iterations: int = Field(3, ge=1, le=1000, description="codis: Sinkhorn iterations of the transport plan")
    codis_queue: int = Field(320, ge=0, le=1_000_000, description="codis: earlier clips that the plan spreads, too")


class QuantizerParams(Section):
    """The quantiser of every layer (method sections 3 to 5)."""

    quantizer: Literal[
        "vq", "rvq", "fsq", "identity", "codaar", "vq-rotation", "rvq-library", "lfq", "simvq", "rfsq"
    ] = Field(
        "vq",
        description="vq and rvq with MM-EMA codebooks, fsq on a fixed grid, identity as the control; of the library "
        "vector-quantize-pytorch: vq-rotation, rvq-library, lfq, simvq, rfsq (residual fsq)",
    )
    codebook_size: int = Field(400, ge=1, le=1_000_000, description="code vectors L of a codebook")
    stages: int = Field(2, ge=1, le=16, description="numerical residual stages of rvq, rvq-library and rfsq")
    fsq_levels: tuple[Annotated[int, Field(ge=2, le=65_536)], ...] = Field(
        (), description="fsq levels per dimension, 2 or more each; empty: chosen near codebook_size"
    )
    fsq_projection: bool = Field(True, description="fsq behind a learned projection to few dimensions")
    decay: float = Field(0.99, ge=0, lt=1, description="EMA decay of a codebook, per step")
    ema_repeats: int = Field(
        1, ge=1, le=100, description="EMA updates per step; 6 as the published two-layer code's inner CLUB loop does"
    )
    ema_epsilon: float = Field(1e-5, gt=0, description="Laplace smoothing of the EMA counts")
    ema_order: Literal["joint", "sequential"] = Field(
        "joint", description="one EMA update a step for all modalities, or (published) one after the other"
    )
    ema_idle: Literal["stay", "shrink"] = Field(
        "stay", description="codes without assignment: stay where they are, or (published) shrink to the origin"
    )
    ema_partner: Literal["index", "attention"] = Field(
        "index",
        description="what of another modality joins a code's update: same step, or cross-attention over steps",
    )
    codebook_init: Literal["samples", "kmeans", "uniform"] = Field(
        "samples",
        description="codebook start: rows or k-means of the first batch, or (published) uniform +-1/L",
    )
    revival: Literal["reset", "row", "off"] = Field(
        "reset",
        description="idle codes restart at samples, with their EMA state; row (published) forgets the state",
    )
    revival_after: int = Field(100, ge=1, le=10**9, description="steps a code stays idle before revival")
    beta: float = Field(0.25, ge=0, description="commitment cost")
    commitment: Literal["paper", "published"] = Field(
        "paper",
        description="own code beta and mean of others beta/2; published: 2 beta, and beta/2 for each other",
    )
    stage_commitment: Literal["mean", "sum", "total"] = Field(
        "mean",
        description="commitment of rvq and rvq-library: mean of the stages, so that it weighs as that of vq; sum; "
        "or (published, rvq only) that of the sum of all stages",
    )
    zero_code: bool = Field(False, description="code 0 of every rvq stage is the zero vector (published)")


class LossParams(Section):
    """Losses, their weights, and when each layer's join (method section 3)."""

    layer_weights: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        (), description="weight of each layer's losses, the last one for all later ones; empty: 1; published 1, 0.3"
    )
    recon_weight: float = Field(1.0, ge=0, description="weight of reconstruction")
    commit_weight: float = Field(1.0, ge=0, description="weight of commitment")
    cmcm_weight: float = Field(1.0, ge=0, description="weight of cross-modal code matching")
    cpc_weight: float = Field(1.0, ge=0, description="weight of cross-modal CPC")
    club_weight: float = Field(
        0.001, ge=0, description="weight of the CLUB bound, a sum over features in nats; paper 1"
    )
    cmcm_layers: Literal["all", "first"] = Field("all", description="layers with code matching; first as published")
    cmcm_form: Literal["paper", "published"] = Field(
        "paper",
        description="code matching: both directions; or (published) one, halved, with crossed terms and epsilons",
    )
    cpc_horizon: int = Field(1, ge=1, le=64, description="CPC predicts r = 1..R steps ahead; R below the clip's steps")
    cpc_depth: int = Field(1, ge=1, le=4, description="LSTM layers of CPC; published 2")
    cpc_same_weight: float = Field(0.0, ge=0, description="weight of same-modality CPC pairs; published 0.1")
    cpc_negatives: Literal["targets", "predictions"] = Field(
        "targets", description="negatives: targets for one context, or (published) predictions for one target"
    )
    club_estimator: Literal["exact", "sampled", "published"] = Field(
        "exact", description="all negatives; one permutation; or the published step-averaged form"
    )
    club_side: Literal["both", "specific", "general"] = Field(
        "specific", description="which features CLUB's gradient reaches"
    )
    club_input: Literal["general", "quantized"] = Field("general", description="what CLUB conditions on")
    club_logvar: Literal["free", "tanh"] = Field("free", description="log-variance head: free, or (published) tanh")
    club_scale: Literal["standard", "raw"] = Field(
        "standard", description="units of CLUB's q: standardised features, or (published) raw ones"
    )
    club_hidden: int = Field(256, ge=1, le=65_536, description="hidden width of CLUB's network")
    club_steps: int = Field(5, ge=0, le=100, description="inner likelihood steps per training step")
    club_lr: float = Field(1e-3, gt=0, description="learning rate of the inner steps")
    club_off: tuple[int, ...] = Field((), description="layers (from 1) whose CLUB term is switched off")
    warm_start: Literal["settled", "absolute", "epochs", "off"] = Field(
        "settled",
        description="layer k+1 opens when layer k's MI has stopped falling or is near 0 in every modality, "
        "or (published two-layer code) after a number of epochs",
    )
    warm_threshold: float = Field(
        0.05, ge=0, description="change of the smoothed MI that counts as none, as a share of its peak; absolute: nats"
    )
    warm_smoothing: float = Field(0.95, ge=0, lt=1, description="exponential smoothing of the MI for the trigger")
    warm_patience: int = Field(
        10, ge=1, le=10**9, description="steps in a row within the threshold before the layer opens"
    )
    warm_min: float = Field(0.1, ge=0, le=1, description="earliest opening per layer, as a share of all steps")
    warm_max: float = Field(0.4, ge=0, le=1, description="latest opening per layer, as a share of all steps")
    warm_epochs: int = Field(3, ge=0, description="that number of epochs per layer")


class TrainingParams(Section):
    """Optimisation, numerics, and what a run keeps."""

    seed: int = Field(0, ge=0, lt=2**31, description="seed of weights, order, dropout and sampling")
    epochs: int = Field(6, ge=1, le=100_000, description="passes over the training split")
    batch_size: int = Field(80, ge=2, le=1_000_000, description="clips B per step")
    lr: float = Field(4e-4, gt=0, description="Adam learning rate")
    schedule: Literal["constant", "cosine"] = Field("constant", description="learning-rate schedule")
    warmup_steps: int = Field(0, ge=0, le=10**9, description="steps of linear learning-rate warm-up")
    clip: Literal["global", "module", "off"] = Field(
        "module", description="gradient clipping by one norm, or (published) by each module's own"
    )
    clip_norm: float = Field(1.0, gt=0, description="largest gradient norm")
    precision: Literal["float32", "bfloat16", "float64"] = Field(
        "float32", description="bfloat16 is autocast over float32 weights; float64 as published"
    )
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:[0-9]{1,3})?)$", description="auto, cpu, cuda or cuda:N")
    threads: int = Field(0, ge=0, le=1024, description="CPU threads of training; 0: as many as torch likes")
    processes: int = Field(
        1,
        ge=1,
        le=1024,
        exclude=True,  # no part of what a run is: its result and its folder are those of one process
        description="processes of this machine that share every batch, each with a GPU where there are GPUs",
    )
    checkpoint_every: int = Field(100, ge=1, le=10**9, description="steps between checkpoints")
    log_every: int = Field(5, ge=1, le=10**9, description="steps between lines of metrics.jsonl")
    keep_features: int = Field(
        4000, ge=0, le=10**9, description="clips whose continuous features the CodeTable keeps; 0: none"
    )
    encode_mode: Literal["eval", "train"] = Field(
        "eval", description="mode in which codes are read out; train (published) leaves dropout noise in them"
    )


class EvaluationParams(Section):
    """Downstream probes (method section 6)."""

    protocol: Literal["heldout", "published"] = Field(
        "heldout", description="train, choose and score on separate clips, or (published) all on the same"
    )
    probe_seeds: int = Field(5, ge=1, le=1000, description="probe seeds behind each score")
    probe_epochs: int = Field(60, ge=1, le=100_000, description="passes of the probes over their training clips")
    probe_lr: float = Field(4e-4, gt=0, description="Adam learning rate of the probes")
    probe_batch: int = Field(80, ge=1, le=1_000_000, description="clips per probe step")


def _heads_divide(dim: int, heads: int) -> str:
    return f"dim={dim} is not divisible by heads={heads}" if dim % heads else ""


def _two_directions(lstm_dim: int) -> str:
    return f"lstm_dim={lstm_dim} must be even (two directions)" if lstm_dim % 2 else ""


# how a further layer opens is of no account where there is none, or where all are open from the start
def _waits_in_order(layers: int, warm_start: str, warm_min: float, warm_max: float) -> str:
    wrong = layers > 1 and warm_start in ("settled", "absolute") and warm_min > warm_max
    return f"warm_min={warm_min} lies above warm_max={warm_max}" if wrong else ""


def _threshold_below_peak(layers: int, warm_start: str, warm_threshold: float) -> str:
    wrong = layers > 1 and warm_start == "settled" and warm_threshold >= 1
    return f"warm_threshold={warm_threshold} is a share of the peak; it must lie below 1" if wrong else ""


def _window_is_odd(window: int) -> str:
    return "" if window % 2 else f"window={window} must be odd: as many steps before a step as after it"


def _noise_is_decoded(specific_rate: float, grid_specific: str) -> str:
    wrong = specific_rate > 0 and grid_specific == "map"
    return "specific_rate above 0 needs grid_specific=vector: the map of a grid carries no noise" if wrong else ""


def _map_is_there(grid_encoder: str, grid_specific: str) -> str:
    wrong = grid_encoder == "flat" and grid_specific == "map"
    return "grid_encoder=flat has no map; use grid_specific=vector" if wrong else ""


def _vector_is_read(specific_subtraction: bool, grid_specific: str) -> str:
    wrong = specific_subtraction and grid_specific == "map"
    return (
        "specific_subtraction needs grid_specific=vector: nothing is subtracted from the map of a grid" if wrong else ""
    )


def _layers_exist(layers: int, club_off: tuple[int, ...]) -> str:
    outside = [layer for layer in club_off if not 1 <= layer <= layers]
    return f"club_off names layers {outside}; the model has layers 1 to {layers}" if outside else ""


# codes are kept as int32, and -1 means padding
def _codes_fit(fsq_levels: tuple[int, ...]) -> str:
    codes = math.prod(fsq_levels)
    return (
        f"fsq_levels={list(fsq_levels)} make {codes:.3g} codes, need fewer than {2**31:.3g}" if codes >= 2**31 else ""
    )


def _rival_lacks(
    method: str, layers: int, quantizer: str, recon_weight: float, cpc_weight: float, cmcm_weight: float,
    club_weight: float, specific_rate: float, lstm_modalities: tuple[str, ...],
) -> str:  # fmt: skip
    """A rival is never trained with what it does not have: the preset of its name switches all of it off."""
    if method == "srcid":
        return ""
    asked = dict(
        cpc_weight=cpc_weight, cmcm_weight=cmcm_weight, club_weight=club_weight, specific_rate=specific_rate,
        lstm_modalities=lstm_modalities, **({"recon_weight": recon_weight} if method == "codis" else {}),
    )  # fmt: skip
    wrong = [f"{name}={value}" for name, value in asked.items() if value]
    wrong += [f"layers={layers}"] if layers > 1 else []
    wrong += [f"quantizer={quantizer}"] if quantizer != "vq" else []
    return f"method={method} does not have {', '.join(wrong)}; start from preset={method}" if wrong else ""


def _rival_options(
    method: str, turn_groups: int, turn_level: str, turn_mask: float, codis_momentum: float,
    codis_temperature: float, codis_epsilon: float, codis_iterations: int, codis_queue: int,
) -> str:  # fmt: skip
    given = {name: value for name, value in locals().items() if name != "method"}
    fields = RivalParams.model_fields
    wrong = [n for n, v in given.items() if v != fields[n].default and not n.startswith(f"{method}_")]
    return f"{', '.join(wrong)}: no option of method={method}" if wrong else ""


def _groups_divide(method: str, turn_groups: int, codebook_size: int, dim: int) -> str:
    wrong = method == "turn" and (codebook_size % turn_groups or dim % turn_groups)
    return f"turn_groups={turn_groups} must divide codebook_size={codebook_size} and dim={dim}" if wrong else ""


def _gpu_each(processes: int, device: str) -> str:
    wrong = processes > 1 and device.startswith("cuda:")
    return f"device={device} is one GPU; processes={processes} have one each with device=cuda" if wrong else ""


def _parts_have_club(quantizer: str, club_input: str, club_weight: float) -> str:
    wrong = quantizer == "codaar" and club_input == "quantized" and club_weight > 0
    return "quantizer=codaar quantises to one part a modality; CLUB reads general features there" if wrong else ""


def _library_is_there(quantizer: str) -> str:
    missing = quantizer in LIBRARY_QUANTIZERS and importlib.util.find_spec("vector_quantize_pytorch") is None
    wrong = f"quantizer={quantizer} is one of the library vector-quantize-pytorch, which is not installed"
    return f"{wrong}; say ./lab install quantizers, or pip install 'srcid[quantizers]'" if missing else ""


def _library_revives(quantizer: str, revival: str) -> str:
    wrong = quantizer in ("vq-rotation", "rvq-library") and revival == "row"
    return f"revival=row is no option of quantizer={quantizer}; it has reset and off" if wrong else ""


def _library_stages(quantizer: str, stage_commitment: str) -> str:
    wrong = quantizer == "rvq-library" and stage_commitment == "total"
    return "stage_commitment=total is no option of quantizer=rvq-library; it has mean and sum" if wrong else ""


def _library_precision(quantizer: str, precision: str) -> str:
    wrong = quantizer in LIBRARY_QUANTIZERS and precision == "float64"
    return (
        f"quantizer={quantizer} computes in float32; precision=float64 would promise more than it holds"
        if wrong
        else ""
    )


class Params(ModelParams, RivalParams, QuantizerParams, LossParams, TrainingParams, EvaluationParams):
    """All parameters of a run, fully resolved; the content of ``params.json``."""

    rules = (
        _heads_divide, _two_directions, _waits_in_order, _threshold_below_peak, _layers_exist, _codes_fit,
        _window_is_odd, _noise_is_decoded, _vector_is_read, _map_is_there,
        _rival_lacks, _rival_options, _groups_divide, _gpu_each, _parts_have_club,
        _library_is_there, _library_revives, _library_stages, _library_precision,
    )  # fmt: skip


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


def suggest(name: str, known: list[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the closest of ``known``, or an empty string."""
    close = difflib.get_close_matches(name, known, n=1) if len(name) < 100 else []
    return f" (did you mean '{close[0]}'?)" if close else ""


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
    if problems:
        raise ParameterError("invalid parameters:", problems)
    return params


def describe(error: ValidationError, known: list[str]) -> list[str]:
    """Say each problem of a pydantic error in one line: what was found, what is needed."""
    lines = []
    for item in error.errors():
        name = ".".join(shorten(part).strip("'") for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"'{name}' is no parameter{suggest(name, known)}")
        elif not name:
            lines.append(str(item["msg"]))
        else:
            lines.append(f"{name}={shorten(item['input'])}: {item['msg'][0].lower()}{item['msg'][1:]}")
    return lines
