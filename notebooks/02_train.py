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
# # Training: codes that several modalities share
#
# SRCID splits each modality, step by step, into a *general* part, quantised with one codebook for all
# modalities, and a *specific* part. The next layer searches the specific part again for something shared:
# the semantic residual. This notebook trains such a model, keeps what it says of every clip in a code
# table, and asks what the codes are worth.
#
# In JupyterLab the curves are live and Stop really stops; run the cell again and training goes on.
# Everything lands in a run folder; running the notebook again with the same parameters continues there.

# %% tags=["parameters"]
data: str = "digits"  # digits, stamps, synthetic, or the folder of a store
fsdd: str = ""  # folder with the Free Spoken Digit recordings, to take them for the speech of digits
preset: str = "demo"  # names of srcid.params.PRESETS joined by +, such as demo+dcid
seed: int = 0  # seed of weights, order and sampling
row: int = -1  # row of the clip whose codes are shown, -1 for the first test clip
generator: dict = {}  # options of the data set by name, such as noise or steps
options: dict = {}  # any other field of srcid.params.Params by name

# %% tags=[]
import pandas as pd
from IPython.display import display

from srcid import runs
from srcid.codebook.agreement import code_agreement
from srcid.codebook.figures.strips import code_strip
from srcid.codebook.figures.usage import usage_summary
from srcid.codebook.usage import code_usage
from srcid.codes import encode
from srcid.evaluation.figures.scores import score_figure
from srcid.evaluation.probes import fit_probes
from srcid.params import resolve
from srcid.pipeline import write_scores
from srcid.symbols import for_each
from srcid.training.live import LiveTraining
from srcid.training.loop import load, train
from srcid.training.warmstart import REASONS
from srcid.widget import offer_csv, progress

params = resolve(preset, seed=seed, **options)
store = runs.open_store(data, generator, fsdd)
offer_csv()
run = runs.current("02_train", globals(), store)

# %% [markdown] tags=[]
# ## What is trained on what
#
# `01_data` looks at the data more closely.

# %% tags=["nbval-check-output"]
print(f"{store.clips:,} clips of {store.steps} steps: " + ", ".join(f"{s} {len(r):,}" for s, r in store.splits.items()))
for name, shape in store.shapes.items():
    print(f"{name:10s} {shape}")

# %% tags=["nbval-check-output"]
shown = [
    "layers",
    "dim",
    "quantizer",
    "codebook_size",
    "epochs",
    "batch_size",
    "lr",
    "warm_start",
    "warm_threshold",
]
shown += ["club_estimator", "club_side", "protocol", "probe_seeds", "seed"]
for name in shown:
    print(f"{name:16s} {getattr(params, name)}")

# %% [markdown] tags=[]
# ## Training
#
# Layer 2 joins once layer 1 has separated its two parts: when the estimate of the mutual information I(z; s)
# between general and specific features has stopped falling in every modality (the warm start), or the longest
# wait is over. The title of the curves says which.

# %% tags=[]
caption = f"Preset {preset}, data {data}, seed {seed}: "
caption += f"B = {params.batch_size}, D = {params.dim}, L = {params.codebook_size}."
live = LiveTraining(train, store, params, run.folder, caption=caption)
live.show()
result = await live.finished()

# %% [markdown] tags=[]
# Worth looking for: the scale of the specific features (an estimate of mutual information also falls when
# they merely shrink), the share of codes in use (a collapsed codebook uses few), and above all the share of
# steps at which two modalities have the same code.

# %% tags=[]
curves = live.figure()
run.save_figure(curves, "curves")
curves

# %% tags=[]
print(f"{result.status} at step {result.step} of {result.steps}")
for layer, (step, why) in enumerate(zip(result.opened, result.opened_by, strict=True), start=1):
    print(f"layer {layer}: " + ("never opened" if step is None else f"opened at step {step}, {REASONS[why]}"))
closed = [layer for layer, step in enumerate(result.opened, start=1) if step is None]
print(f"layers {closed} never opened: their codes are an untrained layer's" if closed else "all layers took part")

