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
# # Is it disentangled? Mutual information, layer by layer
#
# Each layer splits a modality into general features z, which all modalities share, and specific features s. They are
# disentangled if z and s say nothing of each other: if their mutual information I(z; s) is 0. Training minimises
# CLUB, an upper bound, but the bound holds only as far as a fitted network q(s | z) is right, and no single number
# can be trusted by itself.
#
# So this notebook brackets the information: a bound from below, one from above, an independent estimate, each with its
# interval and beside what it says of permuted clips, where the truth is 0. Before that it tries every estimator on
# data whose information is known, and marks in all later figures what lies outside the range where it was sound.
#
# Nats: 1 nat is 1.44 bits. Results are kept in the training run's folder, and the next time they are read.

# %% tags=["parameters"]
run: str = ""  # run folder or its name; empty: the newest finished training run
folder: str = ""  # folder of runs with CLUB on and off, for the ablation; empty: no ablation
clips: int = 800  # clips compared; 0 for all whose continuous features were kept
steps: int = 1  # steps of each clip, spread evenly; 0 for all
seeds: int = 2  # repetitions of each estimator, with other splits and initial weights
nulls: int = 1  # repetitions on permuted clips
general: str = "general"  # what is held against s: general (z) or quantized (q)
fit: int = 200  # most steps of a network's fit; more if figures say that one was still improving
largest: int = 256  # largest dimension of the calibration
localisation: str = "segment_f1"  # its score in the ablation: precision as in the paper, f1, segment_f1
export: str = ""  # folder that gets the figures as pictures and the answer as text

# %% tags=[]
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
from IPython.display import display

from srcid import runs
from srcid.codebook.figures.meaning import addition_figure
from srcid.codebook.novelty import addition
from srcid.codes import CodeTable
from srcid.features import FeatureStore, SyntheticParams, latent_information
from srcid.information import disentanglement as ask
from srcid.information.ablation import ablation_records
from srcid.information.bracket import Settings
from srcid.information.browser import InformationBrowser
from srcid.information.calibration import calibrate, calibrate_factors
from srcid.information.disentanglement import measure
from srcid.information.figures.brackets import bracket_figure, estimate_card, training_information
from srcid.information.figures.calibration import calibration_figure
from srcid.information.figures.disentanglement import leak_figure, relation_figure, settings_figure
from srcid.information.keep import Keep
from srcid.information.ranks import rank_relation
from srcid.runs import report
from srcid.symbols import for_each

source = runs.pick(run)
table = CodeTable.open(source.codes)
own = dict(folder=folder, clips=clips, steps=steps, seeds=seeds, nulls=nulls, general=general)
own |= dict(fit=fit, largest=largest)
here = runs.current("06_club", params=dict(run=source.name, **own), data=source.name)
keep = Keep(source.folder / "information")

# %% tags=["nbval-check-output"]
print(f"{table.layers} layers; modalities: {', '.join(table.modalities)}; {table.clips:,} clips")
infos = table.label_info
for name, info in infos.items():
    shown = "all modalities" if set(info.visible_in) == set(table.modalities) else ", ".join(info.visible_in)
    print(f"{name:16s} {info.kind}, one a {info.level}, {len(info.classes)} classes, shown by {shown}")

# %% [markdown] tags=[]
# ## What training saw
#
# CLUB's estimate on the batches of training, by layer and modality. Layer 2 opens when the smoothed estimate falls
# below a share of its peak, or when the longest wait is over; the title says which. Look at the scale of s below: with
# it alone an estimate can be pushed down although s says as much of z as before.

# %% tags=[]
metrics = [json.loads(line) for line in source.metrics.read_text().splitlines()]
training = training_information(metrics, table.modalities, table.layers, caption=f"Run {source.name}.")
here.save_figure(training, "training")
training

# %% [markdown] tags=[]
# ## Can the estimators be believed?
#
# Pairs of variables whose mutual information is known, of as many clips as are compared below. On the dotted line an
# estimate is the truth; bounds from below should lie under it, those from above over it. Gaussian pairs are the easiest
# case for CLUB, since its q is then exactly right; the cubic ones have a conditional that no Gaussian q describes.
# Clusters are features held against codes. Codes held against codes have a calibration of their own: they are cheap, so
# that all clips are used.
#
# What to look for: in how many dimensions the upper bounds fall *below* the line. There they promise too much, because
# with so few clips q finds nothing, and "no information" is what a bound with a useless q says.

