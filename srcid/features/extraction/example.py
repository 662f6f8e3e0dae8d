"""Example clips: small films of a shape that appears with a sound of its own, and a list that says when.

They are made, not recorded, so that the way from media to codes can be gone through with nothing at hand. Where PyAV is
not installed, a clip is a picture and a sound file instead of a film.
"""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path

import numpy as np

KINDS = {"ball": 330.0, "box": 660.0, "kite": 1320.0}  # shape -> tone, Hz
RATE, FPS, SIZE, SECONDS = 16_000, 4, 64, 6


def make_clips(folder: str | Path, count: int = 60, seed: int = 0) -> Path:
    """Write ``count`` clips of six seconds and ``clips.csv`` to ``folder``, which is made, and return it.

    In each clip one shape is seen and its tone heard for some seconds; place, colour, size and loudness vary.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        kind = list(KINDS)[number % len(KINDS)]
        onset = int(draw.integers(0, SECONDS - 1))
        offset = int(draw.integers(onset + 1, SECONDS + 1)) if find_spec("av") else SECONDS
        on = np.repeat((np.arange(SECONDS) >= onset) & (np.arange(SECONDS) < offset), FPS)
        frames, sound = _frames(draw, kind, on), _sound(draw, kind, np.repeat(on, RATE // FPS))
        split = "test" if number % 5 == 0 else "val" if number % 5 == 1 else "train"
        rows.append(_write(folder, f"{kind}{number:02d}", frames, sound) | dict(split=split, label=kind,
                                                                               onset=onset, offset=offset))  # fmt: skip
    with (folder / "clips.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def _frames(draw: np.random.Generator, kind: str, on: np.ndarray) -> np.ndarray:
    """A dark room in which a shape is seen while ``on``: uint8 ``[frames, SIZE, SIZE, 3]``."""
    down, right = np.mgrid[:SIZE, :SIZE]
    y, x = draw.integers(26, SIZE - 26, 2)
    half = int(draw.integers(14, 20))
    distance = {
        "ball": np.hypot(down - y, right - x),
        "box": np.maximum(abs(down - y), abs(right - x)) * 1.2,
        "kite": (abs(down - y) + abs(right - x)) * 0.8,
    }[kind]
    frames = draw.integers(20, 60, (len(on), 1, 1, 1)) + draw.integers(0, 20, (len(on), SIZE, SIZE, 3))
    colour = {"ball": (200, 60, 60), "box": (60, 200, 60), "kite": (70, 90, 220)}[kind] + draw.integers(-40, 40, 3)
    shape = (distance < half) & on[:, None, None]
    return np.where(shape[..., None], colour, frames).clip(0, 255).astype(np.uint8)


def _sound(draw: np.random.Generator, kind: str, on: np.ndarray) -> np.ndarray:
    """Noise, and the kind's tone while ``on``: float32 ``[samples]``."""
    pitch = KINDS[kind] * 2 ** draw.uniform(-0.1, 0.1)
    heard = draw.uniform(0.1, 0.4) * np.sin(2 * np.pi * pitch * np.arange(len(on)) / RATE)
    return (0.01 * draw.standard_normal(len(on)) + heard * on).astype(np.float32)


def _write(folder: Path, name: str, frames: np.ndarray, sound: np.ndarray) -> dict[str, str]:
    """Write one clip, and return which files it is."""
    if find_spec("av") is None:
        from PIL import Image
        from scipy.io import wavfile

        Image.fromarray(frames[-1]).save(folder / f"{name}.png")
        wavfile.write(folder / f"{name}.wav", RATE, sound)
        return dict(video=f"{name}.png", audio=f"{name}.wav")
    import av

    with av.open(str(folder / f"{name}.mp4"), "w") as film:
        seen, heard = film.add_stream("mpeg4", rate=FPS), film.add_stream("aac", rate=RATE, layout="mono")
        seen.width = seen.height = SIZE
        seen.pix_fmt, seen.bit_rate = "yuv420p", 400_000
        for frame in frames:
            film.mux(seen.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        samples = av.AudioFrame.from_ndarray(sound[None], format="flt", layout="mono")
        samples.sample_rate, samples.pts = RATE, 0  # or the delay of the encoder would not be told
        film.mux([*seen.encode(), *heard.encode(samples), *heard.encode()])
    return dict(file=f"{name}.mp4")
