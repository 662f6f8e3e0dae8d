"""Every option of a run: its meaning, unit, range and default, by what it belongs to."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from srcid.params.section import Section

LIBRARY_QUANTIZERS = ("vq-rotation", "rvq-library", "lfq", "simvq", "rfsq")


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
    codebook_metric: Literal["euclidean", "cosine"] = Field(
        "euclidean", description="vq: distance, or cosine: features and code vectors count by their direction alone"
    )
    assignment: Literal["nearest", "joint", "transport"] = Field(
        "nearest",
        description="vq and rvq in training: each feature's nearest code; joint: the one nearest to all modalities of "
        "a step; transport: by a plan that uses all codes alike. Tables are encoded by the nearest",
    )


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
