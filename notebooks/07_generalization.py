# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     notebook_metadata_filter: kernelspec,jupytext,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=[]
# # Generalisation: the paper's tasks, retrieval, and what lies behind a score
#
# Tables II and III of the paper for any set of finished runs. Codes are frozen; a small probe learns on the codes of
# *one* modality and is asked about the others. Four tasks ask four things: what a clip is (classification), when
# something happens (localisation), the same on another data set than the probe learned on (cross-dataset), and with
# modalities that never come from the same clip (unpaired). Retrieval trains nothing: is the partner of a clip its
# nearest neighbour?
#
# The codes of every run are read from its code table. Further data sets (`stores`) are encoded once and kept.

# %% tags=["parameters"]
folder: str = ""  # folder of finished runs to compare; empty: one run alone
run: str = ""  # the run to look at closely, folder or name; empty: the newest, or one of the folder
methods: str = ""  # labels of methods to compare, semicolons between; empty: all
stores: dict = {}  # folders of other data by task, or by the word retrieval; FOLDER#MODALITY takes one modality
pair: str = "video,audio"  # modalities that stand for the paper's video and audio
clips: list = []  # rows of the clips in the timelines; empty: a good, a middling and a bad one
asks: list = []  # galleries to keep, each [query, target] modalities; empty: those of the pair
export: str = ""  # folder for a page with these tables and figures; empty: none

# %% tags=[]
from functools import partial

import pandas as pd
from IPython.display import HTML, display

from srcid import runs
from srcid.codes import CodeTable, encode_once
from srcid.evaluation.browser import RetrievalGallery, sound_rows
from srcid.evaluation.comparison import score_matrix
from srcid.evaluation.details import class_confusion, class_scores, threshold_calibration
from srcid.evaluation.figures.classes import class_scores_figure, confusion_figure, threshold_figure
from srcid.evaluation.figures.comparison import ablation_figure
from srcid.evaluation.figures.gallery import gallery_media, retrieval_gallery
from srcid.evaluation.figures.scores import score_figure
from srcid.evaluation.figures.timelines import timeline_figure
from srcid.evaluation.joined import Part
from srcid.evaluation.probes import TASKS
from srcid.evaluation.retrieval import code_retrieval, gallery
from srcid.evaluation.suite import fit_tasks, read_stores, task_tables
from srcid.evaluation.tables import table_three, table_two
from srcid.evaluation.timelines import timelines
from srcid.evaluation.tradeoff import ablation
from srcid.features import FeatureStore, StoreError
from srcid.params import EvaluationParams
from srcid.runs.report import markdown_page
from srcid.style import figure_or_reason
from srcid.training.loop import load

found = runs.collect(folder) if folder else runs.collect([runs.pick(run)])
wanted = [label.strip() for label in methods.split(";") if label.strip()] or list(dict.fromkeys(found.params["method"]))
about = pd.concat([found.params[found.params["method"] == label] for label in wanted])
if unknown := set(wanted) - set(about["method"]):
    raise ValueError(f"found no runs of {sorted(unknown)}; there are {sorted(set(found.params['method']))}")
shown = next((name for name in about.index if run and run.rstrip("/").endswith(name)), None)
shown = shown or next((name for name, label in about["method"].items() if label == "srcid vq"), about.index[-1])
asked = dict(runs=list(about.index), shown=shown, stores=stores, pair=pair, clips=clips, asks=asks)
here = runs.current("07_generalization", params=asked, data=folder or shown)
counted = about["method"].value_counts(sort=False)
origin = f"Data {about['data'].iloc[0]}; runs by method: {', '.join(f'{m} {n}' for m, n in counted.items())}; "
origin += f"code {', '.join(sorted(set(about['code'])))}."
print(origin)
print(*(f"left out {name}: {reason}" for name, reason in found.skipped.items()), sep="\n")

# %% [markdown] tags=[]
# ## What each task reads
#
# Without further stores every task is asked of the runs' own data. Cross-dataset then learns on clips of one class and
# is scored on clips of several; unpaired deals the clips out to the modalities, so that none shows two. With
# `stores`, say `{"localisation": "data/stores/avvp"}`, a task reads those.
#
# What cannot be done is said here, before any work starts; the rest is done.

# %% tags=[]
own = {name: CodeTable.open(found.codes[name]) for name in about.index}


def encoded(store, name):
    return encode_once(partial(load, found.codes[name].parent), store, here.codes / name / store.checksum[:12])


word = about["data"].iloc[0].split()[0]
tables, captions, notes = {}, {}, []
for name in about.index:
    others, lost = read_stores(stores, partial(encoded, name=name))
    captions[name] = others.pop("retrieval", [Part(own[name], name=word)])
    tables[name] = task_tables(own[name], word, others)
    notes += [note for note in (*lost, *tables[name].notes) if note not in notes]

