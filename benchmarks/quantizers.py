"""Quantisers, forward and backward, beside the library's and beside the bare distance product.

    python benchmarks/quantizers.py --threads 1

Times a training call with its backward pass on one modality ``[B, T, 256]``, EMA update included, for L codes.
``product`` is what no vector quantiser can do without: all distances by one matrix product, and the smallest of
each row. All quantisers of one setting take turns, so that whatever else the machine does meets them alike;
compare ratios within one run only. Memory is the largest resident size of a process that does only that, above
that of one that only makes the features.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
import vector_quantize_pytorch as library

from srcid.model import library_quantizer as theirs
from srcid.model.quantize import fsq_levels, make_quantizer
from srcid.model.quantizer import squared_distances
from srcid.params import QuantizerParams

DIM, STEPS, STAGES = 256, 10, 2
PAIRS = (("vq", "VectorQuantize"), (f"rvq{STAGES}", "ResidualVQ"), ("fsq", "FSQ"))
ALONE = ("vq-rotation", "lfq", "simvq", "rfsq")
Call = Callable[[], object]


def call_of(name: str, clips: int, size: int) -> Call:
    """Return a function that runs quantiser ``name`` forward and backward once."""
    torch.manual_seed(0)
    features = torch.randn(clips, STEPS, DIM, requires_grad=True)
    if name == "features":
        return lambda: None
    if name == "product":
        rows, codebook = features.detach().reshape(-1, DIM), torch.randn(size, DIM)
        return lambda: squared_distances(rows, codebook).min(1)
    params = QuantizerParams(codebook_size=size, stages=STAGES, codebook_init="uniform", revival="off")
    if name in ("VectorQuantize", "ResidualVQ", "FSQ"):
        module = library_module(name, params, size)
        return lambda: backward(*module(features)[:: 2 if name != "FSQ" else 1][:2], name == "FSQ")
    kind = {"quantizer": "rvq" if name.startswith("rvq") else name}
    quantizer = make_quantizer(params.model_copy(update=kind), DIM)

    def ours() -> None:
        result = quantizer({"only": features})
        backward(result.quantized["only"], result.commitment["only"])

    return ours


def library_module(name: str, params: QuantizerParams, size: int) -> torch.nn.Module:
    options = theirs.ema_options(params, rotation_trick=False)
    if name == "VectorQuantize":
        return library.VectorQuantize(dim=DIM, codebook_size=size, **options)
    if name == "ResidualVQ":
        options = {**theirs.residual_vq_options(DIM), **options}
        return library.ResidualVQ(dim=DIM, num_quantizers=STAGES, codebook_size=size, **options)
    stage = theirs.fsq_stage_options()
    return library.FSQ(levels=list(fsq_levels(size)), dim=DIM, preserve_symmetry=False, bound_hard_clamp=False, **stage)


def backward(values: torch.Tensor, loss: torch.Tensor, values_alone: bool = False) -> None:
    total = values.square().sum()
    (total if values_alone else total + loss.sum()).backward()


def seconds(calls: dict[str, Call], repeats: int) -> dict[str, float]:
    """Return the median time of each call, the calls taking turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:  # the first turn warms up
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def megabytes(name: str, clips: int, size: int) -> float:
    """Return the largest resident size of a process that runs ``name`` twice."""
    arguments = ["--alone", name, "--clips", str(clips), "--sizes", str(size), "--threads", "1"]
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, nargs="+", default=[80, 800])
    parser.add_argument("--sizes", type=int, nargs="+", default=[400, 8192])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-memory", action="store_true", help="only times")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.alone:
        call = call_of(options.alone, options.clips[0], options.sizes[0])
        call(), call()
        print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
        return
    print(f"torch {torch.__version__}, vector-quantize-pytorch, {options.threads} thread(s); D = {DIM}, T = {STEPS}")
    for clips in options.clips:
        for size in options.sizes:
            names = ["product", *(name for pair in PAIRS for name in pair), *ALONE]
            # LFQ's entropy and SimVQ take a dense distribution over all codes: minutes at the largest setting
            heavy = clips * STEPS * size > 2**25
            calls = {n: call_of(n, clips, size) for n in names if not (heavy and n in ALONE)}
            found = seconds(calls, options.repeats)
            base = {} if options.no_memory else {n: megabytes(n, clips, size) for n in ("features", *calls)}
            print(f"\nB = {clips}, L = {size}: one [N, L] matrix is {4 * clips * STEPS * size / 2**20:.0f} MB")
            partner = {left: right for left, right in PAIRS}
            for name, value in found.items():
                against = f"{value / found['product']:6.2f} x product"
                if name in partner:
                    against += f"  {value / found[partner[name]]:5.2f} x {partner[name]}"
                memory = f"{base[name] - base['features']:7.0f} MB" if base else ""
                print(f"  {name:15s} {1000 * value:9.1f} ms  {memory}  {against}")


if __name__ == "__main__":
    main()
