"""Training at paper scale on a GPU: the step, its input, quantisers, CLUB, and a whole pretraining.

    python benchmarks/gpu.py [--batch 80] [--encoder conv light] [--steps 20] [--only step input parts]

Paper shapes: B = 80 clips, T = 10 steps, a 7x7x512 grid beside two vectors, D = 256, L = 400. Each line of the first
table: milliseconds of a step, GFLOP/s of its *direct* grid convolutions (98 % of the published step), the peak of a
square matrix product in the same precision just before, and their ratio. ``light`` does other work than ``conv``:
compare its milliseconds. Compiled are encoders and decoders. A pretraining is 40,000 clips for 6 epochs; its time is
that of 3,000 steps at the rate of ``--steps`` steps fed from a store on disk. Where there is no GPU, nothing is
measured; ``--rehearse`` runs everything in small on the CPU, to see that it runs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from club import Given, all_pairs
from grid import count
from quantizers import PAIRS, call_of
from step import SHAPES, RandomStore

from srcid.features import FeatureStore
from srcid.params import Params, resolve
from srcid.training.loop import Trainer

CLIPS, EPOCHS = 40_000, 6  # of a whole pretraining
PRECISIONS = ("float32", "TF32", "bfloat16")


def seconds(call: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Return the median time of a call, after two to warm up, with the device's work done."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    times = []
    for _ in range(repeats + 2):
        wait()
        began = time.perf_counter()
        call()
        wait()
        times.append(time.perf_counter() - began)
    return statistics.median(times[2:])


@contextmanager
def precision(name: str) -> Iterator[str]:
    """Let float32 products use TF32 or not; yield the option of the same name."""
    torch.set_float32_matmul_precision("high" if name == "TF32" else "highest")
    torch.backends.cudnn.allow_tf32 = name == "TF32"
    yield "bfloat16" if name == "bfloat16" else "float32"
    torch.set_float32_matmul_precision("highest")


def peak(dtype: torch.dtype, device: torch.device, size: int) -> float:
    """Return the FLOP/s of a square matrix product."""
    a, b = torch.randn(2, size, size, dtype=dtype, device=device)
    return 2 * size**3 / seconds(lambda: a @ b, device, 5)


def paper(encoder: str, precision: str, batch: int, device: torch.device) -> Params:
    """Parameters of the paper at this batch size, both layers open; of the demo on a CPU, which only rehearses."""
    return resolve(
        "paper" if device.type == "cuda" else "demo",
        grid_encoder=encoder, precision=precision, batch_size=batch, warm_start="off", device=device.type,
        epochs=100_000,
    )  # fmt: skip


def compile_modules(trainer: Trainer) -> None:
    """Compile encoders and decoders; what is between them changes buffers in place."""
    torch._dynamo.config.recompile_limit = 64  # one forward serves modalities of different shapes
    for layer in trainer.network.layers:
        for part in (layer.general, layer.specific, layer.decoder):
            for module in part.values():
                module.compile()


def step_table(options: argparse.Namespace, device: torch.device) -> None:
    """Print the time of a step in each precision, compiled or not."""
    print(f"\n{'encoder':8} {'precision':9} {'compiled':8} {'ms':>8} {'GFLOP/s':>9} {'peak':>9} {'share':>6} {'GB':>6}")
    store = RandomStore(options.batch, 10)
    for compiled in (False, True) if device.type == "cuda" else (False,):
        for encoder in options.encoder:
            for name in PRECISIONS:
                with precision(name) as kind:
                    trainer = Trainer(store, paper(encoder, kind, options.batch, device))
                    step_line(encoder, name, compiled, trainer, options)


def step_line(encoder: str, name: str, compiled: bool, trainer: Trainer, options: argparse.Namespace) -> None:
    """Print the time of a step in one precision, beside the peak of a matrix product in the same."""
    device, flops = trainer.device, 1e9 * count(encoder, options.batch)
    top = peak(torch.bfloat16 if name == "bfloat16" else torch.float32, device, options.size)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    if compiled:
        compile_modules(trainer)
    batch = trainer.tensors(trainer.rows)
    took = seconds(lambda: trainer.advance(*batch), device, options.steps)
    held = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0
    rate, how = flops / took, "yes" if compiled else "no"
    figures = f"{1e3 * took:8.1f} {rate / 1e9:9.0f} {top / 1e9:9.0f} {rate / top:6.0%} {held:6.1f}"
    print(f"{encoder:8} {name:9} {how:8} {figures}", flush=True)


def input_table(options: argparse.Namespace, device: torch.device) -> None:
    """Print the time of reading a batch, and of a pretraining fed from disk."""
    draw, clips = np.random.default_rng(0), options.batch * 5
    with tempfile.TemporaryDirectory() as folder, precision("TF32"):
        features = {m: draw.standard_normal((clips, 10, *shape), dtype=np.float32) for m, shape in SHAPES.items()}
        splits = {"train": np.arange(clips - 2), "val": np.arange(clips - 2, clips)}
        store = FeatureStore.create(Path(folder) / "store", features=features, splits=splits)
        print(f"\n{'encoder':8} {'precision':9} {'input ms':>9} {'step ms':>8} {'both ms':>8} {'pretraining':>12}")
        for encoder in options.encoder:
            for name, kind in (("TF32", "float32"), ("bfloat16", "bfloat16")):
                input_line(
                    f"{encoder:8} {name:9}", Trainer(store, paper(encoder, kind, options.batch, device)), options
                )


def input_line(name: str, trainer: Trainer, options: argparse.Namespace) -> None:
    """Print the time of reading a batch, of a step, and of both, reading ahead."""
    device, batches = trainer.device, trainer.batches()
    read = seconds(lambda: trainer.tensors(trainer.rows[: options.batch]), device, options.steps)
    batch = trainer.tensors(trainer.rows[: options.batch])
    alone = seconds(lambda: trainer.advance(*batch), device, options.steps)
    both = seconds(lambda: trainer.advance(*next(batches)), device, options.steps)
    minutes = both * CLIPS / options.batch * EPOCHS / 60
    times = " ".join(f"{1e3 * value:8.1f}" for value in (read, alone, both))
    print(f"{name} {times} {minutes:8.1f} min", flush=True)
    batches.close()


def looped_quantizer(clips: int, size: int) -> Callable[[], object]:
    """Nearest codes and their sums, clip by clip: what a first draft does."""
    features, codebook = torch.randn(clips, 10, 256, requires_grad=True), torch.randn(size, 256)

    def run() -> None:
        counts, sums, loss = torch.zeros(size), torch.zeros(size, 256), 0.0
        for clip in features:
            codes = torch.cdist(clip.detach(), codebook).argmin(-1)
            counts.index_add_(0, codes, torch.ones(10))
            sums.index_add_(0, codes, clip.detach())
            loss = loss + (clip - codebook[codes]).square().mean()
        loss.backward()

    return run


def parts_table(options: argparse.Namespace, device: torch.device) -> None:
    """Print the times of quantisers and of CLUB, forward and backward, beside the library's and a plain loop."""
    with torch.device(device):
        print(f"\n{'quantiser':12} {'ours ms':>9} {'library ms':>11} {'loop ms':>9}")
        loop = seconds(looped_quantizer(options.batch, 400), device, options.steps)
        for ours, theirs in PAIRS:
            mine, other = (seconds(call_of(n, options.batch, 400), device, options.steps) for n in (ours, theirs))
            looped = f"{1e3 * loop:9.2f}" if ours == "vq" else f"{'':9}"
            print(f"{ours:12} {1e3 * mine:9.2f} {1e3 * other:11.2f} {looped}", flush=True)
        known, y = torch.randn(options.batch, 10, 512, requires_grad=True), torch.randn(options.batch, 10, 256)
        given = Given()
        forms = {"exact": lambda: given.estimate(known, y), "all pairs": lambda: all_pairs(known, y)}
        forms["loop"] = lambda: sum(
            0.5 * (((mu - y).square() - (mu - own).square()) * (-logvar).exp()).sum(-1).mean()
            for (mu, logvar), own in zip((x.chunk(2, -1) for x in known), y, strict=True)
        )
        print(f"\n{'CLUB':12} {'ms':>9}")
        for name, form in forms.items():
            print(f"{name:12} {1e3 * seconds(lambda f=form: f().backward(), device, options.steps):9.2f}", flush=True)


TABLES = {"step": step_table, "input": input_table, "parts": parts_table}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=80)
    parser.add_argument("--encoder", nargs="+", default=["conv", "light"])
    parser.add_argument("--steps", type=int, default=20, help="timed calls of each thing (default 20)")
    parser.add_argument("--size", type=int, default=8192, help="side of the square product (default 8192)")
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES), help="which tables (default: all)")
    parser.add_argument("--rehearse", action="store_true", help="in small, on the CPU")
    options = parser.parse_args()
    if options.rehearse:
        options.batch, options.encoder, options.steps, options.size = 2, ["light"], 1, 64
    elif not torch.cuda.is_available():
        print("no GPU here (torch.cuda.is_available() is false): nothing was measured; --rehearse runs it in small")
        return
    device = torch.device("cpu" if options.rehearse else "cuda")
    card = "CPU, rehearsal" if options.rehearse else torch.cuda.get_device_name()
    print(f"{card}, torch {torch.__version__}; B = {options.batch}, T = 10, {SHAPES}")
    for name in options.only:
        TABLES[name](options, device)


if __name__ == "__main__":
    main()