# %% tags=["nbval-check-output"]
data = tables[shown].data
for task, part in tables[shown].tables.items():
    counts = ", ".join(f"{split} {len(rows):,}" for split, rows in part.splits.items())
    print(f"{task:15s} {data[task]}: {counts}; labels {', '.join(part.labels) or 'none'}")
print("\n".join(notes) or "nothing was left out")

# %% [markdown] tags=[]
# ## Table II
#
# Classification and localisation on the runs' own data were scored when they were trained; only what is missing is
# fitted. All probes of a task, its modalities and seeds are one stack: one look-up, one backward pass, one optimiser.

# %% tags=[]
done = [task for task in ("classification", "localisation") if task not in stores]
fitted = {}
for name, label in about["method"].items():
    settings = {field: own[name].params[field] for field in EvaluationParams.model_fields}
    print(f"{label}, seed {about.loc[name, 'seed']}", flush=True)
    missing = tables[name].only(*(task for task in TASKS if task not in done))
    fitted[name] = fit_tasks(missing, EvaluationParams(**settings))
new = pd.concat([results.frame().assign(run=name) for name, results in fitted.items()], ignore_index=True)
new = new.assign(method=new["run"].map(about["method"]), seed=new["run"].map(about["seed"]))
before = found.directions[found.directions["task"].isin(done) & found.directions["run"].isin(about.index)]
directions = pd.concat([before.drop(columns="data"), new], ignore_index=True)
print("\n".join(dict.fromkeys(note for results in fitted.values() for note in results.notes)))

# %% [markdown] tags=[]
# Rows are methods: `(only1)` reads layer 1 alone. ± is over training seeds, brackets over the scored clips of a run.
# The paper's own figures stand below for their order only: a star says that they are of other data.

# %% tags=[]
representations = [name for name in ("all", "only1") if name in set(directions["representation"])] or ["all"]
two = table_two(directions, data, representations, pair=tuple(pair.split(",")))
display(two)
print(two.attrs["note"])

# %% [markdown] tags=[]
# Chance, the score of always giving the commonest answer, is a fact of the data:

# %% tags=["nbval-check-output"]
chance = directions.groupby("task", sort=False).agg(metric=("metric", "first"), chance=("chance", "mean"))
print(chance.round(2).to_string())

# %% [markdown] tags=[]
# ## Every direction of one run
#
# Look for: directions far below the others (a modality whose codes are its own), and for the distance between filled
# and open circles, which is what the later layers add.

# %% tags=[]
mine = directions[directions["run"] == shown]
mine = mine[mine["representation"].isin(representations)]
scores = score_figure(mine, own[shown].modalities)
here.save_figure(scores, "scores")
print(f"{shown}: {about.loc[shown, 'method']}, seed {about.loc[shown, 'seed']}")
scores

# %% tags=[]
means = mine[~mine["same"].astype(bool)].groupby(["task", "representation"], sort=False)["score"].mean().unstack()
for task, row in means.iterrows():
    if {"all", "only1"} <= set(row.dropna().index):
        print(f"{task}: later layers add {row['all'] - row['only1']:+.1f} points across modalities in this run")

# %% [markdown] tags=[]
# ## Class by class
#
# An average hides classes that were never learned. The probes of the first seed are fitted again here, to have their
# predictions; they are the same probes.

# %% tags=[]
table = tables[shown].tables["localisation"]
settings = {field: own[shown].params[field] for field in EvaluationParams.model_fields}
single = EvaluationParams(**settings | {"probe_seeds": 1})
close = fit_tasks(tables[shown].only("classification", "localisation"), single, ("all",))
classes = figure_or_reason(lambda: class_scores_figure(class_scores(close, table)))
here.save_figure(classes, "classes")
classes

# %% [markdown] tags=[]
# Which class is taken for which: digits that sound alike, and events for background.

# %% tags=[]
whole = tables[shown].tables["classification"]
confused = figure_or_reason(lambda: confusion_figure(class_confusion(close, whole)))
here.save_figure(confused, "confusion")
confused

# %% [markdown] tags=[]
# ## The threshold
#
# Localisation calls an event where its probability is above 0.5, in every table. Precision alone rewards silence, which
# is why F1 stands beside it. Probabilities that mean what they say lie on the dotted line.

# %% tags=[]
threshold = figure_or_reason(lambda: threshold_figure(threshold_calibration(close, table)))
here.save_figure(threshold, "threshold")
threshold

# %% [markdown] tags=[]
# Other ways to score the same predictions: F1 of single steps and of whole events (right if they overlap a true one by
# half), as AVVP's makers define them, beside micro precision, recall and F1. Means over directions, percent.

