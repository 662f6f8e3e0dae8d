"""Pictures, spoken and written names: what codes of the stamps are worth, and whether they outlive their language.

    python benchmarks/stamps.py --seeds 3 --page docs/results/stamps.md

Trains the demo preset on ``stamps`` (Debian's package, ``data/README.md``) for every method and seed, on all languages,
and the first method once more on the training clips of one language alone. Three questions, on test clips, whose stamps
no training clip shows or names:

1. Probes learn the category of a stamp from the codes of one modality and are asked about every modality.
2. Retrieval without a probe: which is the picture of a spoken name, which the written name of a picture?
3. What learned from one language, model and probes, is asked about the others.

Each number has two intervals: Student's over training seeds, and a bootstrap over stamps (the clips of a stamp are not
independent). Finished trainings are kept in ``--runs`` and not repeated.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

METHODS = {"SRCID": "demo+srcid", "DCID": "demo+dcid"}
WORDS = {"audio": "sound", "video": "picture", "text": "written name"}
CUTOFFS = (1, 10)
NATURAL = "natural sound"
ALONE = "fr"  # the language that models and probes learn from alone


def drawn(part: np.ndarray, whole: np.ndarray, stamps: np.ndarray) -> np.ndarray:
    """Percent ``100 part / whole`` over clips, and after it that of each bootstrap sample of stamps: ``[1 + R]``."""
    from srcid.statistics import bootstrap_weights

    _, owner = np.unique(stamps, return_inverse=True)
    sums = [np.bincount(owner, weights=values) for values in (part, whole)]
    weights = bootstrap_weights(len(sums[0]))
    share = (weights @ sums[0]) / np.maximum(weights @ sums[1], 1e-9)
    return 100 * np.concatenate([[part.sum() / whole.sum()], share])


def classified(table: Any, store: Any, params: Any, groups: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Shares of the test clips in each group whose category is told, by direction."""
    from srcid.evaluation.probes import fit_probes

    found = {}
    for score in fit_probes(table, params, ("classification",), ("all",)).scores:
        for name, rows in groups.items():
            keep = np.isin(score.rows, rows)
            part, whole = score.counts[keep].T
            found[f"{name} {score.train} {score.test}"] = drawn(part, whole, store.labels["item"][score.rows[keep]])
    return found


def voices(store: Any) -> dict[str, np.ndarray]:
    """Clips by the language spoken, or natural sound."""
    info, voice = store.label_info["voice"], store.labels["voice"]
    return {name: np.flatnonzero(voice == number) for number, name in enumerate(info.classes)}


def retrieved(table: Any, store: Any, split: str) -> dict[str, np.ndarray]:
    """Recall at each cutoff and direction between the clips with a spoken name; chance goes last: ``[1 + R + 1]``."""
    from srcid.evaluation.ranking import resampled_recall
    from srcid.evaluation.retrieval import code_retrieval

    items = np.array(store.labels["item"])
    items[voices(store)[NATURAL]] = -1
    scores = code_retrieval(table, ("all",), split, items, CUTOFFS).scores
    return {
        f"{s.query} {s.target} {k}": np.concatenate([[s.recall[k]], resampled_recall(s, k), [s.chance[k]]])
        for s in scores for k in CUTOFFS
    }  # fmt: skip


def one(store: Any, preset: str, seed: int, epochs: int, folder: Path, alone: bool) -> dict[str, np.ndarray]:
    """Train and ask; measure -> its value and those of bootstrap samples."""
    from srcid.codes import encode
    from srcid.params import resolve
    from srcid.training.loop import load, train

    record = folder / f"{preset}{'-' + ALONE if alone else ''}-s{seed}-e{epochs}.npz"
    if record.is_file():
        return dict(np.load(record))
    given = dict(epochs=epochs) if epochs else {}
    params = resolve(preset, seed=seed, device="cpu", probe_seeds=1, keep_features=1, **given)
    run = record.with_suffix("")
    if (status := train(store, params, run).status) != "finished":
        raise SystemExit(f"{run.name}: {status}; the same command goes on")
    table = encode(load(run), store, run / "codes")
    groups = {"every": np.arange(store.clips)} | voices(store)
    found = classified(table, store, params, groups if alone else {"every": groups["every"]})
    for split in ("test", "train") if not alone else ():
        found |= {f"{split} {direction}": values for direction, values in retrieved(table, store, split).items()}
    np.savez(record, **found)
    return found


