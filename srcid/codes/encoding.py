"""Encoding: what a network says of every clip of a store becomes a code table, whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock

from srcid.codes.manifest import FORMAT, VERSION, CodeTableError
from srcid.codes.table import CodeTable
from srcid.features import FeatureStore
from srcid.features.front_ends import weights_checksum
from srcid.files import code_version, digest, disk_errors, fingerprints, reserved_array, sealed, write_json

if TYPE_CHECKING:
    from srcid.model.network import SRCID

_KINDS = {  # arrays of every clip; quantised features are those of the codebook, where there is one
    "codes": np.int32, "distance": np.float32, "second": np.int32, "nearest": np.float32, "quantized": np.float32,
}  # fmt: skip
BATCH_SIZE = 200  # clips of a forward pass


def encode(network: SRCID, store: FeatureStore, path: str | Path, batch_size: int = BATCH_SIZE) -> CodeTable:
    """Return the table of what ``network`` says of every clip of ``store``, kept in ``path``.

    A table that is there, of the same weights, parameters, store and code, is returned as it is; another one is
    replaced once the new one is complete. Processes that encode into the same folder wait for each other.

    Args:
        network: trained; its parameters say in which mode codes are read out and how many clips keep their
            continuous features (a seeded sample when the store has more).
        store: may lack modalities that the network knows (evaluation-only stores); the others are encoded as they
            would be beside them.

    Raises:
        CodeTableError: the store's modalities or widths are not the network's; nothing has been written then.
        DiskError: the disk is full or cannot be written; a table that was there is as it was.
    """
    _check_store(network, store)
    path, weights = Path(path), weights_checksum(network)
    facts = {"params": network.params.model_dump(mode="json"), "batch_size": batch_size}
    if found := _current(path, store, weights, facts):
        return found
    with disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        with FileLock(path / "encoding.lock"):
            if found := _current(path, store, weights, facts):  # made meanwhile by whom this process waited for
                return found
            for left in path.glob(".arrays-*"):  # by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            draft = path / f".arrays-{secrets.token_hex(4)}"
            draft.mkdir()
            try:
                manifest = _write_arrays(network, store, draft, batch_size) | facts | {"model": weights}
                manifest |= {"code": code_version(), "files": fingerprints(draft)}
                content = digest(manifest)
                manifest["arrays"] = f"arrays-{content[:12]}"
                shutil.rmtree(path / manifest["arrays"], ignore_errors=True)  # damaged, or it would have been taken
                draft.rename(path / manifest["arrays"])
            finally:
                shutil.rmtree(draft, ignore_errors=True)
            write_json(path / "manifest.json", sealed(manifest))
            for old in path.glob("arrays-*"):
                if old.name != manifest["arrays"]:
                    shutil.rmtree(old, ignore_errors=True)
    return CodeTable.open(path)


def _current(path: Path, store: FeatureStore, weights: str, facts: Mapping[str, Any]) -> CodeTable | None:
    """The table in ``path``, if encoding ``store`` by these weights and this code would only make it again."""
    try:
        table = CodeTable.open(path)
    except CodeTableError:
        return None
    said = table.manifest
    same = said.get("code") == code_version() and all(said.get(name) == value for name, value in facts.items())
    same &= table.checksum == store.checksum and said["store"]["path"] == os.fspath(store.path.resolve())
    return table if same and weights in ("", table.model) else None


def _write_arrays(network: SRCID, store: FeatureStore, folder: Path, batch_size: int) -> dict[str, Any]:
    """Encode every clip and write the arrays of its table to ``folder``; return what the manifest says of them."""
    import torch

    p = network.params
    first = next(network.parameters())
    draw = np.random.default_rng(p.seed)
    kept = np.sort(draw.permutation(store.clips)[: p.keep_features])
    place = np.full(store.clips, -1)
    place[kept] = np.arange(len(kept))
    books = [layer.quantizer.codebooks for layer in network.layers]
    writer = _Writer(folder, store, len(kept))

    network.train(p.encode_mode == "train")
    for layer in network.layers:
        layer.quantizer.eval()  # whatever the mode, reading never changes a codebook
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(p.seed)
        for rows, batch in store.batches(np.arange(store.clips), batch_size):
            inputs = {m: torch.from_numpy(x).to(first.device, first.dtype) for m, x in batch.items()}
            masks = {m: torch.from_numpy(store.masks[m][rows]).to(first.device) for m in inputs}
            for k, (layer, general, specific) in enumerate(network.encode(inputs, masks), 1):
                for m, z in general.items():
                    found = layer.quantizer.of(m).describe(z, masks[m])
                    for kind, dtype in _KINDS.items():
                        if kind != "quantized" or books[k - 1] is None:
                            writer.put(kind, k, m, rows, found[kind], dtype)
                    chosen = place[rows] >= 0
                    if chosen.any():
                        where = place[rows][chosen]
                        writer.put("general", k, m, where, z[chosen], np.float32)
                        if m in specific:
                            writer.put("specific", k, m, where, specific[m].draw()[chosen], np.float32)
    network.eval()
    for k, book in enumerate(books, 1):
        if book is not None:
            np.save(folder / f"codebook_{k}.npy", book.float().cpu().numpy())
    np.save(folder / "kept.npy", kept)
    return writer.finish(len(network.layers), network.layers[0].quantizer)


def encode_once(load: Callable[[], SRCID], store: FeatureStore, path: str | Path) -> CodeTable:
    """Return the table of ``store`` in ``path``, encoding it first unless it is there.

    Args:
        load: gives the network; not called where the table is there.

    Raises:
        CodeTableError: as :func:`encode`.
    """
    return _current(Path(path), store, "", {"batch_size": BATCH_SIZE}) or encode(load(), store, path)


def _check_store(network: SRCID, store: FeatureStore) -> None:
    problems = []
    for m, shape in store.shapes.items():
        if m not in network.shapes:
            problems.append(f"modality '{m}' is unknown to the model, which knows {', '.join(network.shapes)}")
        elif tuple(shape) != tuple(network.shapes[m]):
            problems.append(
                f"features of another width than the model's: modality '{m}' has shape {tuple(shape)} a step, the "
                f"model was trained on {tuple(network.shapes[m])}"
            )
    CodeTableError.check("this store cannot be encoded:", problems)


class _Writer:
    """Creates each array at its first rows and fills it in place, so that memory stays bounded."""

    def __init__(self, folder: Path, store: FeatureStore, kept: int) -> None:
        self.folder, self.store, self.kept = folder, store, kept
        self.arrays: dict[str, np.ndarray] = {}

    def put(self, kind: str, layer: int, modality: str, rows: np.ndarray, values: Any, dtype: Any) -> None:
        values = values.cpu().numpy()
        name = f"{kind}_{layer}_{modality}"
        if name not in self.arrays:
            length = self.kept if kind in ("general", "specific") else self.store.clips
            shape = (length, *values.shape[1:])
            self.arrays[name] = reserved_array(self.folder / f"{name}.npy", dtype, shape)
        self.arrays[name][rows] = values

    def finish(self, layers: int, quantizer: Any) -> dict[str, Any]:
        store, folder = self.store, self.folder
        for array in self.arrays.values():
            array.flush()
        self.arrays.clear()
        np.save(folder / "ids.npy", store.ids)
        for name, rows in store.splits.items():
            np.save(folder / f"split_{name}.npy", rows)
        for name, values in store.labels.items():
            np.save(folder / f"label_{name}.npy", values)
        for name, mask in store.labelled.items():
            np.save(folder / f"labelled_{name}.npy", mask)
        for m in store.modalities:
            np.save(folder / f"mask_{m}.npy", store.masks[m])
        for m, references in store.media.items():
            np.save(folder / f"media_{m}.npy", references)
        return {
            "format": FORMAT,
            "version": VERSION,
            "modalities": list(store.modalities),
            "layers": layers,
            "stages": len(quantizer.sizes),
            "sizes": list(quantizer.sizes),
            "clips": store.clips,
            "steps": store.steps,
            "splits": list(store.splits),
            "labels": {name: vars(info) for name, info in store.label_info.items()},
            "labelled": list(store.labelled),
            "media": list(store.media),
            "store": {"path": os.fspath(store.path.resolve()), "checksum": store.checksum},
        }