# %% [markdown] tags=[]
# ## The code table
#
# From here on nobody asks the model: every later notebook reads this table.

# %% tags=[]
model = load(run.folder, params.device)
table = encode(model, store, run.codes)

# %% tags=["nbval-check-output"]
print(
    f"layers: {table.layers}; modalities: {', '.join(table.modalities)}; clips: {table.clips:,}; steps: {table.steps}"
)
print(f"symbols a step: {table.stages}; size of each alphabet: {table.sizes}")

# %% [markdown] tags=[]
# ## One clip in codes
#
# The same colour is the same code. Where two modalities agree, their cells are outlined.

# %% tags=[]
strip = code_strip(table, row if row >= 0 else int(store.splits["test"][0]))
run.save_figure(strip, "code_strip")
strip

# %% [markdown] tags=[]
# ## How the codes are used
#
# Perplexity is the number of codes that would be in use if all were used equally. A code that only one
# modality uses cannot carry anything across.

# %% tags=[]
layers = range(1, table.layers + 1)
use = for_each(code_usage, table, [dict(layer=k) for k in layers])
usage = usage_summary(*use)
run.save_figure(usage, "usage")
usage

# %% tags=[]
agreed = for_each(code_agreement, table, [dict(layer=k, clips="test") for k in layers])
columns = ["layer", "first", "second", "where", "match", "match_low", "match_high", "chance", "sample"]
frames = [found.frame() for found in agreed.results] or [pd.DataFrame(columns=columns)]
pd.concat(frames, ignore_index=True)[columns].round(3)

# %% [markdown] tags=[]
# ## What the codes are worth
#
# A small probe learns the events from the codes of *one* modality and is then asked about the codes of
# every modality, without learning again. If the codes mean the same in all of them, it understands those it
# has never seen. Probes learn on training clips, are chosen on validation clips and scored on test clips.
#
# `all` joins the codes of all layers, `only1` takes layer 1 alone, `continuous` the features before
# quantisation.

# %% tags=[]
probes = fit_probes(table, params, progress=progress)
summary = probes.frame()
scores = score_figure(summary, table.modalities, probes.notes)
run.save_figure(scores, "scores")
scores

# %% [markdown] tags=[]
# Percent, with 95 % intervals over probe seeds; `chance` always answers the most frequent class.

# %% tags=[]
display(probes.table().T)
print("\n".join(probes.notes) or "nothing was left out")

# %% [markdown] tags=[]
# ## In words

# %% tags=[]
codes = summary[summary["representation"] == "all"]
for task, part in codes.groupby("task", sort=False):
    across, within = part[~part["same"]], part[part["same"]]
    above = (across[["clip_low", "seed_low"]].min(axis=1, skipna=False) > across["chance"]).sum()
    print(
        f"{task}: on modalities it has never seen, a probe reaches {across['score'].mean():.1f} % "
        f"({across['score'].min():.1f} to {across['score'].max():.1f} %), "
        f"on its own {within['score'].mean():.1f} %; chance is {part['chance'].iloc[0]:.1f} %, "
        f"and {above} of {len(across)} directions lie above it by both intervals"
    )

# %% tags=[]
means = summary.groupby(["task", "same", "representation"], sort=False)["score"].mean().unstack()
questions = {"only1": "with the codes of later layers", "continuous": "with quantisation"}
for task, reference in ((t, r) for t in summary["task"].unique() for r in questions if r in means):
    gain = means.loc[task, "all"] - means.loc[task, reference]
    print(f"{task}: {questions[reference]} {gain[False]:+.1f} points across modalities and {gain[True]:+.1f} within")

# %% [markdown] tags=[]
# Scores, what they cost, and how many bits a step's codes have go to the run's folder, where sweeps find
# them. A run that was stopped keeps none: it is not over.

# %% tags=[]
if result.status == "finished":
    write_scores(run, model, live.metrics, table, probes)
run.finish(result.status)
