"""Small data sets in the layouts that their authors publish, written by the tests."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

SHAPES = {"audio": (128,), "video": (7, 7, 512)}


def features(name: str, number: int, steps: int = 10) -> np.ndarray:
    """Features of clip ``number``: float64 as published, and as well packed as a test wants them."""
    values = np.zeros((steps, *SHAPES[name]))
    values[..., 0] = number + np.arange(steps).reshape(-1, *[1] * (len(SHAPES[name]) - 1)) / 16
    values[..., 1:4] = len(name)
    return values


def archive(file: Path, value: object, member: str = "", **options) -> Path:
    """Write a zip with one pickle."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w", options.pop("method", zipfile.ZIP_DEFLATED)) as held:
        held.writestr(
            member or f"{file.stem}.pkl", value if isinstance(value, bytes) else pickle.dumps(value, **options)
        )
    return file


def hdf5(file: Path, values: np.ndarray, name: str = "avadataset") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(file, "w") as held:
        held.create_dataset(name, data=values)
    return file


def listing(file: Path, columns: Sequence[str], rows: Sequence[Sequence[object]], delimiter: str = ",") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(delimiter.join(map(str, row)) for row in [columns, *rows]) + "\n", encoding="utf-8")
    return file


def vggsound(root: Path, rows: Sequence[tuple[str, str, str]], label: bool = True) -> Path:
    """VGGSound-AVEL 40k: rows (split, category, video_id); every event holds from second 2 on."""
    listing(root / "data" / "vggsound-avel40k.csv", ("split", "category", "video_id"), rows)
    for number, (*_, clip) in enumerate(rows):
        for name in SHAPES:
            archive(root / "feature" / name / "zip" / f"{clip}.zip", features(name, number))
        if label:
            archive(root / "feature" / "label" / "zip" / f"{clip}.zip", np.array([0.0] * 2 + [1.0] * 8))
    return root


def sentences(file: Path, names: Sequence[str], words: int = 12) -> Path:
    """Word vectors: sentence i has i + 1 words that count."""
    values = np.zeros((len(names), words, 768), np.float32)
    tokens = np.full((len(names), words), "", "<U8")
    for number in range(len(names)):
        values[number, : number + 1] = number + 1
        tokens[number, : number + 1] = [f"w{i}" for i in range(number + 1)]
    np.savez(file, features=values, names=np.array(names), tokens=tokens)
    return file


def ave(root: Path, lines: Sequence[str], order: Mapping[str, Sequence[int]], audio: np.ndarray) -> Path:
    """AVE: lines of ``Annotations.txt``, rows of each split, real or made sounds; label columns in reverse order."""
    (root / "data").mkdir(parents=True)
    (root / "data" / "Annotations.txt").write_text("\n".join(lines) + "\n")
    split = [line.split("&") for line in lines]
    names = list(dict.fromkeys(parts[0] for parts in split))[::-1]
    labels = np.zeros((len(lines), 10, len(names) + 1))
    labels[..., -1] = 1
    for row, (name, _, _, onset, offset) in enumerate(split):
        labels[row, int(onset) : int(offset), names.index(name)] = 1
        labels[row, int(onset) : int(offset), -1] = 0
    hdf5(root / "data" / "labels.h5", labels)
    hdf5(root / "data" / "audio_feature.h5", audio)
    hdf5(root / "data" / "visual_feature.h5", np.stack([features("video", n) for n in range(len(lines))]))
    for name, rows in order.items():
        hdf5(root / "data" / f"{name}_order.h5", np.array(rows), "order")
    return root


def coco(root: Path, captions: Mapping[int, Sequence[str]]) -> list[str]:
    """MSCOCO: captions by picture, ids 100, 101, ...; return the ids."""
    found, ids = [], []
    for number, (picture, texts) in enumerate(captions.items()):
        archive(root / "feature" / "zip" / f"{picture:012d}.zip", features("video", number, steps=1))
        for text in texts:
            ids.append(str(100 + len(ids)))
            found.append({"image_id": picture, "id": int(ids[-1]), "caption": text})
    (root / "captions_val2017.json").write_text(json.dumps({"annotations": found}))
    return ids
