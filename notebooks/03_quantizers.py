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
# # Quantisers and methods, compared fairly
#
# The paper's first claim is an ordering: a finer quantiser (more residual stages, FSQ) understands the modality
# it learned from better, and other modalities no better. Its second: a semantic residual, a second layer that
# searches what the first left over, does help across modalities. This notebook puts both, and claims of your own,
# to the test.
#
# A comparison is fair if nothing else differs. Methods share encoders, losses, data and seeds; they are compared on the
# same seeds, seed by seed; and a difference counts only if it stands out from how much seeds differ.
#
# **The default is a toy**: two seeds, two passes over a few made-up clips, done in about a minute. Its numbers decide
# nothing; it shows what a comparison looks like. The commands of the full one are at the end.

# %% tags=["parameters"]
folder: str = ""  # folder of finished runs to compare; empty: the sweep of the next parameters
quantizers: str = "vq,rvq2"  # of the sweep, comma between; rvqN has N stages
presets: str = "demo+dcid"  # of the sweep, comma between, such as demo+dcid,demo+srcid
seeds: str = "0,1"  # training seeds of the sweep; 0..4 are five
data: str = "digits"  # data of the sweep: digits, stamps, synthetic, or the folder of a store
fsdd: str = ""  # folder with the Free Spoken Digit recordings, to take them for the speech of digits
toy: bool = True  # the sweep trains for two passes; of data that are made it makes a few clips only
jobs: int = 2  # runs of the sweep at a time
options: dict = {}  # any other field of srcid.params.Params by name, for all runs of the sweep
reference: str = "dcid vq"  # method that the others are held against
localisation: str = "segment_f1"  # its score in figures and claims: precision as in the paper, f1, segment_f1
margin: float = 1.0  # points; a smaller gain counts as none
questions: list = []  # claims of your own, each [better, worse, task, direction]
dissect: list = ["dcid rvq2"]  # methods whose later stages or layers are looked into; half a minute a run
export: str = ""  # folder for a page with these tables and figures; empty: none

# %% tags=[]
import pandas as pd
from IPython.display import display

from srcid import runs
from srcid.codebook.agreement import part_agreement
from srcid.codebook.figures.agreement import part_figure
from srcid.codes import CodeTable
from srcid.evaluation.claims import PARTS, Claim, judge, paper_claims, part_claims, probe_parts, verdicts_by_score
from srcid.evaluation.comparison import choose_reference, means, methods_of, paired, score_matrix
from srcid.evaluation.figures.comparison import (
    ablation_figure,
    cost_figure,
    forest_figure,
    reconstruction_figure,
    tradeoff_figure,
)
from srcid.evaluation.tables import NOTE, SAME_AS, comparison_table, paper_scores, tables_by_score
from srcid.evaluation.tradeoff import ablation, equal_vectors, quality
from srcid.features import DATA_SETS
from srcid.runs.pictures import markdown_page
from srcid.widget import offer_csv, progress

small = dict(epochs=2, probe_epochs=3, probe_seeds=2, checkpoint_every=1000) if toy else {}
clips = dict(train=240, val=60, test=120) if toy and data in DATA_SETS else {}
wanted = dict(data=data, fsdd=fsdd, generator=clips, preset=presets, quantizer=quantizers, seed=seeds)
wanted |= {name: [value] for name, value in (small | options).items()}
offer_csv()
here = runs.current("03_quantizers", globals())

# %% [markdown] tags=[]
# ## The runs
#
# A sweep trains every quantiser with every seed. Started again, it does what is missing and nothing else. Sweeps
# of this notebook are kept apart from other runs, in `runs/.compared`.

# %% tags=[]
if folder:
    source = folder
else:
    with runs.elsewhere(".compared"):
        swept = runs.sweep("02_train", wanted, jobs=jobs)
    assert not swept.failed, swept.failed
    source = swept.runs
found = runs.collect(source)
print(found.summary)
print(*(f"left out {name}: {reason}" for name, reason in found.skipped.items()), sep="\n")
page = ["# Quantisers and methods compared", found.summary]  # what `export` writes

