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
# # Data: what a model will learn from
#
# SRCID learns from clips that show the same events in several modalities, step by step, and never sees
# their labels. This notebook opens a store of such clips and looks at it the way one should before
# training: how much there is, what it is called, what a clip looks and sounds like, and whether anything is
# wrong with it.
#
# `data` is `digits` (spoken by synthetic voices or, with `fsdd`, by people; handwritten; and written), `stamps`
# (pictures with their sounds and names, of a Debian package that `data/README.md` names), `synthetic` (made up here,
# every hidden factor known) or the folder of any store.

# %% tags=["parameters"]
data: str = "digits"  # digits, stamps, synthetic, or the folder of a store
fsdd: str = ""  # folder with the Free Spoken Digit recordings, to take them for the speech of digits
row: int = 0  # row of the clip to look at
generator: dict = {}  # options of the data set by name, such as noise or steps

# %% tags=[]
import pandas as pd
from IPython.display import Audio, display

from srcid import runs
from srcid.features import audit
from srcid.features.browser import ClipBrowser
from srcid.features.clip_media import clip_media
from srcid.features.figures import clip_view, store_overview
from srcid.widget import has_front_end, offer_csv

store = runs.open_store(data, generator, fsdd)
offer_csv()
run = runs.current("01_data", globals(), store)

# %% [markdown] tags=[]
# ## What is in the store
#
# A clip has T steps; at each step every modality has a feature vector `(F,)` or a grid `(H, W, F)`.

# %% tags=["nbval-check-output"]
print(f"{store.clips:,} clips of {store.steps} steps")
for name, shape in store.shapes.items():
    print(f"{name:10s} {shape!s:14s} {store.features[name].dtype} per step")

# %% [markdown] tags=[]
# Labels are for judging, not for training. One that a single modality carries is private to it: what the
# model should put into that modality's *specific* features, and keep out of the shared codes.

# %% tags=["nbval-check-output"]
pd.DataFrame(
    {
        "label": name,
        "kind": info.kind,
        "per": info.level,
        "classes": len(info.classes),
        "carried by": "all" if len(info.visible_in) == len(store.modalities) else ", ".join(info.visible_in),
    }
    for name, info in store.label_info.items()
).set_index("label")

# %% [markdown] tags=[]
# ## Where it comes from
#
# Licence and citation travel with a store; keep them when you publish something made from it.

# %% tags=[]
for key, value in store.provenance.items():
    if key not in ("params", "scales"):
        print(f"{key}: {value}" if not isinstance(value, dict) else f"{key}:")
        for part, text in value.items() if isinstance(value, dict) else ():
            print(f"    {part}: {text}")

# %% [markdown] tags=[]
# ## Counts, and the balance of classes
#
# Nothing is ever chosen on test clips. A class that is rare in one split makes scores there mean little.

# %% tags=[]
found = audit(store)
overview = store_overview(found)
run.save_figure(overview, "counts")
overview

# %% tags=["nbval-check-output"]
for split, count in found.clips.items():
    print(f"{split:8s} {count:6,} clips")

# %% [markdown] tags=[]
# ## One clip, in all its modalities
#
# The labels over time stand on top. Grey ones are shared by all modalities; a coloured one is carried by the
# modality of that colour, which stays the same in every figure of every notebook.

# %% tags=[]
assert 0 <= row < store.clips, f"found row={row}, need 0 to {store.clips - 1}"
media = clip_media(store, row)
view = clip_view(store, row, media)
run.save_figure(view, "clip")
view

# %% [markdown] tags=[]
# Where a store names its recordings, this is how the clip sounds (silence is background).

# %% tags=[]
for name, (samples, rate) in media.sounds.items():
    print(f"{name}: {len(samples) / rate:.1f} s")
    display(Audio(samples, rate=rate))
print("\n".join(media.problems) or f"recordings in {len(media.sounds)} of {len(store.modalities)} modalities")

# %% [markdown] tags=[]
# In JupyterLab the slider leafs through the clips of a split.

# %% tags=[]
if has_front_end():
    browser = ClipBrowser(store, row)
    display(browser.widget)

# %% [markdown] tags=[]
# ## Is anything wrong?
#
# The audit reads every value once. Constant features, zero or repeated steps (padding that no mask tells
# of), clips that occur twice, and above all clips that occur in two splits, are how results become too
# good. A step that repeats in one modality only, as a word said twice, is counted in the table and no problem; one that
# repeats in every modality at once is.

# %% tags=[]
found.frame()

# %% tags=["nbval-check-output"]
print("\n".join(found.problems) or "no problems found")

# %% tags=[]
assert not any(found.non_finite.values()), f"values that are not finite: {found.non_finite}"
assert all(found.clips[split] for split in store.splits), f"an empty split: {found.clips}"
run.finish()
