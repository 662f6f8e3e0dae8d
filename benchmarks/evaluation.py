"""Fitting all probes of a run as one stack, against a plain loop per direction that reads its features anew.

    python benchmarks/evaluation.py [--clips 4000] [--dim 256] [--codes 400] [--epochs 10]

Both sides fit the same probes on the same synthetic code table (noisy codes of events on background). The
plain loop fits one probe for each task, direction and seed, and takes its batches from the quantised
features, looked up anew every epoch. A loop that encodes anew would also pay for the model; that is left
out, so the ratio is a lower bound. The loop is timed on one seed and two epochs and multiplied: its cost
is the same for every seed and epoch.
"""

import argparse
import time
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from srcid.evaluation import fit_probes, localisation_loss, with_background
from srcid.params import EvaluationParams


class Table:
    """A CodeTable in memory: two layers, two modalities, 28 classes."""

    modalities, layers, steps = ("audio", "video"), 2, 10

    def __init__(self, clips: int, dim: int, codes: int, seed: int = 0) -> None:
        draw = np.random.default_rng(seed)
        self.clips = clips
        self.events = np.zeros((clips, self.steps, 28), bool)
        onset = draw.integers(0, 6, clips)
        for clip, (start, length) in enumerate(zip(onset, draw.integers(2, 8, clips), strict=True)):
            self.events[clip, start : start + length, draw.integers(28)] = True
        truth = np.where(self.events.any(-1), self.events.argmax(-1), 28)
        variants = max(codes // 29, 1)
        self.books = {k: draw.normal(size=(1, codes, dim)).astype(np.float32) for k in (1, 2)}
        self.symbols = {
            (k, m): np.where(
                draw.random(truth.shape) < 0.6,
                truth * variants + draw.integers(0, variants, truth.shape),
                draw.integers(0, codes, truth.shape),
            ).astype(np.int32)[..., None]
            for k in (1, 2)
            for m in self.modalities
        }
        rows = draw.permutation(clips)
        a, b = int(0.7 * clips), int(0.8 * clips)
        self.splits = {"train": rows[:a], "val": rows[a:b], "test": rows[b:]}
        self.labels = {"event": self.events}
        self.label_info = {"event": SimpleNamespace(classes=tuple(f"class {c}" for c in range(28)))}
        self.masks = {m: np.ones((clips, self.steps), bool) for m in self.modalities}

    def codes(self, layer: int, modality: str) -> np.ndarray:
        return self.symbols[layer, modality]

    def codebook(self, layer: int) -> np.ndarray:
        return self.books[layer]

    def quantized(self, layer: int, modality: str, rows: np.ndarray) -> np.ndarray:
        return self.books[layer][0][self.symbols[layer, modality][rows, :, 0]]


class Probe(nn.Module):
    """The probe of either task as one would write it for a single direction."""

    def __init__(self, width: int, outputs: int, pool: bool) -> None:
        super().__init__()
        self.hidden, self.out, self.pool = nn.Linear(width, width), nn.Linear(width, outputs), pool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.hidden(x)
        return self.out(hidden.amax(1) if self.pool else hidden)


def plain(table: Table, layers: tuple[int, ...], task: str, train: str, test: str, p: EvaluationParams) -> float:
    """Fit one probe for one direction with one seed; return its score."""
    truth = torch.from_numpy(with_background(table.events)).float()
    classes = torch.from_numpy(table.events.any(1).argmax(-1))

    def read(modality: str, rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.concatenate([table.quantized(k, modality, rows) for k in layers], -1))

    def score(modality: str, split: str) -> float:
        probe.eval()
        hits = total = 0
        with torch.no_grad():
            for rows in np.array_split(table.splits[split], len(table.splits[split]) // 100 + 1):
                logits = probe(read(modality, rows))
                if task == "classification":
                    hits, total = hits + (logits.argmax(-1) == classes[rows]).sum(), total + len(rows)
                else:
                    found = logits > 0
                    hits, total = hits + (truth[rows].bool() & found).sum(), total + found.sum()
        probe.train()
        return float(hits / max(int(total), 1))

    width = sum(table.books[k].shape[-1] for k in layers)
    probe = Probe(width, 28 if task == "classification" else 29, task == "classification")
    optimiser = torch.optim.Adam(probe.parameters(), lr=p.probe_lr)
    best, result = -1.0, 0.0
    for _ in range(p.probe_epochs):
        order = np.random.default_rng(0).permutation(table.splits["train"])
        for start in range(0, len(order), p.probe_batch):
            rows = order[start : start + p.probe_batch]
            logits = probe(read(train, rows))
            if task == "classification":
                loss = nn.functional.cross_entropy(logits, classes[rows])
            else:
                loss = localisation_loss(logits, truth[rows]).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if (chosen := score(train, "val")) > best:
            best, result = chosen, score(test, "test")
    return result


def timed(function, *arguments, **options) -> float:
    start = time.perf_counter()
    function(*arguments, **options)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, value in (("clips", 4000), ("dim", 256), ("codes", 400), ("epochs", 10), ("seeds", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    a = parser.parse_args()
    table = Table(a.clips, a.dim, a.codes)
    params = EvaluationParams(probe_epochs=a.epochs, probe_seeds=a.seeds)
    short = params.model_copy(update={"probe_epochs": 2, "probe_seeds": 1})
    print(
        f"{a.clips} clips, T = {table.steps}, D = {a.dim}, L = {a.codes}, {a.seeds} seeds, "
        f"{a.epochs} epochs, 2 modalities (4 directions), {torch.get_num_threads()} threads"
    )
    print(f"{'task':16}{'reads':8}{'stack, s':>10}{'gathered, s':>13}{'plain loop, s':>15}{'ratio':>8}")
    totals = np.zeros(3)
    for task in ("classification", "localisation"):
        for name, layers in (("only1", (1,)), ("all", (1, 2))):
            stack = timed(fit_probes, table, params, (task,), (name,))
            gathered = timed(fit_probes, table, params, (task,), (name,), lookup=False)
            once = timed(plain, table, layers, task, "audio", "video", short)
            loop = once * 4 * a.seeds * a.epochs / short.probe_epochs
            totals += stack, gathered, loop
            print(f"{task:16}{name:8}{stack:10.1f}{gathered:13.1f}{loop:15.1f}{loop / stack:8.1f}")
    print(f"{'sum':24}{totals[0]:10.1f}{totals[1]:13.1f}{totals[2]:15.1f}{totals[2] / totals[0]:8.1f}")


if __name__ == "__main__":
    main()