# %% tags=["nbval-check-output"]
counts = found.params.groupby("method", sort=False)["seed"].agg(list)
print("\n".join(f"{method:24s} seeds {', '.join(map(str, seeds))}" for method, seeds in counts.items()))
if len(found.versions) > 1:
    print(f"These runs were made by {len(found.versions)} versions of the code: differences may be its doing.")

# %% [markdown] tags=[]
# The others are held against one of them. If there are no runs of the method named `reference`, another one takes its
# place:

# %% tags=[]
both = ("all", "only1")
metrics = dict(localisation=localisation)
matrix = score_matrix(found.plain, both, metrics)
reference, said = choose_reference(methods_of(matrix), reference)
print(said or f"The reference is {reference}.")

# %% [markdown] tags=[]
# ## Table I
#
# Mean over training seeds, in percent; ± is half the 95 % t-interval over these seeds. A probe learns on modality
# m: m → m asks it about the same modality, m → n about another one, with no further learning. Classification
# counts right clips; localisation is micro precision, the score of the paper. `only1` reads the codes of layer 1
# alone. Chance always answers the most frequent class.

# %% tags=[]
table = comparison_table(found.plain, both, only_means=True)
page += ["Mean over seeds, percent; ± is half the 95 % t-interval over seeds. Localisation: micro precision.", table]
table

# %% [markdown] tags=[]
# Precision, as the paper counts it, has a weakness: background is a class like the others, so a probe that finds
# nothing and says "background" where it is surest scores high. F1 asks for recall too; the F1 of segments leaves
# background out and is the one that figures and claims below go by (parameter `localisation`).

# %% tags=[]
scorings = ("precision", "f1", "segment_f1")
by_score = tables_by_score(found.plain, both, "localisation", scorings)
page += ["## By other scores of localisation", by_score]
by_score

# %% [markdown] tags=[]
# Every direction by itself. The brackets hold another kind of doubt: the 95 % interval over the scored clips within a
# run, the mean of the runs' intervals.

# %% tags=[]
every = comparison_table(found.plain, both, clips=True).T
every

# %% [markdown] tags=[]
# ### The paper's Tables I and II
#
# Other data (AVE, AVVP, UCF and VGG clips) and another average of scores: compare the order of rows, never the numbers.

# %% tags=["nbval-check-output"]
paper = paper_scores()
print(f"The paper: {NOTE}.")
print(paper[["average"]].round(2).astype(object).fillna("").to_string())

# %% [markdown] tags=[]
# ## What a finer code is good for
#
# If the paper is right, finer quantisers lie to the right of `vq` (better on their own modality) and no higher. The
# title names a method only if its lead over every other is certain.

# %% tags=[]
origin = f"Localisation by {localisation}. {found.source}"
scored = quality(score_matrix(found.plain, metrics=metrics), found.costs)
tradeoff = tradeoff_figure(scored, paper, SAME_AS, NOTE, origin)
here.save_figure(tradeoff, "tradeoff")
tradeoff

# %% [markdown] tags=[]
# A quantiser may be closer to its input and yet further from the other modalities. Whether it is closer at all shows in
# the error of reconstruction:

# %% tags=[]
rebuilt = reconstruction_figure(scored, origin)
here.save_figure(rebuilt, "reconstruction")
rebuilt

# %% [markdown] tags=[]
# What the scores cost, in bits, parameters, time and memory:

# %% tags=[]
costs = cost_figure(scored, origin)
here.save_figure(costs, "costs")
costs

# %% [markdown] tags=[]
# ## Are later parts of a code shared?
#
# A residual quantiser's later stages and SRCID's second layer both describe what the first part left over; the paper
# says that only the second is shared. How far the modalities choose the same code in each part, on test clips:

# %% tags=[]
asked = found.plain["run"].unique()
codes = {run: CodeTable.open(found.codes[run]) for run in asked if found.codes[run].exists()}
gone = len(asked) - len(codes)  # whoever is short of space deletes these first
print(f"{gone} runs whose codes were deleted are left out." if gone else "All runs have their codes.")
each = [dict(method=found.params.loc[run, "method"], **part) for run in codes for part in part_agreement(codes[run])]
agreement = part_figure(pd.DataFrame(each), found.source)
here.save_figure(agreement, "agreement")
agreement

