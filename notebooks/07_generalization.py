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
toc: bool = True  # also score codes of whose vectors only the best coordinates are read
pair: str = "video,audio"  # modalities that stand for the paper's video and audio
clips: list = []  # rows of the clips in the timelines; empty: a good, a middling and a bad one
turn: list = []  # layer, code, and the code that it is turned into; empty: the most used ones of two classes
asks: list = []  # galleries to keep, each [query, target] modalities; empty: those of the pair
export: str = ""  # folder for a page with these tables and figures; empty: none

# %% tags=[]
from IPython.display import HTML, display

from srcid import runs
from srcid.codes import CodeTable
from srcid.evaluation.browser import CodeTurner, RetrievalGallery, sound_rows
from srcid.evaluation.comparison import score_matrix
from srcid.evaluation.details import class_confusion, class_scores, timelines
from srcid.evaluation.figures.comparison import ablation_figure
from srcid.evaluation.figures.gallery import gallery_media, retrieval_gallery
from srcid.evaluation.figures.scores import class_scores_figure, confusion_figure, score_figure
from srcid.evaluation.figures.timelines import timeline_figure
from srcid.evaluation.metrics import EvaluationError
from srcid.evaluation.open_set import open_set_scores
from srcid.evaluation.probes import fit_probes
from srcid.evaluation.retrieval import gallery
from srcid.evaluation.suite import fit_tasks, run_tasks, score_runs
from srcid.evaluation.tables import comparison_table, table_three, table_two
from srcid.evaluation.tradeoff import ablation, quality
from srcid.features import FeatureStore, StoreError
from srcid.params import EvaluationParams
from srcid.runs.pictures import markdown_page
from srcid.style import figure_or_reason
from srcid.training.loop import load
from srcid.widget import offer_csv, progress, show

source = None if folder else runs.pick(run)
offer_csv()
here = runs.current("07_generalization", globals(), source)
found = runs.collect(folder or [source])
found = found.only(label.strip() for label in methods.split(";") if label.strip())
about, shown = found.params, found.closest(run)
print(found.summary)
print(*(f"left out {name}: {reason}" for name, reason in found.skipped.items()), sep="\n")

# %% [markdown] tags=[]
# ## What the run was scored by when it was trained
#
# Probes of classification and localisation on its own data. The other tasks are asked below, which takes half a minute
# a run.

# %% tags=[]
own = {name: CodeTable.open(path) for name, path in found.codes.items()}
both = ("all", "only1")
trained = found.directions.query("run == @shown and representation in @both")
score_figure(trained, own[shown].modalities)

# %% [markdown] tags=[]
# ## What each task reads
#
# Without further stores every task is asked of the runs' own data. Cross-dataset then learns on clips of one class and
# is scored on clips of several; unpaired deals the clips out to the modalities, so that none shows two. With
# `stores`, say `{"localisation": "data/stores/avvp"}`, a task reads those.
#
# What cannot be done is said here, before any work starts; the rest is done.

# %% tags=[]
word = about["data"].iloc[0].split()[0]
tasks = run_tasks(own, word, stores, lambda name: load(found.codes[name].parent), here.codes)

# %% tags=["nbval-check-output"]
data = tasks.tables[shown].data
for task, part in tasks.tables[shown].tables.items():
    counts = ", ".join(f"{split} {len(rows):,}" for split, rows in part.splits.items())
    print(f"{task:15s} {data[task]}: {counts}; labels {', '.join(part.labels) or 'none'}")
print("\n".join(tasks.notes) or "nothing was left out")

# %% [markdown] tags=[]
# ## Table II
#
# Classification and localisation on the runs' own data were scored when they were trained; only what is missing is
# fitted. All probes of a task, its modalities and seeds are one stack: one look-up, one backward pass, one optimiser.
#
# `toc` reads the same codes, but only those coordinates of their vectors in which codes differ most (reference 12 of
# the paper); how many is chosen on validation clips.

# %% tags=[]
representations = (*both, "toc", "only1+toc") if toc else both
directions, fitted = score_runs(found.directions, about, tasks, representations, progress)
print(*dict.fromkeys(note for each in fitted.values() for results in each for note in results.notes), sep="\n")

