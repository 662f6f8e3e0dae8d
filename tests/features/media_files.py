"""Small media files with known content: sounds are tones, videos one colour a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.io import wavfile

COLOURS = {"red": (220, 20, 20), "green": (20, 220, 20), "blue": (20, 20, 220)}


def tone(hertz: Sequence[float], rate: int = 16_000) -> np.ndarray:
    """One tone a second, float32."""
    time = np.arange(rate) / rate
    return np.concatenate([0.3 * np.sin(2 * np.pi * h * time) for h in hertz]).astype(np.float32)


def wav(path: Path, hertz: Sequence[float], rate: int = 16_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, rate, tone(hertz, rate))
    return path


def picture(path: Path, colour: str, size: tuple[int, int] = (48, 40)) -> Path:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, COLOURS[colour]).save(path)
    return path


def video(path: Path, colours: Sequence[str], hertz: Sequence[float] = (), fps: int = 8, late: float = 0.0) -> Path:
    """An mp4 with one colour and, if given, one tone a second, which begin ``late`` seconds after the pictures."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        shown = container.add_stream("mpeg4", rate=fps)
        shown.width, shown.height, shown.pix_fmt = 64, 48, "yuv420p"
        heard = container.add_stream("aac", rate=16_000, layout="mono") if hertz else None
        for colour in colours:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), COLOURS[colour], np.uint8), format="rgb24")
            for _ in range(fps):
                container.mux(shown.encode(frame))
        container.mux(shown.encode())
        if heard:
            frame = av.AudioFrame.from_ndarray(tone(hertz)[None], format="flt", layout="mono")
            frame.sample_rate, frame.pts = 16_000, round(16_000 * late)  # or the delay of the encoder would not be told
            container.mux(heard.encode(frame))
            container.mux(heard.encode())
    return path