# %% [markdown] tags=[]
# A part that is not shared can help all the same: probes read vectors, and two modalities that choose different codes
# with close vectors look alike to them. So probes are fitted to the first part alone (`stage1`, or `only1`), and to the
# whole code with the vectors of later parts exchanged among their codes (`exchanged`), in all modalities alike: what
# was shared as codes is shared still, what lay close no longer does.

# %% tags=[]
chosen = {run: codes[run] for run in codes if found.params.at[run, "method"] in dissect}
probed = probe_parts(chosen, found.directions, found.params, progress) if chosen else None
if chosen:
    parts_table = comparison_table(probed, PARTS, metrics, only_means=True)
    page += ["## What later parts of a code add", parts_table]
    display(parts_table)

# %% tags=[]
if chosen:
    part_scores = score_matrix(probed, PARTS, metrics)
    part_verdicts = judge(part_scores, part_claims(methods_of(part_scores), dissect))
    page += ["\n".join(f"- {verdict.finding}" for verdict in part_verdicts)]
    print(*(verdict.finding for verdict in part_verdicts), sep="\n")
else:
    print(f"There are no runs of {', '.join(dissect) or 'methods named in dissect'} to look into.")

# %% [markdown] tags=[]
# ## Differences on the same seeds
#
# Runs of one seed see the same batches in the same order, so that their difference varies less than their scores.
# Filled marks are differences that are certain after Holm's correction for the number of comparisons; all others are
# undecided, whatever their size.

# %% tags=[]
pairs = paired(matrix, reference)
forest = forest_figure(pairs, margin, origin)
here.save_figure(forest, "differences")
forest

# %% tags=[]
pairs.frame()

# %% [markdown] tags=[]
# ## The claims, one by one
#
# *Supported* and *contradicted* need three seeds and p < 0.05, corrected for all claims of the same source;
# everything else is undecided at this number of seeds. "Does not help" is tested against `margin`: supported if the
# gain is certainly smaller, contradicted if it is certainly larger. Not to have seen a difference is no evidence that
# there is none.

# %% tags=[]
scores = score_matrix(found.directions, both, metrics)
tasks = list(dict.fromkeys(found.directions["task"]))
usual = found.params.loc[found.params["method"] == reference, "codebook_size"].max()
claims, missing = paper_claims(methods_of(scores), tasks, reference, margin, int(usual))
claims += [Claim(f"{a} is better than {b}, {t} {d}", a, b, t, d) for a, b, t, d in questions]
verdicts = judge(scores, claims)
print("\n".join(f"{verdict.claim.source}: {verdict.finding}" for verdict in verdicts))

# %% [markdown] tags=[]
# Does the answer hang on how localisation is scored?

# %% tags=[]
verdict_table = verdicts.frame().round(2).drop(columns="verdict").set_index("claim")
verdict_table = verdict_table.join(verdicts_by_score(found.directions, claims, both, "localisation", scorings))
listed = "\n".join(f"- {verdict.claim.source}: {verdict.finding}" for verdict in verdicts)
page += ["## Claims", f"Localisation by {localisation}. {verdicts.finding}.", listed, verdict_table]
verdict_table

# %% tags=["nbval-check-output"]
print(f"{len(claims)} claims judged. What these runs cannot say:")
print("\n".join(f"  {line}" for line in missing) or "  nothing")

# %% [markdown] tags=[]
# ## Equal numbers of code vectors
#
# With equal L a residual quantiser of n stages, and a model of n layers, has n times as many code vectors. This table
# gives all the same number: `rvq2` or SRCID with L = 100 against DCID with L = 200, and so on.

# %% tags=[]
alike = equal_vectors(found.params, reference)
if alike:
    same_number = found.directions[found.directions["run"].isin(alike)]
    equal_table = comparison_table(same_number, metrics=metrics, only_means=True)
    page += ["## At equal numbers of code vectors", equal_table]
    display(equal_table)
else:
    print("No such runs here; for L = 200: python -m srcid sweep 02_train preset=demo+dcid")
    print("    quantizer=rvq2 codebook_size=100 (rvq3: 67, rvq4: 50), or preset=demo+srcid codebook_size=100;")
    print("    data and seeds as the others")