# %% tags=[]
chosen = ask.sample(table, clips, steps)
every = ask.whole(table)
quick = dict(bootstrap=60, steps=fit, check=10, patience=3, lr=5e-3)
settings = Settings(seeds=seeds, nulls=nulls, constant="drop", **quick)
once = replace(settings, seeds=1, nulls=0)
size = dict(clips=len(chosen.rows), steps=len(chosen.steps), settings=once)
dims = tuple(dim for dim in (4, 16, 64, 256) if dim <= largest)
strengths = (0.0, 1.0, 4.0, 10.0)
calibration = keep(calibrate, dims=dims, strengths=strengths, **size)
calibration += keep(calibrate, dims=dims[:1] + dims[2:3], strengths=(1.0, 4.0), shapes=("cubic",), **size)
calibration += keep(calibrate, dims=(8, 64), strengths=(0.0, 1.0, 2.0), shapes=("clusters",), **size)
known = calibration_figure(calibration)
here.save_figure(known, "calibration")
known

# %% tags=[]
codes = [*ask.between_layers(table), *ask.across(table, "codes")]
variables = {side for pair in codes for side in (pair.x, pair.y)} if table.stages else ()
in_use = max((len(set(ask.values_of(table, variable, every).flat)) for variable in variables), default=8)
whole = dict(dims=tuple(sorted({8, 64, in_use})), clips=len(every.rows), settings=once)
of_codes = keep(calibrate, strengths=(0.0, 1.0, 2.0, 4.0), shapes=("channel",), **whole)
known_codes = calibration_figure(of_codes)
here.save_figure(known_codes, "calibration_codes")
known_codes

# %% [markdown] tags=[]
# Bias is estimate less truth; an interval covers if it holds the truth, for a bound if the truth is on its side. The
# last columns say up to what value an estimate of that many dimensions passed; NaN: not tested, or not even sound
# without dependence; inf: a lower bound that passed everywhere.

# %% tags=[]
quality = pd.DataFrame({**calibration.summary(), "plug-in": of_codes.summary()["plug-in"]}).T
for dim in dims:
    quality[f"sound to, d = {dim}"] = [calibration.tested_range(name, dim) for name in quality.index]
quality.round(2)

# %% tags=["nbval-check-output"]
lower = calibration.kind == "lower"
crossed = int((lower & (calibration.low > calibration.truth + 0.25)).sum())
print(f"{lower.sum()} lower bounds on known pairs, {crossed} of them more than 0.25 nats above the truth")

# %% [markdown] tags=[]
# ## The data's own known factors
#
# The synthetic store knows how its features were made, so that the information they carry of each factor can be
# computed (for vectors; on a grid the place of an event is random). Estimates from the features themselves:

# %% tags=["nbval-check-output"]
store = FeatureStore.open(table.store_path, verify=False)
truths, reason = {}, "the factors of these data are known, how features follow from them is not"
if store.provenance.get("name") == "synthetic":
    made = SyntheticParams(**store.provenance["params"])
    busy = float(store.labels["event"][:, chosen.steps].any(axis=-1).mean())
    vectors = [m for m in store.modalities if len(store.shapes[m]) == 1]
    truths = {(m, name): latent_information(made, m, name, busy) for m in vectors for name in store.labels}
    reason = ""
print(reason or f"{len(truths)} pairs of a modality and a factor with known information, in nats:")
print("\n".join(f"{m:8s} {name:16s} {nats:.2f}" for (m, name), nats in truths.items()))

# %% tags=[]
factors = {name: ask.values_of(table, ask.Variable("label", label=name), chosen) for name in table.label_info}
inputs = {m: store.features[m][chosen.rows][:, chosen.steps] for m in dict.fromkeys(m for m, _ in truths)}
if truths:
    found = calibrate_factors(inputs, factors, truths, settings=once)
    seen = calibration_figure(found, caption="Truth: exact posterior of the generator.")
    here.save_figure(seen, "factors_known")
    display(seen)

# %% [markdown] tags=[]
# ## General and specific features
#
# The question of the title. Each row is a bracket: filled symbols may be believed, open ones lie outside the range of
# the calibration. A lower bound clearly above the shaded null answers the question whatever the upper bounds say: z and
# s share at least that much. The opposite, "they share nothing", needs an upper bound near 0 *and* filled.