def only(store: Any, path: Path) -> Any:
    """The same clips, of which those of other languages than one are in no split but test."""
    from srcid.features import FeatureStore

    if path.is_dir():
        return FeatureStore.open(path)
    rows = {s: r if s == "test" else np.intersect1d(r, voices(store)[ALONE]) for s, r in store.splits.items()}
    return FeatureStore.create(
        path, {m: values[:] for m, values in store.features.items()}, splits=rows, labels=dict(store.labels),
        classes={name: list(info.classes) for name, info in store.label_info.items() if info.classes},
        masks=dict(store.masks), ids=list(store.ids),
    )  # fmt: skip


def linear(store: Any) -> dict[str, float]:
    """Percent of test clips whose category a linear model reads from the features themselves, by modality."""
    from sklearn.linear_model import LogisticRegression

    category, found = store.labels["event"][:, 0].argmax(-1), {}
    train, test = store.splits["train"], store.splits["test"]
    for m, values in store.features.items():
        mask = store.masks.get(m, np.ones((store.clips, store.steps), bool)).reshape(store.clips, store.steps)
        flat = np.asarray(values).reshape(store.clips, store.steps, -1)
        mean = (flat * mask[..., None]).sum(1) / np.maximum(mask.sum(1), 1)[:, None]
        fitted = LogisticRegression(C=0.01, max_iter=300).fit(mean[train], category[train])
        found[m] = 100 * float(fitted.score(mean[test], category[test]))
    return found


def interval(found: list[np.ndarray], form: str = ".1f") -> str:
    """``mean [over seeds] [over stamps]``, from the value and bootstrap samples of each seed."""
    from srcid.statistics import percentile_interval, t_interval

    values = np.stack(found)
    seeds, clips = t_interval(values[:, 0]), percentile_interval(values[:, 1:].mean(0))
    return f"{seeds.text(form)} [{clips.low:{form}}, {clips.high:{form}}]"


def above(found: list[np.ndarray], chance: float) -> bool:
    """Whether all intervals lie above chance: that over stamps, and with several seeds that over seeds."""
    from srcid.statistics import percentile_interval, t_interval

    values = np.stack(found)
    both = t_interval(values[:, 0]), percentile_interval(values[:, 1:].mean(0))
    return min(found.low for found in both if found.known) > chance


def mean_of(records: list[dict], names: list[str]) -> list[np.ndarray]:
    """By seed the mean over measures, value and samples."""
    return [np.mean([record[name] for name in names], axis=0) for record in records]