# %% tags=[]
ways = directions[(directions["task"] == "localisation") & (directions["representation"] == "all")]
ways = ways.assign(where=ways["same"].map({False: "across modalities", True: "same modality"}))
names = ["precision", "recall", "f1", "segment_f1", "event_f1"]
ways.groupby(["method", "where"], sort=False)[[name for name in names if name in ways]].mean().round(1)

# %% [markdown] tags=[]
# ## Localisation over time
#
# A good, a middling and a bad test clip by F1, unless `clips` names others. Where codes do not change at the border of
# an event, no probe can find it.

# %% tags=[]
lines = figure_or_reason(lambda: timeline_figure(timelines(close, table, clips)))
here.save_figure(lines, "timelines")
lines

# %% [markdown] tags=[]
# ## Table III: zero-shot retrieval
#
# Nothing is trained: a clip is the mean of its codes over time, and the nearest clips of the other modality are its
# answers. Ties count by their expectation, so a collapsed codebook scores chance. With the label `item` in a store,
# clips of one item (several captions, say) are partners.

# %% tags=[]
retrieval = {}
for name in about.index:
    retrieval[name] = [code_retrieval(p.table, representations, data=p.name) for p in captions[name]]
print("\n".join(dict.fromkeys(note for results in retrieval.values() for r in results for note in r.notes)))
by_method = {}
for name, label in about["method"].items():
    by_method[label] = by_method.get(label, []) + retrieval[name]
three = table_three(by_method)
display(three.T)
print(three.attrs["note"])

# %% tags=["nbval-check-output"]
for results in retrieval[shown]:
    for score in results.scores:
        if score.representation == "all":
            chances = ", ".join(f"R@{k} {score.chance[k]:.2f}" for k in (1, 5, 10))
            print(f"{score.query:6s} asks {score.target:6s}: {len(score.ranks)} queries; by chance {chances} %")

# %% [markdown] tags=[]
# ## What was found
#
# Queries from the best to the worst. Clips that show the same events as the query and are not its partner count as
# wrong: with few classes the score of a perfect code is far below 100 %.

# %% tags=[]
answers = retrieval[shown][0]
seen = captions[shown][0].table
try:
    store = FeatureStore.open(seen.store_path, verify=False)
except StoreError as error:
    store = None
    print(f"clips are shown by their codes: {error}")
ways = [tuple(way) for way in asks] or [tuple(pair.split(","))[::-1]]
galleries = {}
for query, target in ways:
    found_by = [gallery(score) for score in answers.select(query=query, target=target, representation="all")]
    for chosen in found_by:
        media = gallery_media(chosen, store)
        galleries[f"gallery-{query}-{target}"] = retrieval_gallery(chosen, seen, media)
        galleries[f"gallery-{query}-{target}"].show()
        display(*map(HTML, sound_rows(chosen, media)))
for name, figure in galleries.items():
    here.save_figure(figure, name)

# %% tags=[]
if len(answers.scores):
    display(RetrievalGallery(answers, seen, store, direction=ways[0] if galleries else None))

# %% [markdown] tags=[]
# ## Ablation
#
# The paper's Fig. 3 over these four tasks, where the runs differ in codebook size or in the layers that CLUB acts on.

# %% tags=[]
matrix = score_matrix(directions) if len(directions) else {}  # without labels nothing is scored
ablations = figure_or_reason(lambda: ablation_figure(ablation(matrix, about)))
here.save_figure(ablations, "ablation")
ablations

# %% [markdown] tags=[]
# ## A page of it
#
# `python -m srcid run 07_generalization folder=runs export=docs/results` writes tables and figures as a markdown page.

# %% tags=[]
if export:
    figures = {"scores": scores, "classes": classes, "confusion": confused, "threshold": threshold, "timelines": lines}
    parts = ["# Generalisation", origin, "## Table II", two, two.attrs["note"], "## Table III", three.T]
    parts += [three.attrs["note"], f"## One run closely: {about.loc[shown, 'method']}, seed {about.loc[shown, 'seed']}"]
    parts += [*figures.items(), "## Retrieval", *galleries.items()]
    parts += ["## Ablation", ("ablation", ablation)] if ablation.data else []
    pages = markdown_page(runs.home() / export / "generalization.md", parts)
    print(f"{len(pages)} files written: {', '.join(page.name for page in pages)}")
averages = {f"{task}/{where}": matrix[task, where].mean() for task, where in matrix if where in ("m → n", "m → m")}
here.write("scores.json", {name: round(float(value), 3) for name, value in averages.items()})
assert directions["score"].between(0, 100).all()
here.finish()
