"""All probes of Table II for one run as stacks on codes, against a plain loop per direction.

    python benchmarks/evaluation.py [--clips 4000] [--dim 256] [--codes 400] [--epochs 10] [--seeds 5] [--threads 2]

Four tasks x (two directions + two same-modality ones) x seeds, on a synthetic code table (noisy codes of events on
background, half of the clips with two events). Both sides fit the same probes. The plain loop fits one probe for each
task, direction and seed, and comes in two forms:

- on codes: batches of quantised features, looked up anew every epoch. It has what a code table gives, so the ratio is
  what stacking, look-up and one fit for all scored modalities are worth.
- encoding anew: every epoch passes the clips through the frozen model again, as a loop on features does. The time of
  the model is measured on batches of the paper's shapes (audio 128, video 7x7x512, D, K = 2, the light grid encoder)
  and added for each batch that the loop reads; of the scored clips it counts one reading only.

The loop is timed on one seed and two epochs of one direction and multiplied: its cost is the same for every other.
"""

import argparse
import time
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from srcid.evaluation.metrics import with_background
from srcid.evaluation.suite import fit_tasks, task_tables
from srcid.evaluation.tables import PAPER_DATA
from srcid.evaluation.tasks import localisation_loss
from srcid.model.network import SRCID
from srcid.params import EvaluationParams, resolve

SHAPES = {"audio": (128,), "video": (7, 7, 512)}


class Table:
    """A CodeTable in memory: two layers, two modalities, 28 classes."""

    modalities, layers, stages, steps = ("audio", "video"), 2, 1, 10

    def __init__(self, clips: int, dim: int, codes: int, seed: int = 0) -> None:
        draw = np.random.default_rng(seed)
        self.clips = clips
        self.events = np.zeros((clips, self.steps, 28), bool)
        for clip in range(clips):
            start, length = draw.integers(0, 4), draw.integers(2, 5)
            self.events[clip, start : start + length, draw.integers(28)] = True
            if clip % 2:
                self.events[clip, 8:, draw.integers(28)] = True
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

    def code(self, layer: int, modality: str) -> np.ndarray:
        return self.symbols[layer, modality][..., 0]

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


