"""CodeTables for the tests here: real ones from small networks, made-up ones whose truth is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from srcid.codes import FORMAT, VERSION, CodeTable, encode
from srcid.features import FeatureStore
from tests.helpers import tiny_params

CLIPS, STEPS = 40, 6


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> FeatureStore:
    """Three modalities, one with padded steps; events of three classes, a speaker, a loudness, media."""
    draw = np.random.default_rng(0)
    event = np.zeros((CLIPS, STEPS, 3), bool)
    for clip, kind in enumerate(draw.integers(3, size=CLIPS)):
        event[clip, 1 : draw.integers(3, STEPS + 1), kind] = True
    event[0, 2, :2] = True  # two at once
    features = {}
    for m, width in {"first": 10, "second": 8, "third": 7}.items():
        pattern = draw.normal(size=(3, width))
        noise = 0.3 * draw.normal(size=(CLIPS, STEPS, width))
        features[m] = (event @ pattern + noise).astype(np.float32)
    masks = {"third": np.ones((CLIPS, STEPS), bool)}
    masks["third"][::3, -1] = False
    media = {"first": np.array([[f"digits:{clip * STEPS + t}" for t in range(STEPS)] for clip in range(CLIPS)])}
    return FeatureStore.create(
        tmp_path_factory.mktemp("store") / "tiny",
        features=features,
        labels={
            "event": event,
            "speaker": draw.integers(-1, 4, size=CLIPS),
            "loudness": draw.normal(size=(CLIPS, STEPS, 1)).astype(np.float32),
        },
        classes={"event": ["bark", "horn", "rain"], "speaker": ["ann", "bob", "cho", "dee"]},
        splits={"train": np.arange(24), "val": np.arange(24, 32), "test": np.arange(32, CLIPS)},
        masks=masks,
        media=media,
    )


@pytest.fixture(scope="session")
def tables(store, tmp_path_factory) -> dict[str, CodeTable]:
    """What networks with each quantiser say of the store, by name of the quantiser."""
    import torch

    from srcid.model.network import SRCID

    made = {}
    for quantizer in ("vq", "rvq", "fsq", "identity"):
        torch.manual_seed(0)
        params = tiny_params(quantizer=quantizer, stages=2, keep_features=30)
        network = SRCID(store.shapes, params)
        batch = store.batch(store.splits["train"])
        network({m: torch.from_numpy(x) for m, x in batch.items()})  # codebooks start at the data
        made[quantizer] = encode(network.eval(), store, tmp_path_factory.mktemp(quantizer) / "codes")
    return made


@pytest.fixture
def write_table(tmp_path):
    """Write a CodeTable of given codes ``{layer: {modality: int [N, T]}}`` and labels."""

    def write(codes, labels=None, kinds=None, codebook=None, distances=True, seed=0) -> CodeTable:
        folder: Path = tmp_path / "made"
        folder.mkdir()
        draw = np.random.default_rng(seed)
        modalities = list(next(iter(codes.values())))
        clips, steps = codes[1][modalities[0]].shape
        size = 1 + max(int(c.max()) for layer in codes.values() for c in layer.values())
        size = size if codebook is None else len(codebook)
        np.save(folder / "ids.npy", np.array([f"clip {i}" for i in range(clips)]))
        for m in modalities:
            np.save(folder / f"mask_{m}.npy", codes[1][m] >= 0)
            np.save(
                folder / f"media_{m}.npy",
                np.array([[f"word:{i}/{t}" for t in range(steps)] for i in range(clips)]),
            )
        for k, layer in codes.items():
            book = draw.normal(size=(size, 4)) if codebook is None else codebook
            np.save(folder / f"codebook_{k}.npy", book[None].astype(np.float32))
            for m, values in layer.items():
                np.save(folder / f"codes_{k}_{m}.npy", values.astype(np.int32)[..., None])
                if distances:
                    np.save(folder / f"distance_{k}_{m}.npy", draw.random((clips, steps)).astype(np.float32))
        np.save(folder / "kept.npy", np.zeros(0, int))
        info = {}
        for name, values in (labels or {}).items():
            np.save(folder / f"label_{name}.npy", values)
            kind, level, classes = kinds[name]
            info[name] = dict(name=name, kind=kind, level=level, classes=classes, visible_in=modalities)
        manifest = dict(
            format=FORMAT, version=VERSION, modalities=modalities, layers=len(codes), stages=1, sizes=[size],
            clips=clips, steps=steps, splits=[], labels=info, media=modalities, params={},
            store=dict(path="", checksum=""),
        )  # fmt: skip
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return CodeTable.open(folder)

    return write
