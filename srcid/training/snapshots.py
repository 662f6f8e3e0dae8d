"""Codes at the end of each epoch, kept in a run folder so that epochs of one run can be compared.

One file an epoch, ``epochs/epoch-00003.npz``, holds for up to :data:`CLIPS` test clips, of the layers that were open,
``codes_LAYER_MODALITY [n, T, S]``, ``distance_...`` and ``second_...`` ``[n, T]`` as in a code table, the ``rows`` of
the clips, and ``codebook_LAYER``. Of long trainings every n-th epoch and the last are kept, so that there are at most
:data:`EPOCHS` + 1. Reading codes in evaluation mode draws no random numbers and changes no state.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from srcid.files import whole_file

if TYPE_CHECKING:
    from srcid.features import FeatureStore
    from srcid.training.trainer import Trainer

CLIPS = 300  # reading their codes takes about 4 % of an epoch of the default run
EPOCHS = 100
_BOOK = 2**20  # numbers of a codebook that are worth keeping each time
_KINDS = ("codes", "distance", "second")
_FOLDER = "epochs"


def kept_epochs(folder: Path) -> list[int]:
    """Return the epochs of the run in ``folder`` of which there is a snapshot, counted from 1."""
    return sorted(int(path.stem.partition("-")[2]) for path in (folder / _FOLDER).glob("epoch-*.npz"))


def read_epoch(folder: Path, epoch: int) -> dict[str, np.ndarray]:
    """Return the arrays of a snapshot by name.

    Raises:
        OSError, ValueError, BadZipFile: there is none, or it is damaged.
    """
    with _file(folder, epoch).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def keep_epoch(folder: Path, trainer: Trainer) -> None:
    """Write the snapshot of the epoch that has just ended, unless it is one of those that are passed over."""
    epoch, epochs = trainer.step // trainer.per_epoch, trainer.params.epochs
    if epoch % -(-epochs // EPOCHS) and epoch < epochs:
        return
    arrays = _codes(trainer, _rows(trainer.store))
    path = _file(folder, epoch)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as draft, draft.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _file(folder: Path, epoch: int) -> Path:
    return folder / _FOLDER / f"epoch-{epoch:05d}.npz"


def _rows(store: FeatureStore) -> np.ndarray:
    """The first test clips; those of the validation split where no clips are for tests."""
    return store.splits["test" if len(store.splits.get("test", ())) else "val"][:CLIPS]


@torch.no_grad()
def _codes(trainer: Trainer, rows: np.ndarray) -> dict[str, np.ndarray]:
    network, found = trainer.network, {"rows": [rows]}
    network.eval()
    for start in range(0, len(rows), trainer.params.batch_size):
        inputs, masks = trainer.tensors(rows[start : start + trainer.params.batch_size])
        layers = islice(network.encode(inputs, masks), trainer.warm.layers_open)
        for k, (layer, general, _) in enumerate(layers, 1):
            for m, z in general.items():
                said = layer.quantizer.of(m).describe(z, (masks or {}).get(m))
                for kind in _KINDS:
                    found.setdefault(f"{kind}_{k}_{m}", []).append(said[kind].cpu().numpy())
    network.train()
    arrays = {name: np.concatenate(parts) for name, parts in found.items()}
    arrays = {name: x.astype(np.float32 if x.dtype.kind == "f" else np.int32) for name, x in arrays.items()}
    for k, layer in enumerate(network.layers[: trainer.warm.layers_open], 1):
        book = layer.quantizer.codebooks
        if book is not None and book.numel() <= _BOOK:
            arrays[f"codebook_{k}"] = book.float().cpu().numpy()
    return arrays
