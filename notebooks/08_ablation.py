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
# # Does less information go with better codes? Runs with and without CLUB
#
# 06 measures how far *one* run's general and specific features are split. This notebook compares many: runs with
# CLUB's term in all layers and taken from layer 1, from layer 2, from both. Does the term lower the information that
# z and s share, and do codes get better by it?
#
# Make the runs, and look again:
#
#     python -m srcid sweep 02_train preset=demo+srcid seed=0..4 "club_off=[],[1],[2],[1,2]"
#     python -m srcid run 08_ablation folder=runs
#
# Every run is measured once (some seconds a layer and modality), and the result is kept in its folder.

# %% tags=["parameters"]
folder: str = ""  # folder of runs with CLUB on and off; empty: all runs of this project
data: str = ""  # name of the data or start of its checksum; empty: the data with the most runs
split: str = "test"  # whose clips are compared; all mixes those the encoders know by heart with those they do not
clips: int = 800  # clips compared; 0 for all of the split whose continuous features were kept
steps: int = 1  # steps of each clip, spread evenly; 0 for all
fit: int = 200  # most steps of a network's fit
localisation: str = "segment_f1"  # its score: precision as in the paper, f1, segment_f1

# %% tags=[]
from srcid import runs
from srcid.information.ablation import comparable_runs, compare_settings, measure_run, relate
from srcid.information.estimates import Settings
from srcid.information.figures.ablation import relation_figure, settings_figure
from srcid.widget import offer_csv, progress

collected = runs.collect(folder, data=data)
offer_csv()
here = runs.current("08_ablation", globals())
settings = Settings(seeds=1, nulls=0, steps=fit, bootstrap=60)

# %% [markdown] tags=[]
# ## The runs
#
# Those of two layers or more that differ from a partner in nothing but where CLUB is on.

# %% tags=["nbval-check-output"]
compared = comparable_runs(collected.params)
print(f"runs that differ in CLUB's layers only: {len(compared)}")
if not compared:
    print("make some with the sweep above; there is nothing to compare below")

# %% tags=[]
measured = {}
for place, name in enumerate(compared, start=1):
    progress(f"{place} of {len(compared)}: {name}")
    measured[name] = measure_run(collected.codes[name], clips, steps, split, settings)

# %% [markdown] tags=[]
# ## What CLUB's term changes
#
# CLUB's estimate is what the loss minimises, so it should fall where the term is on. What can be relied on is InfoNCE,
# a lower bound, and what probes prove that s tells of the code. Leaks are points of accuracy above chance, of shared
# factors read from s and private ones read from z.

# %% tags=[]
frame = compare_settings(collected.directions, collected.params, measured, metrics=dict(localisation=localisation))
tasks = [key for key in frame if key.startswith("score/")]
layers = sorted({key.rsplit("/", 1)[1] for key in frame if key.startswith("mi/")})
titles = {f"mi/{e}/{k}": f"I(z{k}; s{k}), {e}" for k in layers for e in ("infonce", "club")}
titles |= {f"code/{k}": f"I(c{k}; s{k}), at least" for k in layers}
titles |= {"leak/shared": "shared factors in s", "leak/private": "private factors in z"}
titles |= {key: f"{key.removeprefix('score/')} m → n" for key in tasks}
origin = f"Localisation by {localisation}; {split} clips. Data: {collected.params['data'].iloc[0]}."
contrast = settings_figure(frame, titles, caption=origin)
here.save_figure(contrast, "ablation")
contrast

# %% tags=["nbval-check-output"]
print(f"settings compared: {frame['setting'].nunique() if len(frame) else 0}")

# %% [markdown] tags=[]
# ## Measured information against scores
#
# Whether runs with less measured information score better across modalities: a rank correlation needs no straight line,
# and its interval says how little a few runs can tell.

# %% tags=[]
pairs = [(f"mi/{e}/{k}", key) for key in tasks for k in layers for e in ("infonce", "club")]
relations = relate(frame, pairs)
scatter = relation_figure(frame, relations, titles, caption=origin)
here.save_figure(scatter, "relation")
scatter

# %% [markdown] tags=[]
# Settings of CLUB may differ in both without one causing the other, so the words below also give the correlation of
# runs within a setting.

# %% tags=[]
inside = relate(frame, pairs, within="setting")
for kind, found in (("all runs", relations), ("within a setting", inside)):
    for (x, y), relation in found.items():
        if not isinstance(relation, str):
            print(f"{titles[x]} and {titles[y]}, {kind}: {relation.finding}")
    for reason in dict.fromkeys(relation for relation in found.values() if isinstance(relation, str)):
        print(f"{kind}, {sum(relation == reason for relation in found.values())} of {len(pairs)}: {reason}")

# %% tags=["nbval-check-output"]
print(f"relations asked: {len(pairs)}")

# %% tags=[]
here.write("scores.json", {"runs": len(frame)})
here.finish()
means = frame.groupby("setting", sort=False).mean(numeric_only=True).rename(columns=titles) if len(frame) else frame
means.filter(items=list(titles.values())).round(2).T if len(frame) else None
