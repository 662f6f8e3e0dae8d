"""What each option does to codes and to the split: settings compared over seeds.

    python benchmarks/options.py --fsdd PATH --seeds 3                 # all settings, validation clips
    python benchmarks/options.py --fsdd PATH --seeds 5 --split test --only default
    python benchmarks/options.py --fsdd PATH --set "no dropout: dropout=0.0" --set "small: codebook_size=24"

Trains the demo preset on ``digits`` for every setting and seed, one process at a time, and writes a table of means
with 95 % t-intervals over seeds (of the differences from the default, paired by seed, where there is a default).
Options are chosen on validation clips; test clips only confirm. Finished runs are kept in ``--runs`` and not repeated.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import json
import shutil
import time
from pathlib import Path

import numpy as np

SETTINGS: dict[str, dict] = {
    "default": {},
}
COLUMNS = {
    "loc across": "localisation across",
    "cls across": "classification across",
    "cls across gain": "gain of layer 2, classification",
    "loc across gain": "gain of layer 2, localisation",
    "fine across": "big or small, across",
    "fine across gain": "gain of layer 2, big or small",
    "kappa1": "kappa, layer 1",
    "ami1": "AMI, layer 1",
    "perplexity1": "perplexity, layer 1",
    "kappa2": "kappa, layer 2",
    "rate1": "certified bound I(z; s), layer 1",
    "rate2": "layer 2",
    "leak": "I(code; s), layer 1",
    "private": "private factors in s",
    "between1": "z between clips",
}


def learned(x, y, fit, score, epochs: int = 12) -> tuple[float, float]:
    """Return (cross-entropy in nats, accuracy) on the rows ``score`` of a small network fitted to the rows ``fit``.

    One hidden layer of 128; the epoch is the one best on a tenth of ``fit``, which is held out.
    """
    import torch
    from torch import nn

    torch.manual_seed(0)
    x, y = torch.from_numpy(np.array(x, np.float32)), torch.from_numpy(np.array(y, np.int64))
    x = (x - x[fit].mean(0)) / x[fit].std(0).clamp_min(1e-3)
    fit = torch.from_numpy(fit)[torch.randperm(len(fit))]
    stop, fit = fit[: len(fit) // 10], fit[len(fit) // 10 :]
    net = nn.Sequential(nn.Linear(x.shape[1], 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, int(y.max()) + 1))
    optimizer = torch.optim.Adam(net.parameters(), 3e-3, weight_decay=1e-4)
    entropy, best, found = nn.functional.cross_entropy, np.inf, (np.inf, 0.0)
    for _ in range(epochs):
        net.train()
        for rows in fit[torch.randperm(len(fit))].split(400):
            optimizer.zero_grad()
            entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            held, out = float(entropy(net(x[stop]), y[stop])), net(x[score])
        if held < best:
            best = held
            found = float(entropy(out, y[score])), float((out.argmax(1) == y[score]).float().mean())
    return found


def entropy(symbols) -> float:
    """Entropy in nats of the use of ``symbols``."""
    share = np.unique(symbols, return_counts=True)[1] / len(symbols)
    return float(-(share * np.log(share)).sum())


def between_clips(values, rows) -> float:
    """Share of the variance of ``values [N, T, D]`` that lies between clips, over ``rows``."""
    values = np.asarray(values[rows], float)
    return float(values.mean(1).var(0).sum() / values.reshape(-1, values.shape[-1]).var(0).sum())


def probe_scores(table, params, split: str) -> dict[str, float]:
    """Mean probe score over directions: accuracy of classification, F1 of segments of localisation."""
    from srcid.evaluation.probes import fit_probes

    kept, table.splits["test"] = table.splits["test"], table.splits[split]
    summary = fit_probes(table, params, representations=("all", "only1")).frame()
    table.splits["test"] = kept
    found = {}
    for (task, same, parts), part in summary.groupby(["task", "same", "representation"], sort=False):
        name, metric = ("cls", "accuracy") if task == "classification" else ("loc", "segment_f1")
        found[f"{name} {'same' if same else 'across'} {parts}"] = float(part[metric].mean())
    return found


def agreement(table, split: str, here) -> dict[str, float]:
    """Kappa and adjusted mutual information of two modalities' codes at event steps, mean over pairs, per layer."""
    from sklearn.metrics import adjusted_mutual_info_score, cohen_kappa_score

    rows, found = table.splits[split], {}
    for k in range(1, table.layers + 1):
        codes = [table.code(k, m)[rows] for m in table.modalities]
        for where, mask in (("", here[rows]), (" all", np.ones_like(here[rows]))):
            pairs = [(a[mask], b[mask]) for a, b in itertools.combinations(codes, 2)]
            found[f"kappa{k}{where}"] = float(np.mean([cohen_kappa_score(*pair) for pair in pairs]))
            found[f"ami{k}{where}"] = float(np.mean([adjusted_mutual_info_score(*pair) for pair in pairs]))
        found[f"perplexity{k}"] = float(np.mean([np.exp(entropy(code.ravel())) for code in codes]))
        found[f"between{k}"] = float(np.mean([between_clips(table.general(k, m)[1], rows) for m in table.modalities]))
    return found


