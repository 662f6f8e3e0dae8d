"""A whole training step at paper shapes, as a share of the machine's own matrix-product peak.

    python benchmarks/step.py --batch 8 --precision float32 bfloat16 --grid-encoder conv light

Each line: milliseconds, GFLOP/s achieved, the peak of a square matrix product of the same precision measured in the
same process just before, their ratio, and peak memory. Counted are the operations of the *direct* grid convolutions
alone, forward and backward: 98 % of the published step, so that the share is slightly understated for ``conv``; our
convolutions need fewer, so that it can exceed 100 %. ``light`` does other work: compare its milliseconds.
"""

from __future__ import annotations

import argparse
import platform
import resource
import time

import torch
from grid import count

from srcid.params import resolve
from srcid.training.loop import Trainer

SHAPES = {"audio": (128,), "video": (7, 7, 512), "text": (768,)}


class RandomStore:
    """Paper-shaped random features, held in memory: the step alone is measured."""

    def __init__(self, batch: int, steps: int) -> None:
        import numpy as np

        draw = np.random.default_rng(0)
        self.modalities, self.shapes, self.steps, self.checksum = tuple(SHAPES), SHAPES, steps, "random"
        self.splits = {"train": np.arange(batch), "val": np.arange(2)}
        self.features = {m: draw.standard_normal((batch, steps, *s), dtype=np.float32) for m, s in SHAPES.items()}
        self.masks = {m: np.ones((batch, steps), bool) for m in SHAPES}

    def batch(self, rows):
        """Features of the clips ``rows``."""
        return {m: x[rows] for m, x in self.features.items()}


def peak(dtype: torch.dtype, size: int = 3072, repeats: int = 4) -> float:
    """Best FLOP/s of a square matrix product."""
    a, b = torch.randn(size, size, dtype=dtype), torch.randn(size, size, dtype=dtype)
    a @ b
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--grid-encoder", nargs="+", default=["conv", "light"])
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"B = {arguments.batch}, T = {arguments.steps}, " + ", ".join(f"{m} {s}" for m, s in SHAPES.items()))
    print(f"{'encoder':8} {'precision':9} {'ms':>8} {'TFLOP':>7} {'GFLOP/s':>8} {'peak':>6} {'share':>6} {'GB':>5}")
    store = RandomStore(arguments.batch, arguments.steps)
    for encoder in arguments.grid_encoder:
        for precision in arguments.precision:
            params = resolve(
                "paper", grid_encoder=encoder, precision=precision, batch_size=arguments.batch, warm_start="off",
                device="cpu", epochs=1000,
            )  # fmt: skip
            trainer = Trainer(store, params)
            features, masks = trainer.tensors(trainer.rows)
            trainer.advance(features, masks)
            flops, times, peaks = 1e9 * count(encoder, arguments.batch * arguments.steps // 10), [], []
            for _ in range(arguments.repeats):
                peaks.append(peak(torch.bfloat16 if precision == "bfloat16" else torch.float32))
                began = time.perf_counter()
                trainer.advance(features, masks)
                times.append(time.perf_counter() - began)
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            rate, top = flops / min(times), max(peaks)
            print(
                f"{encoder:8} {precision:9} {min(times) * 1e3:8.0f} {flops / 1e12:7.2f} {rate / 1e9:8.0f} "
                f"{top / 1e9:6.0f} {rate / top:6.0%} {memory:5.1f}",
                flush=True,
            )
            del trainer, features


if __name__ == "__main__":
    main()