# %% [markdown] tags=[]
# ## Ablation: codebook size and CLUB
#
# The paper's Fig. 3 finds a best size in the middle, and CLUB useful in both layers, more so in the first. Further
# sizes and switches are made by sweeps over `codebook_size=50,100,400,800,1600` and `club_off=[1],[2],[1,2]`.

# %% tags=[]
ablations = ablation_figure(ablation(score_matrix(found.directions, metrics=metrics), found.params), origin)
here.save_figure(ablations, "ablation")
ablations

# %% [markdown] tags=[]
# All settings of these runs in figures, localisation by the score named above:

# %% tags=[]
settings = comparison_table(found.directions, metrics=metrics, only_means=True)
settings

# %% [markdown] tags=[]
# ## The full comparison
#
# On the digits data; two to four minutes a run, two at a time on two cores. Every line can be stopped and started
# again. The last one reads all of them and writes the page. What came out: `docs/results`.
#
#     python -m srcid sweep 02_train data=digits fsdd=PATH preset=demo+dcid \
#         quantizer=vq,rvq2,rvq3,rvq4,fsq,identity seed=0..4 --jobs 2
#     python -m srcid sweep 02_train data=digits fsdd=PATH preset=demo+srcid,demo+cmcm seed=0..4 --jobs 2
#     python -m srcid sweep 02_train data=digits fsdd=PATH preset=demo+srcid seed=0..4 \
#         club_off=[1],[2],[1,2] --jobs 2
#
# FSQ on the features themselves, equal numbers of code vectors, and codebook sizes:
#
#     python -m srcid sweep 02_train data=digits fsdd=PATH preset=demo+dcid quantizer=fsq fsq_projection=off seed=0..4
#     python -m srcid sweep 02_train data=digits fsdd=PATH preset=demo+dcid quantizer=rvq2 codebook_size=100 seed=0..4
#     python -m srcid sweep 02_train data=digits fsdd=PATH preset=demo+dcid quantizer=rvq3 codebook_size=67 seed=0..4
#     python -m srcid sweep 02_train data=digits fsdd=PATH preset=demo+dcid quantizer=rvq4 codebook_size=50 seed=0..4
#     python -m srcid sweep 02_train data=digits fsdd=PATH preset=demo+dcid,demo+srcid \
#         codebook_size=50,100,400,800,1600 seed=0..4
#
# And the controls: one layer without CLUB, three layers, layers that open earlier. Then the page:
#
#     python -m srcid sweep 02_train data=digits fsdd=PATH preset=demo+dcid club_off=[1] seed=0..4
#     python -m srcid sweep 02_train data=digits fsdd=PATH preset=demo+k3 seed=0..4
#     python -m srcid sweep 02_train data=digits fsdd=PATH preset=demo+srcid,demo+k3 warm_max=0.2 seed=0..4
#     python -m srcid run 03_quantizers folder=runs export=docs/results \
#         'dissect=["dcid rvq2", "dcid rvq3", "dcid rvq4", "srcid vq", "srcid vq, warm_max=0.2"]' \
#         'questions=[["srcid vq, warm_max=0.2", "srcid vq", "average", "m → n"],
#                     ["srcid vq, warm_max=0.2", "dcid vq", "average", "m → n"],
#                     ["srcid vq, warm_max=0.2", "dcid rvq2", "average", "m → n"],
#                     ["K3 vq, warm_max=0.2", "srcid vq, warm_max=0.2", "average", "m → n"]]'
#
# Whoever compares finds the best of several by luck alone if it is chosen by what it is judged by. Nothing is chosen
# here: probes are chosen on validation clips, scores are of test clips, and all methods are shown.

# %% tags=[]
figures = dict(tradeoff=tradeoff, reconstruction=rebuilt, agreement=agreement, costs=costs)
figures |= dict(differences=forest, ablation=ablations)
page += [f"## The paper ({NOTE})", paper.round(1).astype(object), "## Figures", *figures.items()]
page += [f"## All settings, localisation by {localisation}", settings, "## Every direction", every]
if export:
    pages = markdown_page(runs.home() / export / "quantizers.md", page)
    print(f"{len(pages)} files written: {', '.join(file.name for file in pages)}")
summary = means(matrix).set_index(["method", "task", "direction"])["score"]
here.write("scores.json", {"/".join(key): round(float(v), 3) for key, v in summary.items() if key[1] == "average"})
here.finish()
