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
# Each layer splits a modality into general features z, which all modalities share and whose code is the unified
# representation, and specific features s. They are disentangled if s says nothing of z, or at least nothing of the
# code. Training minimises CLUB, an upper bound on I(z; s), but the bound holds only as far as a fitted network
# q(s | z) is right, and no single number can be trusted by itself.
#
# So this notebook brackets the information: a bound from below, one from above, an independent estimate, each with its
# interval and beside what it says of permuted clips, where the truth is 0. Before that it tries every estimator on
# pairs whose information is known. Where the run has noisy specific features, their rate bounds the information from
# above whatever is fitted. At the end stands a verdict on each layer and modality, in one sentence.
#
# Nats: 1 nat is 1.44 bits. The first time takes minutes; results are kept in the training run's folder, and read
# the next time.

# %% tags=["parameters"]
run: str = ""  # run folder or its name; empty: the newest finished training run
split: str = "test"  # whose clips are compared; all mixes those the encoders know by heart with those they do not
clips: int = 800  # clips compared; 0 for all of the split whose continuous features were kept
steps: int = 1  # steps of each clip, spread evenly; 0 for all
seeds: int = 2  # repetitions of each estimator, with other splits and initial weights
nulls: int = 1  # repetitions on permuted clips
fit: int = 200  # most steps of a network's fit; more if figures say that one was still improving

# %% tags=[]
import json

import pandas as pd

from srcid import runs
from srcid.codes import CodeTable
from srcid.information import questions as ask
from srcid.information.browser import InformationBrowser
from srcid.information.calibration import calibrate, closed_forms
from srcid.information.disentanglement import certified_bounds, measure, own_pairs, verdicts
from srcid.information.estimates import Settings, estimates_cache
from srcid.information.figures.brackets import bracket_figure, leak_figure, training_information
from srcid.information.figures.estimators import calibration_figure
from srcid.information.leakage import leaks
from srcid.widget import offer_csv, progress

source = runs.pick(run)
table = CodeTable.open(source.codes)
offer_csv()
pd.set_option("display.max_colwidth", None)  # sentences in tables are shown whole
here = runs.current("06_club", globals(), source)
settings = Settings(seeds=seeds, nulls=nulls, steps=fit, bootstrap=60)
keep = estimates_cache(source.folder / "information")
chosen = ask.sample(table, clips, steps, split)

# %% tags=["nbval-check-output"]
print(f"layers: {table.layers}; modalities: {', '.join(table.modalities)}; compared: {chosen}")

# %% [markdown] tags=[]
# ## What training saw
#
# CLUB's estimate on the batches of training, the skill of its q on validation clips (below 0 it predicts s worse than
# no prediction, and the estimate means nothing), and, if the run has noisy specific features, their rate.

# %% tags=[]
metrics = [json.loads(line) for line in source.metrics.read_text().splitlines()]
training = training_information(metrics, table.modalities, table.layers, caption=f"Run {source.name}.")
here.save_figure(training, "training")
training

# %% tags=[]
halves, certified = ask.within(table), certified_bounds(metrics)
print(f"certified by the rate of s: {len(certified)} of {len(halves)} upper bounds on I(z; s)")
if not certified:
    print("this run has none: its specific features carry no noise; train with options={'specific_rate': 0.02}")

# %% [markdown] tags=[]
# ## Are the estimators sound here?
#
# Pairs of known information, made of this run's own features. A clip's z goes with the s of *another* clip of the same
# class, or with some probability of another class. Given the classes the two are then independent, and what they share
# is exactly what passes between the classes. Classes are cells of equal size of each side's own features, so features
# determine them, and the pairs have the geometry, the dimension and the number of the data below.
#
# On the dotted line an estimate is the truth; bounds from below should lie under it, those from above over it. What to
# look for: whether upper bounds fall *below* the line. There they promise too much, because with so few clips q finds
# nothing, and "no information" is what a bound with a useless q says.

# %% tags=[]
of_code = ask.of_codes(table) if table.stages else []
calibration = calibrate(own_pairs(table, halves + of_code, chosen), settings, keep, progress)
sound = calibration_figure(calibration, caption=f"Own features of {source.name}.")
here.save_figure(sound, "calibration")
sound

# %% [markdown] tags=[]
# Up to what value each estimator was sound on its pair, in nats. Inf: a lower bound that held everywhere; NaN: not
# sound even on the weakest pair.

# %% tags=[]
limits = pd.DataFrame(
    {panel: {case.estimate.name: calibration.limit(panel, case.estimate.name) for case in calibration.of(panel)}
     for panel in calibration.panels}
).T  # fmt: skip
limits.round(2)

# %% [markdown] tags=[]
# The same on closed forms of as many clips and columns: dense linear dependence, where CLUB's q is exactly right;
# dependence of two columns only; heavy tails, where the sides are large together without being correlated; and a cubed
# side, whose conditional no Gaussian q describes.

