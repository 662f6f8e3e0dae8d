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
# # Tutorial: what did a code learn?
#
# Ten minutes, one picture a step. At the end a code that the data chose is seen and heard, and you say what it
# means.
#
# The data are made to be simple: each clip is ten steps long, and at some steps a digit is *spoken*, *drawn* and
# *written* at once. A model read all three and had to describe each step by one of a few dozen codes, the same
# codes for sound, picture and text. Nobody told it what a digit is.
#
# Run the cells one by one (Shift and Enter). Nothing here changes a run, so try other values as you like.

# %% tags=["parameters"]
run: str = ""  # run folder or its name; empty: the newest finished training run, or one made now
row: int = -1  # row of the clip that is looked at, -1 for the first test clip
code: int = -1  # code of layer 1 that is asked about in the end, -1 for the one that names its class best

# %% tags=[]
from IPython.display import Audio, display

from srcid import runs
from srcid.codebook.agreement import code_agreement
from srcid.codebook.browser.explorer import CodeExplorer
from srcid.codebook.figures.agreement import agreement_figure
from srcid.codebook.figures.meaning import association_map
from srcid.codebook.figures.strips import code_strip
from srcid.codebook.figures.usage import usage_summary
from srcid.codebook.meaning import association
from srcid.codebook.usage import code_usage
from srcid.codes import CodeTable
from srcid.features import FeatureStore
from srcid.features.clip_media import clip_media
from srcid.features.figures import clip_view
from srcid.maps.atlas import Atlas
from srcid.maps.figures.panels import map_figure
from srcid.widget import show

# %% [markdown] tags=[]
# ## A trained run
#
# A run is a folder with all that one training left. The list offers those you have; if there is none, the default
# one is trained now, which takes about four minutes.

# %% tags=[]
source = runs.pick(run)
here = runs.current("tutorial", globals(), source)

# %% [markdown] tags=[]
# Two things are read below: the *store*, which holds the data, and the *code table*, which holds what the model
# said of every clip. The model itself is not needed any more.

# %% tags=["nbval-check-output"]
table = CodeTable.open(source.codes)
store = FeatureStore.open(table.store_path)
print(f"{table.clips:,} clips of {table.steps} steps in {', '.join(table.modalities)}")
print(f"{table.layers} layers with {table.sizes[0]} codes each")

# %% [markdown] tags=[]
# ## The data: one clip
#
# Sound, picture and text of one clip, one above the other; the bars on top say what happens when. The bars are for
# judging afterwards. The model never saw them.

# %% tags=[]
clip = row if row >= 0 else int(table.splits["test"][0])
media = clip_media(store, clip)
clip_view(store, clip, media)

# %% tags=[]
display(*(Audio(samples, rate=rate) for samples, rate in media.sounds.values()))

# %% [markdown] tags=[]
# ## How it was trained
#
# Training begins with codes that mean nothing. Look at two panels of what was measured: how many codes are in use, and
# at what share of steps two modalities have the same code.

# %% tags=[]
source.load_figure("curves")

# %% [markdown] tags=[]
# ## The same clip in codes
#
# A row for each modality, a column for each step. **Equal colour is equal code; outlined cells agree with another
# modality.** Where the bars say that a digit is there, the outlines should be too.

# %% tags=[]
code_strip(table, clip)

# %% [markdown] tags=[]
# ## Are the codes used?
#
# A codebook is worth nothing if training used three of its codes and forgot the rest. *Perplexity* is the number of
# codes that would be in use if all were used equally.

# %% tags=[]
use = code_usage(table, layer=1, clips="test")
usage_summary([use])

# %% [markdown] tags=[]
# ## Do the modalities agree?
#
# Sound and picture of one moment should have one code. By chance they sometimes do, so chance stands beside every
# number, and background, on which agreement is easy, is counted apart from events.

# %% tags=[]
agreed = code_agreement(table, layer=1, clips="test")
agreement_figure([agreed], table.modalities)

# %% tags=["nbval-check-output"]
pairs = dict.fromkeys(f"{pair.first} with {pair.second}" for pair in agreed.pairs)
print(f"compared: {', '.join(pairs)}; at {', '.join(dict.fromkeys(pair.where for pair in agreed.pairs))} steps")

# %% [markdown] tags=[]
# ## What do codes mean?
#
# Rows are classes, columns are codes. A full cell: this code is given when that happens. A column with one full cell
# is a code with one meaning.

# %% tags=[]
meant = association(table, layer=1, clips="test")
association_map([meant], table.modalities)

# %% [markdown] tags=[]
# In words: for each class the code that goes with it most strongly, with the share of the code's steps that are of
# the class. `low` and `high` are a 95 % interval.

# %% tags=[]
best = meant.by_class(1)
best.round(2)

# %% [markdown] tags=[]
# ## Where do codes lie?
#
# Each dot is a code, larger the more it is used; near dots are similar codes. On the left: who uses it. On the
# right: what it means.

# %% tags=[]
book = Atlas(table, cache=here.folder / "maps").codebook(1, "pca")
map_figure([(book, "modality"), (book, "label")], table.modalities, columns=2)

# %% [markdown] tags=[]
# ## What are the codes worth?
#
# A small classifier learns digits from the codes of *one* modality, say sound, and is then asked about pictures,
# without learning again. It can only answer if the codes mean the same in both.

# %% tags=[]
source.load_figure("scores")

# %% [markdown] tags=[]
# ## What did the code learn?
#
# The data choose the code: of all classes but background, the one whose code names it best (the highest lower end
# of the interval). Before you read on, look at the examples, play the sounds, and say what they have in common.

# %% tags=[]
named = best[best["class"] != "background"].sort_values("low", ascending=False)
chosen = code if code >= 0 else int(named["code"].iloc[0]) if len(named) else -1
explorer = CodeExplorer(table, layer=1, code=chosen, clips="test")
show(explorer)

# %% [markdown] tags=[]
# Heard: the sounds nearest to the code, one after the other.

# %% tags=[]
display(*explorer.players())

# %% [markdown] tags=[]
# And in a sentence. A code is given a name only where the whole interval lies above the usual share of that class.

# %% tags=[]
print(explorer.card.finding if explorer.card else explorer.notes[0])

# %% tags=["nbval-check-output"]
print(f"{len(table.modalities)} modalities, one codebook: layer {explorer.layer} of {table.layers}")

# %% [markdown] tags=[]
# ## Go on
#
# - [04_codebook](04_codebook.ipynb): every code, clips found by what they hold, and your own voice or drawing in codes.
# - [07_generalization](07_generalization.ipynb): exchange this code for another and see which answers follow.
# - [03_quantizers](03_quantizers.ipynb): is one codebook better than its rivals?
# - [00_your_data](00_your_data.ipynb): the same with your own clips.

# %% tags=[]
here.finish()