def leaks(table, store, split: str) -> dict[str, float]:
    """What layer 1's s tells of its code and of the private factor, and which codes tell the finer attribute."""
    rows, train, steps = table.splits[split], table.splits["train"][:2000], table.steps
    fine = np.asarray(store.labels["fine"]).ravel()
    fit, score = ((clips[:, None] * steps + np.arange(steps)).ravel() for clips in (train, rows))
    batch, found, tells = store.batch(np.arange(store.clips)), {}, {}
    for m in table.modalities:
        s, code = np.asarray(table.specific(1, m)[1]), table.code(1, m).ravel()
        flat = s.reshape(len(code), -1)
        found[f"leak {m}"] = entropy(code[score]) - learned(flat, code, fit, score)[0]
        private = np.asarray(store.labels[f"nuisance_{m}"])  # one a clip: read from the mean over its steps
        chance = np.bincount(private[rows]).max() / len(rows)
        means = (s.mean(1), np.asarray(batch[m]).reshape(len(private), steps, -1).mean(1))
        of_s, of_x = (learned(mean, private, train, rows, epochs=60)[1] - chance for mean in means)
        found[f"private {m}"] = of_s / of_x
    for parts, n in itertools.product(range(1, table.layers + 1), table.modalities):
        q = {
            m: np.concatenate([table.quantized(k, m) for k in range(1, parts + 1)], -1).reshape(len(fine), -1)
            for m in table.modalities
        }
        for m in table.modalities:
            if m != n:
                both, events = np.concatenate([q[m], q[n]]), (fit[fine[fit] >= 0], score[fine[score] >= 0] + len(fine))
                tells[parts, m, n] = 100 * learned(both, np.maximum(np.tile(fine, 2), 0), *events, epochs=4)[1]
    for kind in ("leak", "private"):
        found[kind] = float(np.mean([value for name, value in found.items() if name.startswith(kind + " ")]))
    for parts, name in zip(range(1, table.layers + 1), ("only1", "all"), strict=False):
        found[f"fine across {name}"] = float(np.mean([value for key, value in tells.items() if key[0] == parts]))
    return found


def measure(table, store, params, split: str, quick: bool = False) -> dict[str, float]:
    """All measures of one trained model on the clips of ``split``; if ``quick``, what its codes say alone."""
    event = np.asarray(store.labels["event"])
    found = probe_scores(table, params, split) | agreement(table, split, event.any(-1))
    found |= {} if quick else leaks(table, store, split)
    found["between events"] = between_clips(event, table.splits[split])
    for name in ("cls across", "loc across", *(() if quick else ("fine across",))):
        parts = [found[f"{name} {part}"] for part in ("all", "only1") if f"{name} {part}" in found]  # one of one layer
        found[name], found[f"{name} gain"] = parts[0], parts[0] - parts[-1]
    return found