# %% tags=[]
options = dict(calibration=calibration, keep=keep, source=source.name)
progress = dict(progress=lambda line: print(line, flush=True))
apart = measure(table, ask.within(table, general), chosen, settings, **options, **progress)
halves = bracket_figure(apart, table.modalities)
here.save_figure(halves, "within")
halves

# %% tags=[]
print("\n".join(apart.sentences()))

# %% [markdown] tags=[]
# ## General features of different modalities
#
# What CPC and code matching maximise: here a high lower bound is what one wants.

# %% tags=[]
shared = measure(table, ask.across(table), chosen, settings, **options, **progress)
between = bracket_figure(shared, table.modalities)
here.save_figure(between, "across")
between

# %% [markdown] tags=[]
# ## Codes of layer 1 and of layer 2
#
# If the residual is new, the codes of layer 2 say little of those of layer 1. Codes are cheap to compare, so all
# clips and steps are used. A plug-in estimate counts pairs of codes and is too high where pairs are rare: hold it
# against its shaded null.

# %% tags=[]
cheap = {**options, "calibration": of_codes}
numbers = measure(table, codes, every, settings, **cheap)
residual = bracket_figure(numbers, table.modalities)
here.save_figure(residual, "codes")
residual

# %% [markdown] tags=[]
# ## Known factors
#
# How much the codes, the general and the specific features say of each factor: lower bounds in nats, from a linear
# probe or a table of counts, on clips it has not seen.

# %% tags=[]
asked = [measure(table, ask.with_factors(table, "codes"), every, settings, **cheap)]
for side in ("general", "specific"):
    asked.append(measure(table, ask.with_factors(table, side), chosen, settings, **options))
nats = pd.DataFrame(
    {"factor": str(pair.y), "variable": str(pair.x), "at least": found.lower.value}
    for answers in asked
    for pair, found in answers.brackets.items()
)
nats.pivot(index="variable", columns="factor", values="at least").clip(lower=0).round(2) if len(nats) else nats

# %% [markdown] tags=[]
# ## Leakage, both ways
#
# A linear probe reads each factor from both halves, on clips it has not seen. A factor that all modalities show belongs
# into the general half, a modality's private one into its specific half. Filled symbols are the other way round: right
# of the bar (chance) they are leaks.

# %% tags=[]
leaks, notes = ask.leaks(table, chosen, settings, keep)
leaking = leak_figure(leaks, table.modalities, notes)
here.save_figure(leaking, "leakage")
leaking

# %% [markdown] tags=[]
# ## What layer 2 adds
#
# Bits that the codes of layer 2 say of each factor and those of layer 1 do not.

# %% tags=[]
# None: the steps of all modalities together
whose = {n: info.visible_in if len(info.visible_in) == 1 else (None, *info.visible_in) for n, info in infos.items()}
asks = [dict(label=n, layer=k, modality=m) for k in range(2, table.layers + 1) for n in whose for m in whose[n]]
added = for_each(addition, table, asks)
gain = addition_figure(added.results, table.modalities, added.notes)
here.save_figure(gain, "added")
gain

# %% [markdown] tags=[]
# ## Every number, on demand
#
# Choose a question, a layer, a pair and an estimator: its seeds, its null, the fit of its network, and everything that
# speaks against it. Below, the same as a static figure for the first pair.

# %% tags=[]
measured_here = [found for found in (apart, shared, numbers, *asked) if found.brackets]
InformationBrowser(*measured_here, modalities=table.modalities) if measured_here else print("nothing was measured")

# %% tags=[]
if apart.brackets:
    pair, bracket = next(iter(apart.brackets.items()))
    card = estimate_card(pair, bracket, bracket.upper.name)
    here.save_figure(card, "card")
    display(card)

# %% [markdown] tags=[]
# ## Ablation: does less information go with better codes?
#
# Runs with CLUB in all layers and taken from layer 1, from layer 2, from both. Make them, and look again:
#
#     python -m srcid sweep 02_train data=digits fsdd=PATH preset=demo+srcid seed=0..4 "club_off=[],[1],[2],[1,2]"
#     python -m srcid run 06_club run=NAME_OF_ONE folder=runs
#
# Every run is measured once (some seconds a layer and modality) and the result is kept in its folder.

# %% tags=[]
collected = runs.collect(folder) if folder else None
several = collected.params if folder else pd.DataFrame(columns=["family", "codebook_size", "layers", "method"])
varied = several.groupby(["family", "codebook_size"])["method"].transform("nunique") > 1  # in CLUB's layers alone
compared = list(several.index[(several["layers"] > 1) & varied])
print(collected.summary if folder else "no folder of runs was named: no ablation")

