"""Small stores and parameters that the tests of several packages share."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from srcid.codes import CodeTable
from srcid.features import FeatureStore
from srcid.params import PRESETS, Params, resolve

GOLDEN = Path(__file__).with_name("golden")

TINY = dict(
    dim=16, heads=2, specific_dim=12, pooled_dim=12, grid_channels=(8, 12), club_hidden=8, codebook_size=12,
    encoder_depth=1, epochs=4, batch_size=8, checkpoint_every=5, log_every=2, threads=1, device="cpu", lr=1e-3,
    probe_seeds=2, probe_epochs=3,
)  # fmt: skip


def reference(name: str) -> dict[str, np.ndarray]:
    """Reference vectors of the authors' code by the name of their file; tests/golden/README.md says what each holds."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def reference_tensors(name: str) -> dict:
    """The same as tensors."""
    import torch

    return {key: torch.as_tensor(value) for key, value in reference(name).items()}


# what the demo preset trains by default, beside its sizes; TINY keeps to plainer features, whatever the default is
DEMO_MODEL = (
    "general_encoder", "window", "grid_encoder", "decoder", "specific_rate", "specific_subtraction", "specific_norm",
    "residual_norm", "residual_detach",
)  # fmt: skip
TINY |= dict(
    general_encoder="transformer", feedforward=4.0, grid_encoder="light", decoder="linear", specific_rate=0.0,
    specific_subtraction=False, specific_norm="layer", residual_norm="layer", residual_detach=False, club_steps=5,
)  # fmt: skip


def demo_model() -> dict:
    """The demo preset's choice of features, without its sizes."""
    return {name: PRESETS["demo"][name] for name in DEMO_MODEL}


def tiny_params(**changes) -> Params:
    """Parameters with which a run takes about a second."""
    return resolve("demo", **{**TINY, **changes})


def tiny_store(path: Path, clips: int = 40, steps: int = 6, grid: bool = True, seed: int = 0, **extra) -> FeatureStore:
    """A store of three modalities (one of them a grid) in which three event classes shape all features."""
    draw = np.random.default_rng(seed)
    event = np.zeros((clips, steps, 3), bool)
    for clip, kind in enumerate(draw.integers(3, size=clips)):
        event[clip, 1 : draw.integers(3, steps + 1), kind] = True
    shapes = {"first": (10,), "second": (5, 5, 6) if grid else (8,), "third": (7,)}
    features = {}
    for m, shape in shapes.items():
        pattern = draw.normal(size=(3, *shape))
        features[m] = (np.tensordot(event, pattern, 1) + 0.3 * draw.normal(size=(clips, steps, *shape))).astype("f4")
    cut = clips // 5
    splits = {
        "train": np.arange(cut * 3),
        "val": np.arange(cut * 3, cut * 4),
        "test": np.arange(cut * 4, clips),
    }
    return FeatureStore.create(
        path,
        features=features,
        labels={"event": event},
        classes={"event": ["bark", "horn", "rain"]},
        splits=splits,
        **extra,
    )


def media_store(path: Path, clips: int = 40, steps: int = 6) -> FeatureStore:
    """The tiny store with something to hear, see and read: a tone, a picture and a word for each class.

    Tones last 0.3, 0.4 and 0.5 s by class; background has neither tone nor picture.
    """
    from PIL import Image
    from scipy.io import wavfile

    folder = path.with_name(f"{path.name}-media")
    folder.mkdir(parents=True)
    time = np.arange(4000) / 8000
    for kind in range(3):
        tone = np.sin(2 * np.pi * 330 * 1.5**kind * time) * np.hanning(4000)
        wavfile.write(folder / f"{kind}.wav", 8000, (20_000 * tone).astype(np.int16))
        picture = np.full((12, 16, 3), 40, np.uint8)
        picture[2:10, 1 + 5 * kind : 5 + 5 * kind] = (230, 190, 60)
        Image.fromarray(picture).save(folder / f"{kind}.png")
    event = np.asarray(tiny_store(path.with_name(f"{path.name}-plain"), clips, steps).labels["event"])
    kind = np.where(event.any(-1), event.argmax(-1), -1)
    words = np.array(["barks", "honks", "drips", "quiet"])[kind]
    return tiny_store(
        path,
        clips,
        steps,
        media={
            "first": np.where(kind < 0, "", np.array([f"wav:{k}.wav#0.0,{0.3 + 0.1 * k:.1f}" for k in range(3)])[kind]),
            "second": np.where(kind < 0, "", np.array([f"png:{k}.png" for k in range(3)])[kind]),
            "third": np.char.add("word:", words),
        },
        media_root=folder,
    )


def tiny_table(store: FeatureStore, path: Path, **params) -> CodeTable:
    """What an untrained network says of a store: its codebook starts at the data, so that codes mean something."""
    import torch

    from srcid.codes import encode
    from srcid.model.network import SRCID

    torch.manual_seed(0)
    network = SRCID(store.shapes, tiny_params(**params))
    network({m: torch.from_numpy(x) for m, x in store.batch(store.splits["train"]).items()})
    return encode(network.eval(), store, path)
