"""Times of the model's parts that are not video convolutions, beside their matrix-product floor.

    python benchmarks/components.py --threads 2

Paper shapes: B = 80 clips, T = 10 steps, D = 256, L = 400 codes, three modalities, float32. The floor is the
time that a part's matrix products alone take at the speed of a large square product, measured before and
after the part; compare within one run only. Processor time (all threads together) is shown as well: it tells
more than the clock when the machine is shared. The reference is the published code on 2 idle cores.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from srcid.model.alignment import CrossModalCPC, code_matching_loss
from srcid.model.mutual_information import Club
from srcid.model.quantize import VectorQuantizer

NAMES = ("first", "second", "third")
CLIPS, STEPS, DIM, CODES, INNER_STEPS = 80, 10, 256, 400, 5
ROWS = len(NAMES) * CLIPS * STEPS


def median_seconds(function: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Return the median time of a call by the clock and by the processor, after two calls to warm up."""
    function(), function()
    clock, processor = [], []
    for _ in range(repeats):
        start, spent = time.perf_counter(), time.process_time()
        function()
        clock.append(time.perf_counter() - start)
        processor.append(time.process_time() - spent)
    return statistics.median(clock), statistics.median(processor)


def product_speed(repeats: int = 5, size: int = 1024) -> float:
    """Return the floating-point operations a second of a square float32 matrix product."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return 2 * size**3 / median_seconds(lambda: a @ b, repeats)[0]


def features(requires_grad: bool = False) -> dict[str, torch.Tensor]:
    """Random features of three modalities that agree in part."""
    shared = torch.randn(CLIPS, STEPS, DIM)
    return {m: (shared + torch.randn_like(shared)).requires_grad_(requires_grad) for m in NAMES}


def quantizer_forward(partner: str) -> tuple[Callable[[], object], float]:
    """Quantiser and code matching, forward, EMA update included; and the operations of its products."""
    quantizer, inputs = VectorQuantizer(CODES, DIM, partner=partner), features()

    def run() -> None:
        with torch.no_grad():
            code_matching_loss(quantizer(inputs, with_logits=True).logits)

    attention = 2 * 2 * CLIPS * (len(NAMES) * STEPS) ** 2 * DIM if partner == "attention" else 0
    return run, 2 * ROWS * DIM * CODES + attention


def quantizer_both(partner: str) -> tuple[Callable[[], object], float]:
    """The same with backward of code matching, commitment and the straight-through output."""
    quantizer, inputs = VectorQuantizer(CODES, DIM, partner=partner), features(requires_grad=True)

    def run() -> None:
        result = quantizer(inputs, with_logits=True)
        loss = code_matching_loss(result.logits) + sum(result.commitment.values())
        (loss + sum(value.mean() for value in result.quantized.values())).backward()

    return run, quantizer_forward(partner)[1] + 2 * ROWS * DIM * CODES


def club_fit(logvar: str) -> tuple[Callable[[], object], float]:
    """Five likelihood steps of one CLUB per modality, with their Adam updates."""
    clubs = [Club(DIM, DIM, DIM, logvar) for _ in NAMES]
    pairs = [(torch.randn(CLIPS, STEPS, DIM), torch.randn(CLIPS, STEPS, DIM)) for _ in NAMES]
    optimizer = torch.optim.Adam([p for club in clubs for p in club.parameters()], lr=1e-3, fused=True)

    def run() -> None:
        for _ in range(INNER_STEPS):
            optimizer.zero_grad(set_to_none=True)
            (-sum(club.log_likelihood(x, y) for club, (x, y) in zip(clubs, pairs, strict=True))).backward()
            optimizer.step()

    layers = [m.weight for m in clubs[0].modules() if isinstance(m, torch.nn.Linear)]
    entry = sum(w.numel() for w in layers if w.shape[1] == DIM)  # the input needs no gradient
    multiplies = 3 * sum(w.numel() for w in layers) - entry
    return run, 2 * CLIPS * STEPS * multiplies * len(NAMES) * INNER_STEPS


def club_estimate() -> tuple[Callable[[], object], float]:
    """The exact bound of three modalities, with gradient to the specific features only (the default)."""
    clubs = [Club(DIM, DIM, DIM).requires_grad_(False) for _ in NAMES]
    pairs = [(torch.randn(CLIPS, STEPS, DIM), torch.randn(CLIPS, STEPS, DIM, requires_grad=True)) for _ in NAMES]

    def run() -> None:
        sum(club.estimate(x, y) for club, (x, y) in zip(clubs, pairs, strict=True)).backward()

    weights = sum(p.numel() for p in clubs[0].parameters() if p.ndim == 2)
    return run, 2 * CLIPS * STEPS * weights * len(NAMES)


def cpc_both(depth: int) -> tuple[Callable[[], object], float]:
    """CPC, forward and backward, at the middle one of the steps it draws."""
    cpc, inputs, step = CrossModalCPC(NAMES, DIM, depth=depth), features(requires_grad=True), 4

    def run() -> None:
        cpc(inputs, step).backward()

    lstm = CLIPS * (2 * step + 1) * 4 * DIM * DIM * depth  # the first step has no state to multiply
    scores = (len(NAMES) * CLIPS) ** 2 * DIM
    return run, 3 * 2 * (len(NAMES) * (lstm + CLIPS * DIM * DIM) + scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument("--repeats", type=int, default=15, help="timed calls of each part (default 15)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)

    parts = [
        ("quantiser + CMCM, forward", quantizer_forward("index"), "42"),
        ("quantiser + CMCM, forward and backward", quantizer_both("index"), "58"),
        ("  the same with cross-attention partners", quantizer_both("attention"), "-"),
        ("CLUB inner loop, 5 steps x 3", club_fit("free"), "171-209"),
        ("  the same, published network", club_fit("tanh"), "171-209"),
        ("CLUB exact bound x 3, forward and backward", club_estimate(), "-"),
        ("CPC, forward and backward, 1 LSTM layer", cpc_both(1), "-"),
        ("CPC, forward and backward, 2 LSTM layers", cpc_both(2), "70"),
    ]
    print(f"float32, {arguments.threads} thread(s), medians of {arguments.repeats}, torch {torch.__version__}")
    print(f"{'part':45} {'ms':>8} {'CPU ms':>8} {'floor ms':>9} {'floor/ms':>9} {'published ms':>13}")
    speeds = []
    for name, (function, operations), published in parts:
        before = product_speed()
        seconds, processor = median_seconds(function, arguments.repeats)
        speeds.append((before + product_speed()) / 2)
        floor = operations / speeds[-1]
        times = f"{1e3 * seconds:8.1f} {1e3 * processor:8.1f} {1e3 * floor:9.1f}"
        print(f"{name:45} {times} {floor / seconds:9.0%} {published:>13}")
    print(f"square matrix product: {min(speeds) / 1e9:.0f} to {max(speeds) / 1e9:.0f} GFLOP/s")


if __name__ == "__main__":
    main()
