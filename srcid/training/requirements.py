"""What training needs before it starts: a store that fits the parameters, memory, and the device."""

from __future__ import annotations

import psutil
import torch

from srcid.features import FeatureStore
from srcid.model.network import SRCID
from srcid.params import PRESETS, Params
from srcid.problems import ProblemsError
from srcid.training.ranks import Ranks


class TrainingError(ProblemsError):
    """Training cannot start or go on; the message says what was found and what to do."""


def check_training(store: FeatureStore, params: Params, ranks: Ranks) -> None:
    """Refuse what training cannot do, before it starts.

    Raises:
        TrainingError: the store does not fit the parameters, or memory does not; all problems at once.
    """
    p, problems = params, []
    missing = [s for s in ("train", "val") if s not in store.splits]
    if missing:
        problems.append(f"the store has no split {missing}; training needs train and val")
    elif len(store.splits["train"]) < 2:
        problems.append("the train split has fewer than 2 clips; contrastive losses need more")
    if len(store.modalities) < 2:
        problems.append(f"the store has {len(store.modalities)} modality; training needs 2 or more")
    if p.cpc_weight > 0 and store.steps <= p.cpc_horizon:
        problems.append(
            f"clips have {store.steps} steps, CPC with cpc_horizon={p.cpc_horizon} needs {p.cpc_horizon + 1}; "
            "lower cpc_horizon or set cpc_weight=0"
        )
    grids = [m for m in p.lstm_modalities if m in store.shapes and len(store.shapes[m]) > 1]
    if grids:
        problems.append(f"lstm_modalities names {grids}, whose features are grids; an LSTM front end reads vectors")
    # presets name the text of the paper's data, which a store need not have
    unknown = sorted({*p.lstm_modalities} - {*store.shapes} - {*PRESETS["paper"]["lstm_modalities"]})
    if unknown:
        problems.append(f"lstm_modalities names {', '.join(unknown)}; the store has {', '.join(store.shapes)}")
    clips = min(p.batch_size, len(store.splits.get("train", ())))
    if ranks.count > max(1, clips // 2):
        problems.append(
            f"found processes={ranks.count} for batches of {clips} clips, need two clips or more for each; "
            f"choose 1 to {max(1, clips // 2)}"
        )
    if not problems:
        need, free = memory(store, p), _free_memory(pick_device(p.device))
        if need > free:
            problems.append(
                f"weights, their optimiser and the distances to codes take about {need / 1e9:,.1f} GB, and "
                f"{free / 1e9:,.1f} GB are free; lower dim, codebook_size, batch_size or other sizes"
            )
    TrainingError.check("training cannot start:", problems)


def memory(store: FeatureStore, params: Params) -> int:
    """Return about how many bytes training takes at least: what is known without a step.

    That is weights, gradients and both moments of Adam, and the distances of a batch's features to all codes.
    """
    with torch.device("meta"):  # nothing is allocated
        network = SRCID(store.shapes, params)
    weights = sum(p.numel() for p in network.parameters())
    batch = min(params.batch_size, len(store.splits["train"])) * store.steps * len(store.shapes)
    distances = batch * params.codebook_size if params.quantizer in ("vq", "rvq") else 0
    return (4 * weights + distances) * (8 if params.precision == "float64" else 4)


def _free_memory(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available


def pick_device(name: str) -> torch.device:
    """Return the torch device ``name`` ('auto' takes a GPU when there is one).

    Raises:
        TrainingError: the device is unknown or absent.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise TrainingError(f"device='{name}' is unknown; use auto, cpu, cuda or cuda:0") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise TrainingError(f"device='{name}' asks for a GPU and torch sees none; use auto or cpu")
    return device