# %% [markdown] tags=[]
# Rows are methods: `(only1)` reads layer 1 alone. ± is over training seeds, brackets over the scored clips of a run.
# The paper's own figures stand beside and below for their order only: a star says that they are of other data.

# %% tags=[]
there = [name for name in representations if name in set(directions["representation"])] or ["all"]
scored = quality(score_matrix(directions), found.costs).rows if len(directions) else None
two = table_two(directions, data, there, tuple(pair.split(",")), scored)
display(two)
print(two.attrs["note"])

# %% [markdown] tags=[]
# Chance, the score of always giving the most frequent answer, is a fact of the data:

# %% tags=["nbval-check-output"]
chance = directions.groupby("task", sort=False).agg(metric=("metric", "first"), chance=("chance", "mean"))
print(chance.round(2).to_string())

# %% [markdown] tags=[]
# ## Unknown classes
#
# A probe learns half of the classes. On test clips it also meets classes that neither it nor the choice of its
# threshold has seen, and is to reject them. H is the harmonic mean of the share of known clips that get their class and
# the share of unknown ones that are rejected; AUROC asks without any threshold whether known clips are the surer ones.

# %% tags=[]
unknown = directions[directions["task"] == "open-set"]
if len(unknown):
    display(comparison_table(unknown, there, only_means=True).drop(columns="average", level=0))
open_set = [open_set_scores(results) for results in fitted[shown]]
for each in (scores for scores in open_set if len(scores.rows)):
    print(f"{shown}: {each.finding}.")
    display(each.frame())

# %% [markdown] tags=[]
# ## Every direction of one run
#
# Look for: directions far below the others (a modality whose codes are its own), and for the distance between filled
# and open circles, which is what the later layers add.

# %% tags=[]
mine = directions.query("run == @shown and representation in @both")
scores = score_figure(mine, own[shown].modalities)
here.save_figure(scores, "scores")
print(f"{shown}: {about.loc[shown, 'method']}, seed {about.loc[shown, 'seed']}")
scores

# %% [markdown] tags=[]
# What the later layers add across modalities, in points, in this run:

# %% tags=[]
across = mine[~mine["same"].astype(bool)].groupby(["task", "representation"], sort=False)["score"].mean().unstack()
across.assign(added=across.get("all", 0) - across.get("only1", float("nan"))).round(1)

# %% [markdown] tags=[]
# ## Class by class
#
# An average hides classes that were never learned. The probes of the first seed are fitted again here, to have their
# predictions; they are the same probes.

# %% tags=[]
settings = {name: own[shown].params[name] for name in EvaluationParams.model_fields}
single = EvaluationParams(**settings | {"probe_seeds": 1})
close = fit_tasks(tasks.tables[shown].only("classification", "localisation"), single, ("all",))
table = tasks.tables[shown].tables["localisation"]
classes = figure_or_reason(lambda: class_scores_figure(class_scores(close, table)))
here.save_figure(classes, "classes")
classes

# %% [markdown] tags=[]
# Which class is taken for which: digits that sound alike, and events for background.

# %% tags=[]
whole = tasks.tables[shown].tables["classification"]
confused = figure_or_reason(lambda: confusion_figure(class_confusion(close, whole)))
here.save_figure(confused, "confusion")
confused

# %% [markdown] tags=[]
# ## Localisation by other scores
#
# Localisation calls an event where its probability is above 0.5, in every table. Precision alone rewards silence, which
# is why F1 stands beside it; so do F1 of single steps and of whole events (right if they overlap a true one by half),
# as AVVP's makers define them. Means over directions, percent.

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
# ## Turn a code
#
# What goes with a code need not follow from it. Here the vector of one code is exchanged for another's, in up to 200
# test clips that have it, and the same probes and retrieval answer again: which answers move? Any exchange moves
# something, so the same is done to random codes that are used about as often. "Leave it out" gives all steps the mean
# vector of a layer. In JupyterLab choose layer, codes and clip; below the figure, the answers of one clip before and
# after.

