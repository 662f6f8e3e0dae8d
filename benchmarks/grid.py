"""Speed and memory of a grid's specific encoder and decoder, forward and backward, at paper shape.

    python benchmarks/grid.py --batch 8 --dtype float32 --threads 2

Every variant runs in its own process. GFLOP/s counts the arithmetic of the *direct* convolutions; the share
is of the matrix-product peak measured in the same process in the same dtype: a share above 1 is arithmetic
saved, or done by a faster library than the one behind torch's matmul. ``bfloat16`` is autocast over float32
weights. With one thread, times are the process's CPU time (neighbours matter less), else wall time; best of
``--repeats``. GiB is what the step adds to the process's peak memory, gradients included.

Variants: ``conv`` and ``light`` are what the project uses; the others replace the 3x3 convolutions of conv:
``contiguous`` and ``channels_last`` by torch's own, ``im2col`` by one product over gathered neighbourhoods,
``shifted`` by nine products summed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time

VARIANTS = ("conv", "light", "contiguous", "channels_last", "im2col", "shifted")
SHAPE, STEPS = (7, 7, 512), 10


def replacement(variant: str):
    """Return a ``forward`` for Conv3x3 by another method, or None to leave it."""
    import torch
    from torch.nn import functional

    from srcid.model.convolution import Conv3x3

    def plan(conv, x):
        small = [cells - 2 + 2 * pad for cells, pad in zip(conv.grid, conv.padding, strict=True)]
        height, width = small if conv.transposed else conv.grid
        (py, px), (oy, ox) = conv.padding, small
        return x.view(height, width, *x.shape[1:]), py, px, oy, ox

    def with_bias(conv, y):
        y = y.flatten(0, 1)
        return y if conv.bias is None else y + conv.bias

    def scatter(parts, conv, py, px):
        """Sum the nine results of a transposed convolution, each moved by its tap."""
        moved = (functional.pad(p, (0, 0, 0, 0, t % 3, 2 - t % 3, t // 3, 2 - t // 3)) for t, p in enumerate(parts))
        y = sum(moved)
        return y[py : py + conv.grid[0], px : px + conv.grid[1]]

    def shifted(conv, x):
        x, py, px, oy, ox = plan(conv, x)
        if conv.transposed:
            return with_bias(conv, scatter([x @ tap for tap in conv.weight], conv, py, px))
        x = functional.pad(x, (0, 0, 0, 0, px, px, py, py))
        parts = (x[t // 3 : t // 3 + oy, t % 3 : t % 3 + ox] @ tap for t, tap in enumerate(conv.weight))
        return with_bias(conv, sum(parts))

    def library(conv, x):
        x, py, px, _, _ = plan(conv, x)
        layout = torch.channels_last if variant == "channels_last" else torch.contiguous_format
        taps = conv.weight.unflatten(0, (3, 3)).permute((2, 3, 0, 1) if conv.transposed else (3, 2, 0, 1))
        convolve = functional.conv_transpose2d if conv.transposed else functional.conv2d
        image, taps = (
            x.permute(2, 3, 0, 1).contiguous(memory_format=layout),
            taps.contiguous(memory_format=layout),
        )
        return convolve(image, taps, conv.bias, padding=(py, px)).permute(2, 3, 0, 1).flatten(0, 1)

    gathered = Conv3x3._gathered
    return {"im2col": gathered, "shifted": shifted, "contiguous": library, "channels_last": library}.get(variant)


def branch(variant: str):
    """Return (step function of (x, q), modules) of one variant on the current default device."""
    import torch

    from srcid.model import convolution
    from srcid.model.encoders import decoder, specific_encoder
    from srcid.params import resolve

    forward = replacement(variant)
    if forward is not None:
        convolution.Conv3x3.forward = forward
    params = resolve("paper", grid_encoder="light" if variant == "light" else "conv")
    specific = specific_encoder(SHAPE, params)
    back = decoder(SHAPE, specific, params)

    def step(x, q):
        found = specific(x)
        loss = torch.nn.functional.mse_loss(back(q, found.full).float(), x) + found.vector.float().square().mean()
        loss.backward()
        return loss

    return step, (specific, back), params.dim


def count(variant: str, batch: int) -> float:
    """Return the GFLOP of one step, counted on the meta device with torch's own convolutions."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        step, _, dim = branch(variant)
        x, q = torch.empty(batch, STEPS, *SHAPE), torch.empty(batch, STEPS, dim)
        with FlopCounterMode(display=False) as counter:
            step(x, q)
    return counter.get_total_flops() / 1e9


def measure(variant: str, batch: int, dtype: str, threads: int, repeats: int) -> dict[str, float]:
    """Time one variant; meant for a fresh process."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    clock = time.process_time if threads == 1 else time.perf_counter

    def timed(work) -> float:
        start = clock()
        work()
        return clock() - start

    square = torch.randn(2048, 2048, dtype=getattr(torch, dtype))
    half = torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16")
    step, modules, dim = branch(variant)
    x, q = torch.randn(batch, STEPS, *SHAPE), torch.randn(batch, STEPS, dim)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def whole():
        for module in modules:
            module.zero_grad()
        with half:
            step(x, q)

    whole()
    products, steps = [], []
    for _ in range(repeats):
        products.append(min(timed(lambda: square @ square) for _ in range(4)))
        steps.append(timed(whole))
    peak = 2 * 2048**3 / min(products) / 1e9
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    return {"peak": peak, "seconds": min(steps), "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8, help="clips of ten steps")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    args = parser.parse_args()

    direct, light = count("conv", args.batch), count("light", args.batch)
    print(f"direct convolutions {direct:.0f} GFLOP a step; light {light:.1f}, {light / direct:.1%} of them")
    print(f"{'variant':>14} {'s/step':>8} {'GFLOP/s':>9} {'peak':>7} {'share':>7} {'GiB':>6}")
    for variant in args.variants:
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # a fresh process: its own peak of memory
            found = pool.apply(measure, (variant, args.batch, args.dtype, args.threads, args.repeats))
        rate = (light if variant == "light" else direct) / found["seconds"]
        print(
            f"{variant:>14} {found['seconds']:8.2f} {rate:9.0f} {found['peak']:7.0f} "
            f"{rate / found['peak']:7.2f} {found['memory']:6.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
