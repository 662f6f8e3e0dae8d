"""Which value of each option measures best: one change at a time against the defaults, paired by seed.

    python benchmarks/options.py --data digits --fsdd PATH --seeds 3 --jobs 2

Trains the demo preset on the store for every option value below, scores its codes on the *validation* clips (test
clips choose nothing), and writes a table of paired differences with 95 % t-intervals. Finished runs are kept in
``--runs`` and not repeated.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path

import numpy as np

OPTIONS: dict[str, dict] = {
    "default": {},
    "grid_attention=sum (published)": dict(grid_attention="sum"),
    "grid_encoder=conv (published)": dict(grid_encoder="conv"),
    "revival=row (published)": dict(revival="row"),
    "revival=off": dict(revival="off"),
    "codebook_init=uniform (published)": dict(codebook_init="uniform"),
    "codebook_init=kmeans": dict(codebook_init="kmeans"),
    "ema_order=sequential (published)": dict(ema_order="sequential"),
    "ema_partner=attention (paper)": dict(ema_partner="attention"),
    "commitment=published": dict(commitment="published"),
    "cpc_negatives=predictions (published)": dict(cpc_negatives="predictions"),
    "cpc_same_weight=0.1, cpc_depth=2 (published)": dict(cpc_same_weight=0.1, cpc_depth=2),
    "club_estimator=sampled": dict(club_estimator="sampled"),
    "club_estimator=published": dict(club_estimator="published"),
    "club_side=both (paper)": dict(club_side="both"),
    "club_side=general": dict(club_side="general"),
    "club_input=quantized (published)": dict(club_input="quantized"),
    "club_logvar=tanh (published)": dict(club_logvar="tanh"),
    "cmcm_layers=first (published)": dict(cmcm_layers="first"),
    "cmcm_form=published": dict(cmcm_form="published"),
    "specific_norm=none (paper)": dict(specific_norm="none"),
    "residual_norm=none (paper)": dict(residual_norm="none"),
    "club_weight=1 (paper)": dict(club_weight=1.0),
    "club_weight=0": dict(club_weight=0.0),
    "residual_detach=true": dict(residual_detach=True),
    "warm_start=off": dict(warm_start="off"),
    "warm_start=absolute (paper)": dict(warm_start="absolute", warm_threshold=0.1),
    "clip=module (published)": dict(clip="module", clip_norm=0.5),
    "encode_mode=train (published)": dict(encode_mode="train"),
    "precision=bfloat16": dict(precision="bfloat16"),
    "layers=1 (dcid)": dict(layers=1),
}


def averages(summary) -> dict[str, float]:
    """Mean score over directions: accuracy of classification, F1 of localisation (precision alone rewards silence)."""
    found = {}
    for (task, same, representation), part in summary.groupby(["task", "same", "representation"], sort=False):
        metric = "accuracy" if task == "classification" else "f1"
        found[f"{task} {'within' if same else 'across'}, {representation}"] = float(part[metric].mean())
    return found


def one(store_path: str, name: str, changes: dict, seed: int, base: dict, folder: Path) -> dict:
    """Train and score one variant; return its record."""
    record_path = folder / f"{name.replace('/', '_').replace(' ', '_')}-s{seed}.json"
    if record_path.is_file():
        return json.loads(record_path.read_text())
    import torch

    from srcid.codes import encode
    from srcid.evaluation.probes import fit_probes
    from srcid.features import FeatureStore
    from srcid.params import resolve
    from srcid.training.loop import load, train

    torch.set_num_threads(1)
    params = resolve("demo", **{**base, **changes}, seed=seed, threads=1, device="cpu")
    store = FeatureStore.open(store_path, verify=False)
    run = record_path.with_suffix("")
    began = time.perf_counter()
    result = train(store, params, run)
    seconds = time.perf_counter() - began
    table = encode(load(run), store, run / "codes")
    table.splits["test"] = table.splits["val"]  # options are chosen on validation clips only
    probes = fit_probes(table, params, representations=("all", "only1"))
    record = dict(name=name, seed=seed, seconds=seconds, opened=result.opened, scores=averages(probes.frame()))
    record_path.write_text(json.dumps(record))
    shutil.rmtree(run)
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--fsdd", default="")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="comma-separated beginnings of option names")
    parser.add_argument("--set", default="{}", help="json of parameters changed in every run")
    parser.add_argument("--runs", default="runs/options")
    parser.add_argument("--out", default="", help="markdown file for the table")
    arguments = parser.parse_args()

    from joblib import Parallel, delayed
    from scipy import stats

    from srcid import runs
    from srcid.features import open_data

    store = open_data(arguments.data, runs.stores(), {"fsdd": arguments.fsdd} if arguments.fsdd else {})
    folder = Path(arguments.runs)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [n for n in OPTIONS if n == "default" or n.startswith(tuple(arguments.only.split(",")))]
    work = [(name, seed) for seed in range(arguments.seeds) for name in chosen]
    records = Parallel(n_jobs=arguments.jobs, verbose=5)(
        delayed(one)(str(store.path), name, OPTIONS[name], seed, json.loads(arguments.set), folder)
        for name, seed in work
    )
    columns = sorted(records[0]["scores"])
    by = {(r["name"], r["seed"]): r for r in records}
    rows = ["| option | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name in chosen:
        cells = []
        for column in columns:
            values = np.array([by[name, s]["scores"].get(column, np.nan) for s in range(arguments.seeds)])
            if name == "default":
                cells.append(f"{values.mean():.1f}")
                continue
            paired = values - [by["default", s]["scores"][column] for s in range(arguments.seeds)]
            half = stats.t.ppf(0.975, len(paired) - 1) * stats.sem(paired) if len(paired) > 1 else np.nan
            cells.append(f"{paired.mean():+.1f} ± {half:.1f}")
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    print("\n".join(rows))
    if arguments.out:
        Path(arguments.out).write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
