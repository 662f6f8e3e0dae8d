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
# # Maps: which features and codes lie near each other
#
# A map puts points of 64 or 256 dimensions on a page so that neighbours stay neighbours as far as possible.
# Here: the codebooks, the general features before quantisation, and the specific features of a trained run.
# Two questions matter most. Do the modalities mix, as a shared code needs? And do classes lie together?
#
# A map always looks convincing. So each one comes with numbers: its *trustworthiness* (1 if neighbours on the
# map are neighbours in truth, about 0.5 for a random map), the share of nearest neighbours it keeps, and
# how many neighbours belong to another modality, against the share by chance.

# %% tags=["parameters"]
run: str = ""  # run folder or its name; empty: the newest finished training run
points: int = 1800  # most points of a map, all modalities together; 50000 still work in the browser
perplexity: float = 0.0  # of t-SNE; 0: 30, or less for few points
neighbours: int = 0  # of UMAP; 0: 15, or less for few points
color: str = "label"  # column that colours most maps: label, code, split, step or a label's name such as fine
seed: int = 0  # seed of sampling and maps

# %% tags=[]
import pandas as pd
from IPython.display import display

from srcid import runs
from srcid.codebook.browser.explorer import CodeExplorer
from srcid.codes import CodeTable
from srcid.maps.atlas import Atlas, Missing, quality_table
from srcid.maps.browser import LinkedMaps
from srcid.maps.figures.panels import map_figure
from srcid.maps.projection import Projection
from srcid.style import write_page
from srcid.widget import offer_csv, show

source = runs.pick(run)
table = CodeTable.open(source.codes)
offer_csv()
here = runs.current("05_projection", globals(), source)
atlas = Atlas(table, limit=points, seed=seed, cache=here.folder / "maps")
settings = {"tsne": dict(perplexity=perplexity or None), "umap": dict(neighbours=neighbours or None), "pca": {}}
layers = range(1, table.layers + 1)

# %% tags=["nbval-check-output"]
print(f"{table.layers} layers, {table.stages} symbols a step, {table.clips:,} clips of {table.steps} steps")
print(f"modalities: {', '.join(table.modalities)}")
print(f"labels: {', '.join(table.labels) or 'none'}")

# %% [markdown] tags=[]
# ## The codebook
#
# One dot is one code vector, larger the more it is used. Grey codes on the left are used by all modalities;
# a code in a modality's colour is used by that one only and can carry nothing across. On the right: the
# class at most of the steps with that code.

# %% tags=[]
books = [atlas.codebook(k, **settings["tsne"]) for k in layers]
codebooks = map_figure([(book, c) for book in books for c in ("modality", "label")], table.modalities, columns=2)
here.save_figure(codebooks, "codebooks")
codebooks

# %% [markdown] tags=[]
# ## General features before quantisation
#
# The same map in three colours. Good codes need modalities that overlap (left), inside islands that mean
# something (middle). Where all modalities have the same code at a clip and step, the right panel is orange.

# %% tags=[]
general = {k: atlas.features(k, **settings["tsne"]) for k in layers}
panels = [(general[k], c) for k in layers for c in ("modality", color, "agreement")]
figures = [map_figure(panels[i : i + 3], table.modalities) for i in range(0, len(panels), 3)]
for k, figure in zip(layers, figures, strict=True):
    here.save_figure(figure, f"general_{k}")
    display(figure)

# %% [markdown] tags=[]
# All maps of features show the same clips and steps, each in every modality. Where there are more than
# `points` of them, they are drawn at random within each class, in proportion.

# %% tags=["nbval-check-output"]
shown = [m for m in general.values() if isinstance(m, Projection)]
for m in shown[:1]:
    print(f"{len(m.coordinates):,} points: {', '.join(m.notes) or 'all that were kept'}")
    print(f"known of each: {', '.join(m.columns)}")

# %% [markdown] tags=[]
# ## Can the maps be believed?
#
# The same points by three methods. What all of them show is in the data; what only one shows is likely its
# own. t-SNE and UMAP share the exact nearest neighbours of every point. PCA invents no islands, and keeps
# fewer neighbours.

# %% tags=[]
methods = [atlas.features(1, method=method, **own) for method, own in settings.items()]
compared = map_figure([(m, color) for m in methods], table.modalities)
here.save_figure(compared, "methods")
compared

# %% [markdown] tags=[]
# ## Specific features
#
# Each modality has its own specific encoder, so each gets a map of its own. What the modalities share should
# not be seen here: if classes form islands, the specific part still holds what belongs to the general one.

# %% tags=[]
specific = [atlas.features(1, "specific", [m], **settings["tsne"]) for m in table.modalities]
private = map_figure([(m, color) for m in specific], table.modalities)
here.save_figure(private, "specific")
private

# %% [markdown] tags=[]
# ## Linked maps
#
# Draw a lasso in one map: the same clips and steps are marked in the others, the codes they have are marked
# in the codebook, and the table below says what they are. Take "point and click" and the mouse over a point
# shows and plays what is there; a click marks all points with its code, and the code explorer below turns to that
# code. "mark" does the same for one class, modality or code without a mouse.
#
# To begin with, the most used code of layer 1 is marked, the one that the explorer shows.

# %% tags=[]
explorer = CodeExplorer(table)
linked = LinkedMaps(
    [*general.values(), books[0]],
    table.modalities,
    on_code=explorer.select,
    table=table,
    folder=here.folder / "selections",
)
explorer.on_code = linked.choose_code
explorer.select(1)
here.save_figure(linked.figure(), "linked")
show(linked)

# %% tags=[]
show(explorer)

# %% [markdown] tags=[]
# What is marked is a table. Give it a name above and press "keep": it then lies beside the run, and here as
# `linked.kept["the name"]`.

# %% tags=[]
linked.frame().head()

# %% [markdown] tags=[]
# ## Three dimensions
#
# A third dimension keeps a few more neighbours. Turn it with the mouse.

# %% tags=[]
deep = atlas.features(1, method="umap", dimensions=3, **settings["umap"])
turned = map_figure([(deep, "modality"), (deep, color)], table.modalities)
here.save_figure(turned, "deep")
turned

# %% [markdown] tags=[]
# ## All maps in numbers
#
# In percent, ± half a 95 % interval over clips where these are known.

# %% tags=[]
wanted = [*books, *general.values(), *methods[1:], *specific, deep]
quality_table(wanted)

# %% [markdown] tags=[]
# ## For other viewers
#
# Each map as a parquet file: coordinates and what is known of each point, with method, parameters, seed and
# quality in the file's metadata. The linked maps also as one HTML file that opens offline.

# %% tags=["nbval-check-output"]
exports = here.folder / "exports"
exports.mkdir(exist_ok=True)
maps = [m for m in wanted if isinstance(m, Projection)]
for m in maps:
    m.to_parquet(exports / f"{m.name}.parquet")
write_page(linked.figure(), exports / "linked.html")
print(f"{len(maps)} maps in {len(list(exports.glob('*.parquet')))} parquet files, and linked.html")
for m in shown[:1]:
    read = pd.read_parquet(exports / f"{m.name}.parquet")
    print(f"{len(read):,} rows of {', '.join(read.columns[:8])} and more")

# %% tags=[]
problems = dict.fromkeys(m.finding for m in wanted if isinstance(m, Missing))
here.write("scores.json", {f"trustworthiness/{m.name}": round(m.quality.trustworthiness, 4) for m in maps})
print("\n".join(problems) or "every map could be made")
here.finish()