def plain(table, layers: tuple[int, ...], task: str, train: str, test: str, p: EvaluationParams) -> float:
    """Fit one probe for one direction with one seed on codes; return its score."""
    events = np.asarray(table.labels["event"])
    truth = torch.from_numpy(with_background(events)).float()
    classes = torch.from_numpy(events.any(1).argmax(-1))
    pooled = task in ("classification", "unpaired")
    rows_of = {(m, s): rows_used(table, task, m, s) for m in (train, test) for s in ("train", "val", "test")}

    def read(modality: str, rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.concatenate([table.quantized(k, modality, rows) for k in layers], -1))

    def score(modality: str, split: str) -> float:
        probe.eval()
        hits = total = 0
        with torch.no_grad():
            for rows in np.array_split(rows_of[modality, split], len(rows_of[modality, split]) // 100 + 1):
                logits = probe(read(modality, rows))
                if pooled:
                    hits, total = hits + (logits.argmax(-1) == classes[rows]).sum(), total + len(rows)
                else:
                    found = logits > 0
                    hits, total = hits + (truth[rows].bool() & found).sum(), total + found.sum()
        probe.train()
        return float(hits / max(int(total), 1))

    width = sum(table.codebook(k).shape[-1] for k in layers)
    probe = Probe(width, events.shape[-1] + (not pooled), pooled)
    optimiser = torch.optim.Adam(probe.parameters(), lr=p.probe_lr)
    best, result = -1.0, 0.0
    for _ in range(p.probe_epochs):
        order = np.random.default_rng(0).permutation(rows_of[train, "train"])
        for start in range(0, len(order), p.probe_batch):
            rows = order[start : start + p.probe_batch]
            logits = probe(read(train, rows))
            if pooled:
                loss = nn.functional.cross_entropy(logits, classes[rows])
            else:
                loss = localisation_loss(logits, truth[rows]).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if (chosen := score(train, "val")) > best:
            best, result = chosen, score(test, "test")
    return result


def rows_used(table, task: str, modality: str, split: str) -> np.ndarray:
    """The clips of a split that have the modality and, where clips are classified, one class."""
    rows = np.asarray(table.splits[split])
    events = np.asarray(table.labels["event"])[rows]
    single = events.any(1).sum(1) == 1 if task in ("classification", "unpaired") else np.ones(len(rows), bool)
    return rows[single & table.masks[modality][rows].any(1)]


def encoding(table, task: str, layers: int, p: EvaluationParams, seconds: dict) -> float:
    """Seconds that the loop's four directions spend in the model, for one seed."""
    total = 0.0
    for train in table.modalities:
        for test in table.modalities:
            clips = {
                s: len(rows_used(table, task, m, s)) for m, s in ((train, "train"), (train, "val"), (test, "test"))
            }
            total += p.probe_epochs * (clips["train"] + clips["val"]) * seconds[train, layers]
            total += clips["test"] * seconds[test, layers]
    return total


@torch.no_grad()
def model_seconds(dim: int, codes: int, batch: int = 80) -> dict[tuple[str, int], float]:
    """Seconds per clip that the frozen model takes, by modality and layers read; the best of three batches."""
    torch.manual_seed(0)
    network = SRCID(SHAPES, resolve("demo+srcid", dim=dim, codebook_size=codes, specific_dim=256, pooled_dim=512,
                                    grid_channels=(1024, 2048), heads=4)).eval()  # fmt: skip
    found = {}
    for m, shape in SHAPES.items():
        clips = {m: torch.randn(batch, Table.steps, *shape)}
        for layers in (1, 2):
            best = np.inf
            for _ in range(3):
                start = time.perf_counter()
                for k, (layer, general, _) in enumerate(network.encode(clips), 1):
                    layer.quantizer.decode(layer.quantizer.encode(general[m]))
                    if k == layers:
                        break
                best = min(best, time.perf_counter() - start)
            found[m, layers] = best / batch
    return found


def timed(function, *arguments, **options) -> float:
    start = time.perf_counter()
    function(*arguments, **options)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    values = dict(clips=4000, dim=256, codes=400, epochs=10, seeds=5, threads=2)
    for name, value in values.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    tables = task_tables(Table(a.clips, a.dim, a.codes), "synthetic")
    params = EvaluationParams(probe_epochs=a.epochs, probe_seeds=a.seeds)
    short = params.model_copy(update={"probe_epochs": 2, "probe_seeds": 1})
    seconds = model_seconds(a.dim, a.codes)
    print(
        f"{a.clips} clips, T = {Table.steps}, D = {a.dim}, L = {a.codes}, {a.seeds} seeds, {a.epochs} epochs, "
        f"2 modalities (4 directions), {torch.get_num_threads()} threads; the model encodes "
        + ", ".join(f"{1 / seconds[m, 2]:.0f} clips/s of {m}" for m in SHAPES)
    )
    print(f"{'task':16}{'reads':8}{'stack, s':>10}{'loop on codes, s':>18}{'ratio':>8}{'anew, s':>18}{'ratio':>8}")
    fit_tasks(task_tables(Table(200, 16, 60)), short)  # what is loaded on first use is not timed
    totals = {name: np.zeros(3) for name in ("only1", "all")}
    for name, layers in (("only1", (1,)), ("all", (1, 2))):
        for task in PAPER_DATA:
            table = tables.tables[task]
            stack = timed(fit_tasks, tables.only(task), params, (name,))
            once = timed(plain, table, layers, task, "audio", "video", short)
            loop = once * 4 * a.seeds * a.epochs / short.probe_epochs
            anew = loop + a.seeds * encoding(table, task, len(layers), params, seconds)
            totals[name] += stack, loop, anew
            report(task, name, stack, loop, anew)
    for name, total in totals.items():
        report("all four tasks", name, *total)


def report(task: str, name: str, stack: float, loop: float, anew: float) -> None:
    print(f"{task:16}{name:8}{stack:10.1f}{loop:18.1f}{loop / stack:8.1f}{anew:18.0f}{anew / stack:8.1f}", flush=True)


if __name__ == "__main__":
    main()