# %% tags=[]
tables = {name: CodeTable.open(collected.codes[name]) for name in compared}
measured, leaked = {}, {}
for place, (name, other) in enumerate(tables.items(), start=1):
    print(f"{place} of {len(tables)}: {name}", flush=True)
    kept, few = Keep(other.path.parent / "information"), ask.sample(other, clips, steps)
    measured[name] = measure(other, ask.within(other, general), few, once, keep=kept)
    leaked[name] = ask.leaks(other, few, once, kept, misplaced=True)[0]
records = []
if compared:
    scores = dict(representation="all", metrics=dict(localisation=localisation))
    records = ablation_records(collected.directions, collected.params, measured, leaked, **scores)

# %% tags=[]
titles = {f"mi/{e}/{k}": f"I(z{k}; s{k}), {e}" for k in (1, 2) for e in ("infonce", "club-exact")}
titles |= {"leak/shared": "shared factors in s", "leak/private": "private factors in z"}
tasks = list(dict.fromkeys(key for record in records for key in record if key.startswith("score/")))
titles |= {key: f"{key.removeprefix('score/')} m → n" for key in tasks}
table_of_runs = pd.DataFrame(records)
origin = f"Localisation by {localisation}. Data {several['data'].iloc[0]}." if records else ""
contrast = settings_figure(records, titles, caption=origin)
here.save_figure(contrast, "ablation")
contrast

# %% [markdown] tags=[]
# Whether runs with less measured information score better across modalities: a rank correlation needs no straight line,
# and its interval says how little a few runs can tell. Settings of CLUB may differ in both without one causing the
# other, so the words below also give the correlation of runs within a setting.

# %% tags=[]
places = [(f"mi/{e}/{k}", key) for key in tasks for k in (1, 2) for e in ("infonce", "club-exact")]
relations, inside = {}, {}
for x, y in places:
    try:
        usable = table_of_runs.dropna(subset=[x, y])
        relations[x, y] = rank_relation(usable[x], usable[y])
        inside[x, y] = rank_relation(usable[x], usable[y], usable["setting"])
    except (ValueError, KeyError) as error:
        relations.setdefault((x, y), str(error))
scatter = relation_figure(records, places, relations, titles, caption=origin)
here.save_figure(scatter, "relation")
scatter

# %% [markdown] tags=[]
# ## In words

# %% tags=[]
answer = [f"{apart.verdict()} (Run {source.name}; {chosen}.)"]
answer += [f"- {line}" for line in apart.sentences()]
for private, text in ((False, "shared factors in specific features"), (True, "private factors in general features")):
    wrong = [leak.probe for leak in leaks if not leak.belongs and leak.private == private]
    worst = max(wrong, key=lambda probe: probe.score - probe.chance, default=None)
    count = sum(probe.leaks for probe in wrong)
    answer += [f"- {text}: a leak in {count} of {len(wrong)} places" + (f", at worst {worst}" if worst else "")]
for (x, y), relation in relations.items():
    answer += [f"- {titles[x]} and {titles[y]} across runs: {relation}"]
    answer += [f"  within a setting of CLUB: {inside[x, y]}"] if (x, y) in inside else []
print("\n".join(answer))

# %% tags=[]
if export:
    kind = Path(str(source.status["values"].get("data") or "run")).name
    drawn = {path.stem for path in here.figures.glob("*.json")} - ({"ablation", "relation"} if not records else set())
    for name in sorted(drawn):
        report.draw(here.load_figure(name), Path(export) / f"disentanglement-{kind}-{name}.png")
    tables = [pd.DataFrame(apart.rows()).drop(columns="verdict"), nats]
    tables += [table_of_runs.groupby("setting", sort=False).mean(numeric_only=True)] if records else []
    texts = ["\n".join(answer), *(frame.round(2).to_string() for frame in tables)]
    (Path(export) / f"disentanglement-{kind}.txt").write_text("\n\n".join(texts) + "\n")

# %% tags=[]
least = {f"at least, {pair}": round(found.lower.interval[0], 3) for pair, found in apart.brackets.items()}
here.write("scores.json", least)
assert all(found.lower.value <= (found.lower.cap or 1e9) for found in apart.brackets.values())
here.finish()