def one(store_path: str, name: str, changes: dict, seed: int, split: str, folder: Path, quick: bool) -> dict:
    """Train and score one setting; return its record."""
    record_path = folder / f"{name.replace('/', '_').replace(' ', '_')}-s{seed}.json"
    record = json.loads(record_path.read_text()) if record_path.is_file() else {}
    if split in record:
        return record
    import torch

    from srcid.codes import encode
    from srcid.features import FeatureStore
    from srcid.params import resolve
    from srcid.training.loop import load, train

    torch.set_num_threads(1)
    params = resolve("demo", **{"probe_seeds": 1, **changes}, seed=seed, threads=1, device="cpu", keep_features=10**6)
    store = FeatureStore.open(store_path, verify=False)
    run, lines, began = record_path.with_suffix(""), [], time.perf_counter()
    result = train(store, params, run, on_metrics=lines.append)
    record |= dict(name=name, changes=changes, seed=seed, opened=result.opened, opened_by=result.opened_by)
    record.setdefault("seconds", time.perf_counter() - began)
    table = encode(load(run), store, run / "codes")
    last = [line for line in lines if any(key.startswith("val/") for key in line)][-1]
    for part in dict.fromkeys(("val", split)):
        found = measure(table, store, params, part, quick)
        for k in range(1, params.layers + 1):
            rates = [value for key, value in last.items() if key.startswith(f"val/rate/{k}/")]
            found[f"rate{k}"] = float(np.mean(rates)) if rates else np.nan
        record[part] = found | {key: value for key, value in last.items() if key.startswith(("val/rate", "val/skill"))}
    record_path.write_text(json.dumps(record))
    shutil.rmtree(run)
    return record


def interval(values) -> str:
    """Mean and half width of the 95 % t-interval."""
    from scipy import stats

    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values) if len(values) > 1 else np.nan
    return f"{np.mean(values):.2f} ± {half:.2f}"


def keywords(text: str) -> dict:
    """Read ``A=1, B='x'``."""
    return {part.arg: ast.literal_eval(part.value) for part in ast.parse(f"dict({text})", mode="eval").body.keywords}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--fsdd", default="")
    parser.add_argument("--generator", default="", metavar="A=1", help="options of the data set, such as train=4000")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--split", default="val", choices=("val", "test"))
    parser.add_argument("--only", default="", help="comma-separated beginnings of names of settings")
    parser.add_argument("--set", action="append", default=[], metavar="NAME: A=1, B='x'", help="another setting")
    parser.add_argument("--base", default="", metavar="A=1, B='x'", help="changes that all settings share")
    parser.add_argument("--quick", action="store_true", help="what codes say, and no more")
    parser.add_argument("--runs", default="runs/options")
    parser.add_argument("--out", default="", help="markdown file for the table")
    arguments = parser.parse_args()

    from srcid import runs

    store = runs.open_store(arguments.data, keywords(arguments.generator), arguments.fsdd)
    folder = Path(arguments.runs)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {n: c for n, c in SETTINGS.items() if n.startswith(tuple(arguments.only.split(",")))}
    settings |= {name.strip(): keywords(text) for name, _, text in (part.partition(":") for part in arguments.set)}
    base, results = keywords(arguments.base), {}
    for seed, (name, changes) in itertools.product(range(arguments.seeds), settings.items()):
        record = one(str(store.path), name, {**base, **changes}, seed, arguments.split, folder, arguments.quick)
        results.setdefault(name, []).append(record[arguments.split])
        print(name, seed, round(record["seconds"]), "s", record["opened"], record[arguments.split], flush=True)
    columns = {c: said for c, said in COLUMNS.items() if any(c in r for records in results.values() for r in records)}
    rows = ["| setting | " + " | ".join(columns.values()) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, found in results.items():
        values = {c: np.array([record.get(c, np.nan) for record in found]) for c in columns}
        if name != "default" and "default" in results:
            values = {c: v - [record.get(c, np.nan) for record in results["default"]] for c, v in values.items()}
        rows.append(f"| {name} | " + " | ".join(interval(value) for value in values.values()) + " |")
    print("\n".join(rows))
    if arguments.out:
        Path(arguments.out).write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
