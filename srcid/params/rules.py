"""What must hold between options, and all options together."""

from __future__ import annotations

import importlib.util
import math

from srcid.params import fields
from srcid.params.fields import LIBRARY_QUANTIZERS


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
    wrong = [
        n
        for n, v in given.items()
        if v != fields.RivalParams.model_fields[n].default and not n.startswith(f"{method}_")
    ]
    return f"{', '.join(wrong)}: no option of method={method}" if wrong else ""


def _groups_divide(method: str, turn_groups: int, codebook_size: int, dim: int) -> str:
    wrong = method == "turn" and (codebook_size % turn_groups or dim % turn_groups)
    return f"turn_groups={turn_groups} must divide codebook_size={codebook_size} and dim={dim}" if wrong else ""


def _gpu_each(processes: int, device: str) -> str:
    wrong = processes > 1 and device.startswith("cuda:")
    return f"device={device} is one GPU; processes={processes} have one each with device=cuda" if wrong else ""


def _codebooks_differ(method: str, quantizer: str, codebook_metric: str, assignment: str) -> str:
    wrong = [f"codebook_metric={codebook_metric}"] * (codebook_metric != "euclidean" and quantizer != "vq")
    wrong += [f"assignment={assignment}"] * (assignment != "nearest" and quantizer not in ("vq", "rvq"))
    if wrong:
        return f"{' and '.join(wrong)}: no option of quantizer={quantizer}; need vq, or rvq for the assignment"
    wrong = method != "srcid" and (codebook_metric, assignment) != ("euclidean", "nearest")
    said = f"codebook_metric and assignment are no options of method={method}, whose codes learn otherwise"
    return said if wrong else ""


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


class Params(
    fields.ModelParams,
    fields.RivalParams,
    fields.QuantizerParams,
    fields.LossParams,
    fields.TrainingParams,
    fields.EvaluationParams,
):
    """All parameters of a run, fully resolved; the content of ``params.json``."""

    rules = (
        _heads_divide, _two_directions, _waits_in_order, _threshold_below_peak, _layers_exist, _codes_fit,
        _window_is_odd, _noise_is_decoded, _vector_is_read, _map_is_there,
        _rival_lacks, _rival_options, _groups_divide, _gpu_each, _codebooks_differ, _parts_have_club,
        _library_is_there, _library_revives, _library_stages, _library_precision,
    )  # fmt: skip
