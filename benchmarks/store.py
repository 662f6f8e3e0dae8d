"""How fast batches come off a feature store, against a bare memory-mapped copy and one zip + pickle per clip.

All three read the same clips in the same run, in alternating rounds, and the median counts; the first round
warms the page cache and is dropped. The ratios mean more than the MB/s, which depend on the machine and its
neighbours.

    python benchmarks/store.py --clips 600 --batch 80
"""

from __future__ import annotations

import argparse
import io
import pickle
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from srcid.features import FeatureStore
from srcid.features.store import batch_rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=480, help="clips in the store (1.1 MB each at the default shapes)")
    parser.add_argument("--zip-clips", type=int, default=80, help="clips also written and read as zip + pickle")
    parser.add_argument("--batch", type=int, default=80, help="clips per batch")
    parser.add_argument("--grid", type=int, nargs=3, default=(7, 7, 512), help="shape of the grid modality")
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds")
    parser.add_argument("--folder", type=Path, default=None, help="where to put the test data; default: temporary")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        store = _make(Path(folder) / "store", options.clips, tuple(options.grid))
        zipped = _zip(store, Path(folder), min(options.zip_clips, options.clips))
        _report(store, zipped, options.batch, options.rounds)


def _make(path: Path, clips: int, grid: tuple[int, ...]) -> FeatureStore:
    shapes, rng = {"audio": (128,), "video": grid, "text": (768,)}, np.random.default_rng(0)
    start = time.perf_counter()
    with FeatureStore.writer(path, shapes, steps=10) as writer:
        for first in range(0, clips, 16):
            count = min(16, clips - first)
            writer.append({m: rng.standard_normal((count, 10, *s), np.float32) for m, s in shapes.items()})
        store = writer.finish(splits={"train": np.arange(clips)})
    seconds = time.perf_counter() - start
    print(f"{store.clips} clips, {_size(store) * clips / 1e6:.0f} MB, written in {seconds:.1f} s")
    return store


def _zip(store: FeatureStore, folder: Path, clips: int) -> list[Path]:
    files = []
    for row in range(clips):
        files.append(folder / f"{row}.zip")
        with zipfile.ZipFile(files[-1], "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{row}.pkl", pickle.dumps({m: v[0] for m, v in store.batch([row]).items()}))
    return files


def _size(store: FeatureStore) -> int:
    return sum(array[0].nbytes for array in store.features.values())


def _report(store: FeatureStore, zipped: list[Path], size: int, rounds: int) -> None:
    everything = np.arange(store.clips)
    forward = batch_rows(everything, size)
    bare = [np.asarray(array) for array in store.features.values()]

    def copy() -> None:
        for rows in forward:
            for array in bare:
                np.array(array[rows[0] : rows[-1] + 1])

    def unzip() -> None:
        for rows in batch_rows(np.arange(len(zipped)), size):
            clips = []
            for row in rows:
                with zipfile.ZipFile(zipped[row]) as archive:
                    clips.append(pickle.load(io.BytesIO(archive.read(f"{row}.pkl"))))
            for m in store.modalities:
                np.stack([clip[m] for clip in clips])

    ways: dict[str, tuple[Callable[[], None], int]] = {
        "bare memmap copy": (copy, store.clips),
        "store, in order": (lambda: [None for _ in store.batches(everything, size)] and None, store.clips),
        "store, shuffled": (
            lambda: [None for _ in store.batches(everything, size, seed=1)] and None,
            store.clips,
        ),
        "zip + pickle a clip": (unzip, len(zipped)),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, (read, clips) in ways.items():
            start = time.perf_counter()
            read()
            if number:
                speeds[name].append(clips * _size(store) / 1e6 / (time.perf_counter() - start))
    reference = np.median(speeds["bare memmap copy"])
    for name, values in speeds.items():
        middle = np.median(values)
        spread = f"({min(values):.0f} to {max(values):.0f})"
        print(f"{name:20s} {middle:8.0f} MB/s  {spread:18s} {middle / reference:6.2f} x bare")
    ratio = np.median(speeds["store, shuffled"]) / np.median(speeds["zip + pickle a clip"])
    print(f"store, shuffled, over zip + pickle: {ratio:.1f} x")


if __name__ == "__main__":
    main()