# %% tags=[]
probes = fit_probes(own[shown], single, representations=("all",)) if stores else close
turner = None
try:
    turner = CodeTurner(own[shown], probes, *turn)
    here.save_figure(turner.figure(), "turned")
    show(turner)
except EvaluationError as reason:  # no labelled clip, or no such code
    print(reason)

# %% tags=[]
fields = ["task", "train", "test", "moved", "moved_low", "moved_high", "control_moved", "change", "control_change"]
turner and turner.turned.frame()[fields].round(1)

# %% [markdown] tags=[]
# ## Table III: zero-shot retrieval
#
# Nothing is trained: a clip is the mean of its codes over time, and the nearest clips of the other modality are its
# answers. Ties count by their expectation, so a collapsed codebook scores chance. With the label `item` in a store,
# clips of one item (several captions, say) are partners.

# %% tags=[]
retrieval = {name: tasks.retrieval(name, representations) for name in about.index}
print(*dict.fromkeys(note for each in retrieval.values() for results in each for note in results.notes), sep="\n")
by_method = {label: [r for name in group.index for r in retrieval[name]] for label, group in about.groupby("method")}
three = table_three(by_method)
display(three.T)
print(three.attrs["note"])

# %% tags=["nbval-check-output"]
for score in retrieval[shown][0].select(representation="all"):
    chances = ", ".join(f"R@{k} {score.chance[k]:.2f}" for k in (1, 5, 10))
    print(f"{score.query:6s} asks {score.target:6s}: {len(score.ranks)} queries; by chance {chances} %")

# %% [markdown] tags=[]
# ## What was found
#
# Queries from the best to the worst. Clips that show the same events as the query and are not its partner count as
# wrong: with few classes the score of a perfect code is far below 100 %.

# %% tags=[]
answers, seen = retrieval[shown][0], tasks.captions[shown][0].table
print(answers.finding)
try:
    store = FeatureStore.open(seen.store_path, verify=False)
except StoreError as error:
    store = None
    print(f"clips are shown by their codes: {error}")

# %% tags=[]
ways = [tuple(way) for way in asks] or [tuple(pair.split(","))[::-1]]
galleries = {}
for query, target in ways:
    for chosen in map(gallery, answers.select(query=query, target=target, representation="all")):
        media = gallery_media(chosen, store)
        galleries[f"gallery-{query}-{target}"] = figure = retrieval_gallery(chosen, seen, media)
        here.save_figure(figure, f"gallery-{query}-{target}")
        display(figure, *map(HTML, sound_rows(chosen, media)))

# %% tags=[]
if len(answers.scores):
    display(RetrievalGallery(answers, seen, store, direction=ways[0] if galleries else None))

# %% [markdown] tags=[]
# ## Ablation
#
# The paper's Fig. 3 over these tasks, where the runs differ in codebook size or in the layers that CLUB acts on.

# %% tags=[]
matrix = score_matrix(directions[directions["task"] != "open-set"]) if len(directions) else {}
ablations = figure_or_reason(lambda: ablation_figure(ablation(matrix, about)))
here.save_figure(ablations, "ablation")
ablations

# %% [markdown] tags=[]
# ## A page of it
#
# `python -m srcid run 07_generalization folder=runs export=docs/results` writes tables and figures as a markdown page.

# %% tags=[]
if export:
    figures = {"scores": scores, "classes": classes, "confusion": confused, "timelines": lines}
    page = ["# Generalisation", found.summary, "## Table II", two, two.attrs["note"], "## Table III", three.T]
    page += [three.attrs["note"], f"## One run closely: {about.loc[shown, 'method']}, seed {about.loc[shown, 'seed']}"]
    page += [*figures.items(), "## Retrieval", *galleries.items(), "## Ablation", ("ablation", ablations)]
    pages = markdown_page(runs.home() / export / "generalization.md", page)
    print(f"{len(pages)} files written: {', '.join(file.name for file in pages)}")
averages = {f"{task}/{where}": matrix[task, where].mean() for task, where in matrix if where in ("m → n", "m → m")}
here.write("scores.json", {name: round(float(value), 3) for name, value in averages.items()})
here.finish()
