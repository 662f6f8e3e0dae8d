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
# # Your data: from a folder of clips to codes
#
# You have videos, or sounds and pictures, or pictures and sentences. This notebook takes such a folder the whole way:
# clips, features, a trained model, and codes that can be seen and heard. It takes less than a minute.
#
# Without a `folder` it makes small films: a ball, a box or a kite appears for some seconds, each with a tone of its
# own. Name your folder and the same cells work on it.

# %% tags=["parameters"]
folder: str = ""  # folder with media and a list, or with one folder a label; empty for small films made here
steps: int = 6  # steps of a clip
seconds: float = 1.0  # seconds of a step
passes: int = 30  # passes over the training clips
seed: int = 0  # seed of weights, order and sampling

# %% tags=[]
import sys
from pathlib import Path

from IPython.display import HTML, display

from srcid import runs
from srcid.codebook.agreement import code_agreement
from srcid.codebook.exemplars import CodeIndex
from srcid.codebook.figures.pages import code_page
from srcid.codebook.figures.strips import code_strip
from srcid.codes import encode
from srcid.features import FeatureStore
from srcid.features.clip_media import card_media
from srcid.features.extraction import extract, make_clips
from srcid.features.figures import clip_view
from srcid.params import resolve
from srcid.training.loop import load, train

made = runs.home() / "data"
source = Path(folder) if folder else make_clips(made / "films")

# %% [markdown] tags=[]
# ## What is in the folder
#
# A list says which file is in which split, and what happens in it when. Without a list, folders are the labels:
# `dog/a.mp4`. Files of equal name are one clip: `dog/b.wav`, `dog/b.png`, `dog/b.txt`. `data/README.md` says more.

# %% tags=["nbval-check-output"]
files = sorted(path for path in source.rglob("*.*") if path.is_file())
print(f"{len(files)} files, such as {', '.join(path.name for path in files[:3])}")
for path in sorted(source.glob("*.csv")):
    print("\n".join(path.read_text().splitlines()[:4]))

# %% [markdown] tags=[]
# ## Features
#
# Each clip is cut into steps; a front end turns each step into numbers. These need no weights: mel bands of the
# sound, patches of colour, hashed parts of words. A network of your own takes their place by
# `front_ends={"video": "mymodule:build"}`. The same on the command line: `python -m srcid extract FOLDER STORE`.

# %% tags=[]
path = made / "stores" / f"extracted-{source.resolve().name}-{steps}x{seconds:g}"
cut = dict(steps=steps, seconds=seconds, progress=sys.stdout)
store = FeatureStore.open(path) if path.exists() else extract(source, path, **cut).store

# %% tags=["nbval-check-output"]
print(f"{store.clips} clips of {store.steps} steps")
for name, shape in store.shapes.items():
    print(f"{name:6s} {shape!s:12s} {store.provenance['front_ends'][name]['name']}")

# %% tags=["nbval-check-output"]
for split, rows in store.splits.items():
    print(f"{split:6s} {len(rows)} clips")
print("left out:", ", ".join(store.provenance["left_out"]) or "nothing")

# %% tags=[]
params = resolve(
    "demo", dim=32, specific_dim=32, pooled_dim=32, grid_channels=(32, 64), club_hidden=64, codebook_size=16,
    batch_size=16, epochs=passes, seed=seed,
)  # fmt: skip
run = runs.current("00_your_data", globals(), store)
first = int(next(iter(store.splits.values()))[0])
view = clip_view(store, first)
run.save_figure(view, "clip")
view

# %% [markdown] tags=[]
# ## Training
#
# A small model, so that this takes seconds. `02_train` trains larger ones and shows how it goes.

# %% tags=[]
result = train(store, params, run.folder)
table = encode(load(run.folder), store, run.codes)
print(f"{result.status} after {result.step} steps")

# %% [markdown] tags=[]
# ## A clip in codes
#
# The same colour is the same code; outlined, sound and picture have the same one. The model was told nothing
# but that they happen at the same time.

# %% tags=[]
strip = code_strip(table, int(store.splits.get("test", [first])[0]))
run.save_figure(strip, "code_strip")
strip

# %% tags=[]
agreed = code_agreement(table, layer=1).frame()
agreed[["first", "second", "where", "match", "match_low", "match_high", "chance"]].round(2)

# %% [markdown] tags=[]
# ## What a code looks and sounds like
#
# Of the codes of layer 1 the one that tells most of a class, with the steps that have it: from the nearest to the
# farthest, to be seen and heard.

# %% tags=[]
index = CodeIndex(table)
cards = [index.look_up(1, int(code), k=3, each=1) for code in index.used(1)[:8]]
telling = [card for card in cards if card.name and card.name[1].name != "background"]
card = max(telling, key=lambda card: card.name[1].share.low, default=cards[0])
media, near = (card_media(which, table) for which in (card.exemplars, card.near_misses))
display(HTML(code_page(card, table, media, near)))

# %% [markdown] tags=[]
# From here: `01_data` looks for faults in the store, `02_train` with `data` set to it trains at full size and asks
# what the codes are worth, and `04_codebook` explores them.

# %% tags=[]
print(f"data = 'data/stores/{path.name}'")
run.finish(result.status)