def page(found: dict[str, list[dict]], alone: list[dict], store: Any, facts: str) -> list[Any]:
    """Text and tables of the page."""
    import pandas as pd

    category = store.labels["event"][:, 0].argmax(-1)
    most = np.bincount(category[store.splits["train"]]).argmax()
    test = store.splits["test"]
    chance = 100 * float((category[test] == most).mean())
    modalities, ceiling = list(store.features), linear(store)
    across = [f"every {a} {b}" for a in modalities for b in modalities if a != b]
    within = [f"every {m} {m}" for m in modalities]
    told = pd.DataFrame(
        [
            [f"{WORDS[a]} → {WORDS[b]}", *(interval([r[f"every {a} {b}"] for r in rs]) for rs in found.values()),
             f"{chance:.1f}", f"{ceiling[b]:.1f}" if a == b else ""]
            for a in modalities for b in modalities
        ],
        columns=["learned from → asked about", *found, "most frequent category", "features, linear model"],
    ).set_index("learned from → asked about")  # fmt: skip
    parts = {f"{name}, mean over other modalities": mean_of(rs, across) for name, rs in found.items()}
    parts |= {f"{name}, mean over the same modality": mean_of(rs, within) for name, rs in found.items()}
    first, *others = found
    for other in others:
        pairs = zip(parts[f"{first}, mean over other modalities"], mean_of(found[other], across), strict=True)
        parts[f"{first} less {other}, other modalities"] = [a - b for a, b in pairs]
    means = pd.DataFrame({"category, %": {name: interval(values) for name, values in parts.items()}})
    beyond = sum(above([r[name] for r in found[first]], chance) for name in across)
    rows, nearer = [], 0
    for a in modalities:
        for b in modalities:
            for k in CUTOFFS if a != b else ():
                own = [r[f"test {a} {b} {k}"] for r in found[first]]
                nearer += k == max(CUTOFFS) and above([r[:-1] for r in own], own[0][-1])
                known = [r[f"train {a} {b} {k}"] for r in found[first]]
                rows.append(
                    [f"{WORDS[a]} → {WORDS[b]}, R@{k}",
                     *(interval([r[f"test {a} {b} {k}"][:-1] for r in rs]) for rs in found.values()),
                     f"{own[0][-1]:.1f}", f"{np.mean([r[0] for r in known]):.1f} ({known[0][-1]:.1f})"]
                )  # fmt: skip
    columns = ["asked → sought", *found, "chance", f"{first}, training stamps (chance)"]
    sought = pd.DataFrame(rows, columns=columns).set_index("asked → sought")
    rows = []
    for spoken, heard in voices(store).items():
        here = np.intersect1d(test, heard)
        usual = 100 * float((category[here] == most).mean())
        names = [f"{a} {b}" for a, b in (("audio", "audio"), ("text", "text"), ("video", "audio"), ("video", "text"))]
        rows.append([spoken, len(here), *(interval([r[f"{spoken} {n}"] for r in alone]) for n in names),
                     f"{usual:.1f}"])  # fmt: skip
    columns = ["asked about", "clips", "sound → sound", "written name → written name", "picture → sound",
               "picture → written name", "most frequent category"]  # fmt: skip
    carried = pd.DataFrame(rows, columns=columns).set_index("asked about")
    finding = (
        f"The category of a new stamp is told better than by always saying the most frequent one in {beyond} of "
        f"{first}'s {len(across)} directions from one modality to another, and its partner is found among the first "
        f"{max(CUTOFFS)} more often than by chance in {nearer} of them, by all intervals."
    )
    return [
        "# Stamps: pictures, spoken and written names",
        finding,
        facts,
        "## Which category is it?",
        told,
        means,
        "## Which one belongs to it?",
        "Without a probe: of all test clips with a spoken name, is one of the same stamp, in any language, among the "
        f"first k by cosine of the mean code vectors? The last column asks {first} the same of training clips.",
        sought,
        f"## From one language to others: {first} that learned from '{ALONE}' alone",
        carried,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", default="", help="folder of the stamps; by default where Debian puts them")
    parser.add_argument("--languages", default="", help="comma-separated; by default all nine")
    parser.add_argument("--methods", default=",".join(METHODS), help="comma-separated; the first is looked at closely")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=0, help="passes; 0 for the preset's (a trial: 1)")
    parser.add_argument("--runs", type=Path, default=Path("runs/stamps"))
    parser.add_argument("--page", type=Path, default=None, help="markdown page to write")
    arguments = parser.parse_args()

    from srcid.features import open_data
    from srcid.runs.pictures import markdown_page

    options: dict[str, Any] = {"stamps": arguments.stamps} if arguments.stamps else {}
    if arguments.languages:
        options["languages"] = tuple(arguments.languages.split(","))
    store = open_data("stamps", arguments.runs / "stores", options)
    folder = arguments.runs / store.path.name
    folder.mkdir(parents=True, exist_ok=True)
    part = only(store, arguments.runs / "stores" / f"{store.path.name}-{ALONE}")
    methods = arguments.methods.split(",")
    found: dict[str, list[dict]] = {name: [] for name in methods}
    first, alone = methods[0], []
    for seed in range(arguments.seeds):
        for name in methods:
            found[name].append(one(store, METHODS[name], seed, arguments.epochs, folder, alone=False))
            print(f"seed {seed}, {name}: done", flush=True)
        alone.append(one(part, METHODS[first], seed, arguments.epochs, folder, alone=True))
        print(f"seed {seed}, {first}, {ALONE} alone: done", flush=True)
    sizes = ", ".join(f"{split} {len(rows):,}" for split, rows in store.splits.items())
    passes = f" with {arguments.epochs} passes" if arguments.epochs else ""
    asked = ["--languages " + arguments.languages] * bool(arguments.languages)
    asked += [f"--epochs {arguments.epochs}"] * bool(arguments.epochs) + [f"--methods {arguments.methods}"]
    command = f"python benchmarks/stamps.py {' '.join(asked)} --seeds {arguments.seeds} --page docs/results/stamps.md"
    seeds = "Student's 95 % interval over training seeds, then " if arguments.seeds > 1 else ""
    facts = (
        f"{store.clips:,} clips ({sizes}) of {len(set(store.labels['item']))} stamps, "
        f"{len(store.label_info['event'].classes)} categories; preset demo{passes}; test clips, percent; training "
        f"seeds: {arguments.seeds}, one probe each. After each number stands {seeds}the 95 % interval of a bootstrap "
        "over test stamps. No test stamp is shown, named or heard in training, so a name is a new word.\n\n"
        f"    {command}"
    )
    parts = page(found, alone, store, facts)
    for shown in parts:
        print(shown if isinstance(shown, str) else shown.to_string(), end="\n\n")
    if arguments.page:
        markdown_page(arguments.page, parts, "Made by `benchmarks/stamps.py`, which says how.")


if __name__ == "__main__":
    main()
