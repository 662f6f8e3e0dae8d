"""How fast published archives become a feature store, against a plain zip + pickle loader and the disk itself.

The clips have the published shapes and types: sounds [10, 128] and pictures [10, 7, 7, 512] in float64, one zip and
one pickle for each, deflated; about half of each grid is zero, as it is behind a ReLU. Three ways are measured in
turn, round by round, and the medians count:

- plain: one process opens each zip, unpickles it without a look, and writes float32 to one file per modality, which
  is flushed at the end: what a loader would do that trusts everything;
- convert: ``python -m srcid convert`` without its command line, checks and hashes included;
- disk: as many bytes as the store has, written in one go and flushed.

Ratios mean more than clips a second, which depend on the machine and its neighbours; processor time bears busy
neighbours best.

    python benchmarks/conversion.py --clips 200
"""

from __future__ import annotations

import argparse
import io
import os
import pickle
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from srcid.features.published import convert

SHAPES = {"audio": (10, 128), "video": (10, 7, 7, 512)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=200, help="clips; 1 MB each in the store")
    parser.add_argument("--dtype", default="float32", help="float32 or float16")
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds")
    parser.add_argument("--folder", type=Path, default=None, help="where to put the test data; default: temporary")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        root = Path(folder)
        make(root / "in", options.clips)
        report(root, options)


def make(root: Path, clips: int) -> None:
    """Write the archives and the list; ten different clips take turns."""
    draw = np.random.default_rng(0)
    rows = [f"train,class {number % 7},clip{number:05d}" for number in range(clips)]
    (root / "data").mkdir(parents=True)
    (root / "data" / "vggsound-avel40k.csv").write_text("split,category,video_id\n" + "\n".join(rows) + "\n")
    packed = 0
    for name, shape in SHAPES.items():
        (root / name).mkdir()
        for number in range(clips):
            target = root / name / f"clip{number:05d}.zip"
            if number >= 10:
                shutil.copyfile(root / name / f"clip{number % 10:05d}.zip", target)
            else:
                values = np.maximum(draw.standard_normal(shape, np.float32), 0).astype(np.float64)
                with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
                    archive.writestr(f"clip{number:05d}.pkl", pickle.dumps(values))
            packed += target.stat().st_size
    print(f"{clips} clips, {packed / 1e6:.0f} MB of archives")


def plain(root: Path, target: Path, clips: int, dtype: str) -> None:
    """Load and write clip by clip in one process, trusting everything."""
    target.mkdir()
    for name in SHAPES:
        with (target / name).open("wb") as file:
            for number in range(clips):
                with zipfile.ZipFile(root / name / f"clip{number:05d}.zip") as archive:
                    values = pickle.load(io.BytesIO(archive.read(archive.namelist()[0])))
                file.write(values.astype(dtype).data)
            file.flush()
            os.fsync(file.fileno())


def disk(target: Path, size: int) -> None:
    """Write ``size`` bytes and flush them."""
    block = os.urandom(2**20)
    with target.open("wb") as file:
        for _ in range(size // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


def report(root: Path, options: argparse.Namespace) -> None:
    """Measure all ways in turn and print clips a second, MB a second written, and ratios."""
    clip_bytes = sum(int(np.prod(shape)) for shape in SHAPES.values()) * np.dtype(options.dtype).itemsize
    ways: dict[str, Callable[[Path], object]] = {
        "plain": lambda target: plain(root / "in", target, options.clips, options.dtype),
        "convert": lambda target: convert(
            "vggsound-avel40k", root / "in", target, dtype=options.dtype, allow_missing=True, progress=io.StringIO()
        ),
        "disk alone": lambda target: disk(target, options.clips * clip_bytes),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    busy: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            target = root / "out"
            start, used = time.perf_counter(), sum(os.times()[:4])
            way(target)
            seconds[name].append(time.perf_counter() - start)
            busy[name].append(sum(os.times()[:4]) - used)
            shutil.rmtree(target) if target.is_dir() else target.unlink()
    reference = np.median(seconds["plain"])
    for name, taken in seconds.items():
        middle = np.median(taken)
        rate = options.clips / middle
        print(
            f"{name:22s} {rate:7.1f} clips/s {rate * clip_bytes / 1e6:6.0f} MB/s written "
            f"({min(taken):.1f} to {max(taken):.1f} s) {reference / middle:5.2f} x plain; "
            f"processor {1e3 * np.median(busy[name]) / options.clips:5.1f} ms a clip"
        )


if __name__ == "__main__":
    main()