# %% tags=[]
width = ask.values_of(table, halves[0].x, chosen).shape[-1]
known = calibrate(closed_forms(len(chosen.rows), width), settings, keep, progress)
closed = calibration_figure(known, caption=f"{width} columns a side.")
here.save_figure(closed, "closed_forms")
closed

# %% tags=["nbval-check-output"]
crossed = [case for case in (*calibration.cases, *known.cases) if case.estimate.kind == "lower" and not case.passed]
print(f"lower bounds that lie above the truth: {len(crossed)}")

# %% [markdown] tags=[]
# ## General and specific features
#
# Each row is a bracket: filled symbols are reliable, open ones lie outside the calibrated range. A lower bound clearly
# above the shaded null answers the question whatever the upper bounds say: z and s share at least that much. The
# opposite, "they share nothing", needs a certified bound near 0. Without noise z and s are functions of one input, and
# their information has no upper limit in general.

# %% tags=[]
asked = dict(keep=keep, source=source.name, progress=progress)
features = measure(table, halves, chosen, settings, **asked).mark(calibration).certify(certified)
within = bracket_figure(features, table.modalities)
here.save_figure(within, "within")
within

# %% [markdown] tags=[]
# ## The code and the specific features
#
# The split's own measure: what s still tells of the code. It is finite, at most the logarithm of the codes in use, and
# the lower bound is what a probe proves that predicts the code from s on clips it has not seen. With few clips and
# many codes the probe proves little; more clips (another split, `clips=0`) raise it.

# %% tags=[]
codes = measure(table, of_code, chosen, settings, **asked).mark(calibration).certify(certified)
of_codes = bracket_figure(codes, table.modalities)
here.save_figure(of_codes, "codes")
of_codes

# %% [markdown] tags=[]
# ## Leakage, both ways
#
# A linear probe reads each factor from both halves, on clips it has not seen. A factor that all modalities show belongs
# in the general half, a modality's private one in its specific half. Noisy specific features are asked with their
# noise, as the decoder and the next layer get them. Filled symbols are the other way round: right of the bar (chance)
# they are leaks.

# %% tags=[]
leaked = leaks(table, chosen, settings, keep)
leaking = leak_figure(leaked, table.modalities)
here.save_figure(leaking, "leakage")
leaking

# %% [markdown] tags=[]
# ## General features of different modalities
#
# What CPC and code matching maximise: here a high lower bound is what one wants. The estimators are calibrated on pairs
# of these features too.

# %% tags=[]
crossing = ask.across(table)
known_across = calibrate(own_pairs(table, crossing, chosen), settings, keep, progress)
shared = measure(table, crossing, chosen, settings, **asked).mark(known_across)
between = bracket_figure(shared, table.modalities)
here.save_figure(between, "across")
between

# %% [markdown] tags=[]
# ## Codes of layer 1 and of later layers
#
# If the residual is new, the codes of layer 2 say little of those of layer 1. Codes are cheap to compare, so all clips
# and steps of the split are used. A plug-in estimate counts pairs of codes and is too high where pairs are rare: hold
# it against its shaded null. What layer 2 adds of known factors is asked in 04.

# %% tags=[]
every = ask.all_clips(table, split)
numbers = measure(table, ask.between_layers(table) if table.stages else [], every, settings, **asked)
residual = bracket_figure(numbers, table.modalities)
here.save_figure(residual, "layers")
residual

# %% [markdown] tags=[]
# ## Every number, on demand
#
# Choose a question, a layer, a pair and an estimator: its seeds, its null, the fit of its network, and everything that
# speaks against it. Below, the first pair of features in numbers.

# %% tags=[]
measured = [found for found in (features, codes, shared, numbers) if found.brackets]
InformationBrowser(*measured, modalities=table.modalities) if measured else print("nothing was measured")

# %% tags=[]
next((found.frame().round(2) for found in features.brackets.values()), None)

# %% [markdown] tags=[]
# ## The verdict
#
# A split is refuted by a lower bound above the null, and confirmed by a certified upper bound below 0.3 nats; else it
# stays undecided.

# %% tags=[]
verdict = verdicts(codes, features, leaked)
print("\n".join(found.finding for found in verdict))

# %% tags=["nbval-check-output"]
print(f"{len(verdict)} verdicts, of {table.layers} layers and {len(table.modalities)} modalities")

# %% tags=[]
table_of_pairs = pd.concat([found.frame() for found in measured], ignore_index=True)
table_of_pairs[["pair", "lower", "lower_low", "lower_high", "independent", "upper", "certified", "null"]].round(2)

# %% tags=[]
least = {f"at least, {pair}": round(found.lower.interval.low, 3) for pair, found in features.brackets.items()}
here.write("scores.json", least)
here.write("verdicts.json", {"findings": [found.finding for found in verdict]})
here.finish()
