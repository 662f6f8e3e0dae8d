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
# # SRCID workbench
#
# Train one codebook for several modalities, then see and hear what each code means. A dog barked, filmed and
# written is one thing; SRCID and its rivals give it one code. This page is where to start, and from where to
# open every run.

# %% tags=["parameters"]
most: int = 20  # runs in the table below

# %% tags=[]
from IPython.display import Image

from srcid import runs

pictures = runs.home() / "docs" / "results"

# %% [markdown] tags=[]
# ## What you get
#
# **A clip in codes.** Equal colour is equal code; outlined, two modalities agree.

# %% tags=[]
Image(pictures / "digits-code-strip.png", width=760)

# %% [markdown] tags=[]
# **What the codes are worth**: probes that learned from one modality, asked about another.

# %% tags=[]
Image(pictures / "digits-scores.png", width=760)

# %% [markdown] tags=[]
# **A sound finds pictures**, by codes alone; from the best answer to the worst.

# %% tags=[]
Image(pictures / "generalization-gallery-audio-video.png", width=760)

# %% [markdown] tags=[]
# ## Start with the data in the box
#
# Spoken, handwritten and written digits come with the package. The [tutorial](tutorial.ipynb) trains on them and ends,
# ten minutes and ten pictures later, with what one code has learned. Or open [02_train](02_train.ipynb), choose *Run*
# and then *Run All Cells*, and watch the curves; then open [04_codebook](04_codebook.ipynb) and ask the explorer for
# `seven`.
#
# ## Bring your own
#
# From a folder of videos, or of sounds and pictures, to codes in a minute: [00_your_data](00_your_data.ipynb). Or one
# array `[clips, steps, width]` for each modality:
#
# ```python
# from srcid.features import FeatureStore
# FeatureStore.create("data/mine", features={"sound": sound, "image": image},
#                     splits={"train": range(400), "val": range(400, 450), "test": range(450, 500)})
# ```
#
# Then set `data = "data/mine"` in [01_data](01_data.ipynb) and in [02_train](02_train.ipynb). Labels, masks, sounds and
# pictures are described where `FeatureStore.create` is, and `data/README.md` names published features.
#
# ## Runs
#
# Choose a run in the list: the notebooks below then look into that one. Without a choice they take the newest.

# %% tags=[]
runs.RunIndex().show(["tutorial", "04_codebook", "05_projection", "06_club", "07_generalization"], most)

# %% [markdown] tags=[]
# ## Which notebook answers what
#
# | notebook | asks |
# |---|---|
# | [tutorial](tutorial.ipynb) | What did a code learn? Ten minutes, one picture a step |
# | [00_your_data](00_your_data.ipynb) | How do my own clips become codes? |
# | [01_data](01_data.ipynb) | What is in the data? Is anything wrong with it? |
# | [02_train](02_train.ipynb) | How does training go, and what are the codes worth? |
# | [03_quantizers](03_quantizers.ipynb) | Which quantiser or method is better, and how sure is that? |
# | [04_codebook](04_codebook.ipynb) | Which codes are used, by whom, for what? |
# | [05_projection](05_projection.ipynb) | Where do codes and features lie? |
# | [06_club](06_club.ipynb) | Are general and specific features really disentangled? |
# | [07_generalization](07_generalization.ipynb) | What are the codes worth on the paper's tasks? |
# | [08_ablation](08_ablation.ipynb) | Does less information between the halves go with better codes? |
