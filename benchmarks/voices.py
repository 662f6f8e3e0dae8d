"""The human test: what codes learned from synthetic voices are worth for people's speech, and the other way round.

    python benchmarks/voices.py --fsdd PATH --seeds 5 --page docs/results/voices.md

Trains the demo preset on ``digits`` for every seed, once on the voices of the package and once on the Free Spoken
Digit Dataset (``data/README.md``), and encodes both data sets by both models. Probes learn from the codes of the data
that the model was trained on, and are asked about the test clips of either. Pictures and words are the same in both, so
only directions with sound in them differ. Two trainings of two to four minutes a seed on two cores; finished ones are
kept in ``--runs`` and not repeated.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

WORDS = {"voices": "synthetic voices", "people": "people"}
QUESTIONS = {
    "sound → sound": lambda train, test: train == test == "audio",
    "sound → picture, word": lambda train, test: train == "audio" != test,
    "picture, word → sound": lambda train, test: train != test == "audio",
}


def scores(table: Any, target: Any, params: Any) -> dict[str, float]:
    """Scores by task and question, percent, of probes that learn on ``table`` and are asked about ``target``."""
    from srcid.evaluation.joined import cross_dataset
    from srcid.evaluation.probes import fit_probes

    frame = fit_probes(cross_dataset(table, target), params, representations=("all",)).frame()
    found = {}
    for task, part in frame.groupby("task", sort=False):
        column = "accuracy" if task == "classification" else "segment_f1"
        for question, asked in QUESTIONS.items():
            rows = part[[asked(a, b) for a, b in zip(part["train"], part["test"], strict=True)]]
            found[f"{task}, {question}"] = float(rows[column].mean())
        found[f"{task}, chance"] = float(part["chance"].iloc[0]) if task == "classification" else float("nan")
    return found


def one(stores: dict[str, Any], learned: str, params: Any, folder: Path) -> dict[str, dict[str, float]]:
    """Train on one data set and score on both: data set asked about -> scores."""
    from srcid.codes import encode
    from srcid.training.loop import load, train

    record = folder / f"{learned}-s{params.seed}.json"
    if record.is_file():
        return json.loads(record.read_text())
    run = record.with_suffix("")
    if (status := train(stores[learned], params, run).status) != "finished":
        raise SystemExit(f"training {run.name}: {status}; the same command goes on with it")
    tables = {name: encode(load(run), store, run / f"codes-{name}") for name, store in stores.items()}
    found = {name: scores(tables[learned], table, params) for name, table in tables.items()}
    record.write_text(json.dumps(found, indent=1))
    return found


def summary(found: dict[str, list[dict[str, dict[str, float]]]]) -> Any:
    """A row a data set learned from, one asked about and question: mean over seeds, its interval, chance."""
    import pandas as pd

    from srcid.statistics import t_interval

    rows = []
    for learned, seeds in found.items():
        for asked in WORDS:
            for name in seeds[0][asked]:
                task, question = name.split(", ", 1)
                if question != "chance":
                    chance = np.mean([seed[asked][f"{task}, chance"] for seed in seeds])
                    score = t_interval(np.array([seed[asked][name] for seed in seeds]))
                    rows.append((WORDS[learned], WORDS[asked], task, question, score, chance))
    return pd.DataFrame(rows, columns=["learned from", "asked about", "task", "question", "score", "chance"])


def finding(table: Any) -> str:
    """One sentence on probes that read the codes of sound and are asked about the codes of sound."""
    rows = table[(table["task"] == "classification") & (table["question"] == "sound → sound")]
    score = {(r["learned from"], r["asked about"]): r["score"] for _, r in rows.iterrows()}
    voices, people = WORDS.values()
    return (
        f"By sound alone, what learned from voices names the digit of {score[voices, voices].text('.0f')} % of "
        f"voices' and {score[voices, people].text('.0f')} % of people's test clips; what learned from people, of "
        f"{score[people, people].text('.0f')} % of people's and {score[people, voices].text('.0f')} % of voices' "
        f"(chance {rows['chance'].mean():.0f} %; {score[voices, voices].n} seeds, 95 % intervals over seeds)"
    )


def figure(table: Any) -> Any:
    """Accuracies with their intervals: a colour a data set learned from, filled where the same is asked about."""
    import plotly.graph_objects as go

    from srcid.style import finish

    part = table[table["task"] == "classification"]
    fig = go.Figure()
    names = list(QUESTIONS)
    for place, ((learned, asked), rows) in enumerate(part.groupby(["learned from", "asked about"], sort=False)):
        values = [score.value for score in rows["score"]]
        reach = [score.high - score.value if score.known else 0 for score in rows["score"]]
        color = "#0072B2" if learned == WORDS["voices"] else "#D55E00"
        fig.add_trace(go.Scatter(
            x=values, y=[names.index(question) + 0.16 * (place - 1.5) for question in rows["question"]],
            mode="markers", name=f"{learned} → {asked}", error_x=dict(array=reach, color=color),
            marker=dict(color=color, size=11, symbol="circle" if learned == asked else "circle-open"),
        ))  # fmt: skip
    fig.update_xaxes(title="accuracy of classification, %", range=[0, 102])
    fig.update_yaxes(autorange="reversed", tickvals=list(range(len(names))), ticktext=names)
    caption = "Means over seeds, 95 % t-intervals. Filled: asked about the data learned from; open: about the other."
    return finish(fig, finding(table), caption, height=340)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fsdd", required=True, help="folder of the Free Spoken Digit Dataset")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runs", type=Path, default=Path("runs/voices"))
    parser.add_argument("--page", type=Path, default=None, help="markdown page to write, with its figure beside it")
    parser.add_argument("--clips", type=int, default=0, help="training clips; 0 for the default (a trial: 60)")
    parser.add_argument("--epochs", type=int, default=0, help="passes; 0 for the preset's (a trial: 1)")
    arguments = parser.parse_args()

    from srcid.features import open_data
    from srcid.params import resolve
    from srcid.runs.pictures import markdown_page

    held = max(arguments.clips // 4, 20)
    sizes = dict(train=arguments.clips, val=held, test=held) if arguments.clips else {}
    options = {"voices": {}, "people": {"fsdd": arguments.fsdd}}
    arguments.runs.mkdir(parents=True, exist_ok=True)
    stores = {name: open_data("digits", arguments.runs / "stores", sizes | own) for name, own in options.items()}
    given = {"epochs": arguments.epochs, "probe_epochs": 2} if arguments.epochs else {}
    found: dict[str, list[Any]] = {name: [] for name in stores}
    for seed in range(arguments.seeds):
        params = resolve("demo", seed=seed, device="cpu", probe_seeds=2, **given)
        folder = arguments.runs / f"{arguments.clips}-{params.epochs}"
        folder.mkdir(exist_ok=True)
        for learned in stores:
            found[learned].append(one(stores, learned, params, folder))
            print(f"seed {seed}, learned from {WORDS[learned]}: done", flush=True)
    table = summary(found)
    shown = table.assign(score=[score.text(".1f") for score in table["score"]], chance=table["chance"].round(1))
    print(shown.to_string(index=False), finding(table), sep="\n\n")
    if arguments.page:
        drawn = figure(table)
        page = ["# Voices and people", finding(table) + ".", ("scores", drawn), shown.set_index("learned from")]
        markdown_page(arguments.page, page, "Made by `benchmarks/voices.py`, which says how.")


if __name__ == "__main__":
    main()
