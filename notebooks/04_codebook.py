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
# # The codebook: how codes are used, whether modalities agree, what codes mean
#
# Everything here reads the code table of a finished training run, never the model. Where something cannot be
# shown (no labels, one modality, a quantiser without codes) a sentence says why, and the rest goes on.
#
# In JupyterLab the last sections are live: choose a code in the map or with the slider and see what is behind it.

# %% tags=["parameters"]
run: str = ""  # run folder or its name; empty: the newest finished training run
split: str = "test"  # whose clips are counted; empty for all clips
stage: int = 0  # 0 joins all stages to one symbol; else one stage of rvq, or one dimension of fsq
label: str = ""  # what codes are compared with; empty: event, or else the first label
layer: int = 1  # layer of the code to look at closely
code: int = -1  # code to look at closely, -1 for the most used one of the layer
row: int = -1  # row of the clip to show in codes, -1 for the first test clip
other: str = ""  # compared on the same clips: another run (folder or name), "epoch 3", or "epoch 3, epoch 7"

# %% tags=[]
from itertools import combinations

import pandas as pd
from IPython.display import display

from srcid import runs
from srcid.codebook.added_information import added_information
from srcid.codebook.agreement import code_agreement, confusion
from srcid.codebook.browser.clips import ClipCodes
from srcid.codebook.browser.explorer import CodeExplorer
from srcid.codebook.browser.finder import ClipFinder
from srcid.codebook.browser.pages import write_code_pages
from srcid.codebook.browser.usage import UsageBrowser
from srcid.codebook.figures.agreement import agreement_figure, confusion_map, matching_figure
from srcid.codebook.figures.meaning import added_information_figure, association_map
from srcid.codebook.figures.usage import sharing_map, usage_summary
from srcid.codebook.matching import match_codes
from srcid.codebook.meaning import association
from srcid.codebook.usage import code_usage, sharing
from srcid.codes import CodeTable
from srcid.epochs import compared
from srcid.own_input import OwnInput
from srcid.symbols import for_each, label_names, layers_and_stages, place_name
from srcid.widget import offer_csv, show

source = runs.pick(run)
table = CodeTable.open(source.codes)
offer_csv()
here = runs.current("04_codebook", globals(), source)

# %% tags=["nbval-check-output"]
counted = split if split in table.splits else None  # a store may have no such split
layers = [dict(layer=k, stage=stage or None, clips=counted) for k in range(1, table.layers + 1)]
number = len(table.splits[counted]) if counted else table.clips
print(f"counted: {number:,} of {table.clips:,} clips ({counted or 'all'})")
print(f"{table.steps} steps, modalities {', '.join(table.modalities)}")
print(f"{table.layers} layers, {table.stages} symbols a step, from alphabets of {table.sizes}")
print(f"labels: {', '.join(label_names(table)) or 'none'}")

# %% [markdown] tags=[]
# ## How many codes are in use
#
# Perplexity is the number of codes that would be in use if all were used equally; its logarithm is the bits
# that a step really carries. Each modality has its row, and "joint" takes all of them together: where joint lies far
# above the single modalities, they use different codes. With several stages every stage has its rows too. How it grew
# during training is drawn by `02_train`.

# %% tags=[]
usage = for_each(code_usage, table, [dict(**place, clips=counted) for place in layers_and_stages(table)])
summary = usage_summary(*usage)
here.save_figure(summary, "usage")
summary

# %% tags=["nbval-check-output"]
for found in usage.results:
    where = place_name(found.layer, found.stage)
    print(f"{where}: {found.size} codes, counted for {', '.join(found.names)}; {found.sample}")
print("\n".join(usage.notes) or "nothing was left out")

# %% [markdown] tags=[]
# ## Which codes are shared
#
# A code that only one modality uses cannot carry anything across: the modality gap, seen in codes. Codes stand in
# the order of how many modalities use them, then of how evenly.

# %% tags=[]
shared = for_each(sharing, table, layers)
gap = sharing_map(*shared)
here.save_figure(gap, "sharing")
gap

# %% [markdown] tags=[]
# `exclusive` are the codes that this modality alone uses, `mass` the share of its steps on them.

# %% tags=[]
pd.concat([found.frame() for found in shared.results] or [pd.DataFrame()]).round(3)

# %% [markdown] tags=[]
# ## Do the modalities agree
#
# At the same clip and step, do two modalities get the same code? Chance depends on how codes are used, so it
# stands beside each number. Two modalities may also agree in meaning but not in name: then mutual information is
# high while few codes are equal. Background is often the easiest thing to agree on; look at events.

# %% tags=[]
agreed = for_each(code_agreement, table, layers)
agreement = agreement_figure(agreed.results, table.modalities, agreed.notes)
here.save_figure(agreement, "agreement")
agreement

# %% tags=[]
fields = ["layer", "first", "second", "where", "match", "match_low", "match_high", "chance", "nmi", "ami", "distance"]
pd.concat([found.frame() for found in agreed.results] or [pd.DataFrame(columns=fields)])[fields].round(3)

# %% [markdown] tags=[]
# Which code of one modality meets which of another. On the diagonal the codes are equal. A strong cell off the
# diagonal is one meaning under two names; a faint row is a code that means nothing to the other modality.

# %% tags=[]
cases = [dict(first=a, second=b, **where) for where in layers for a, b in combinations(table.modalities, 2)]
met = for_each(confusion, table, cases)
squares = confusion_map(met.results, table.modalities, met.notes or agreed.notes)
here.save_figure(squares, "confusion")
squares

# %% [markdown] tags=[]
# ## What codes mean
#
# Which classes go with which codes, all modalities together. A pure code is given to one class only; lift says how
# many times more frequent the class is with the code than without. Clips are what is counted as evidence, because
# the steps of a clip resemble each other, and p-values are corrected for the number of codes and classes.

# %% tags=[]
meant = for_each(association, table, [dict(label=label or None, **where) for where in layers])
meaning = association_map(meant.results, table.modalities, meant.notes)
here.save_figure(meaning, "meaning")
meaning

# %% [markdown] tags=[]
# The three codes that go with each class most strongly, background last. The map of all codes further down has a table
# of codes that can be sorted.

# %% tags=[]
pd.concat([found.by_class().assign(layer=found.layer) for found in meant.results] or [pd.DataFrame()]).round(3)

# %% tags=[]
print("\n".join(meant.notes) or "nothing was left out")

# %% [markdown] tags=[]
# ## What a later layer adds
#
# Does layer 2 say something of a known factor that layer 1 did not say? That is the conditional mutual information
# of factor and layer-2 codes given the layer-1 codes. The estimate needs many clips, and labels took no part in
# training, so all clips are used here. A factor that one modality alone carries should not be in shared codes.

# %% tags=[]
later = range(2, table.layers + 1)
asked = [
    dict(layer=k, label=name, modality=m)
    for k in later
    for name in label_names(table)
    for m in (None, *table.modalities)
]
added = for_each(added_information, table, asked)
gain = added_information_figure(added.results, table.modalities, added.notes)
here.save_figure(gain, "added_information")
gain

# %% tags=[]
fields = ["label", "modality", "given_information", "information", "low", "high", "p_value", "remaining"]
pd.concat([found.frame() for found in added.results] or [pd.DataFrame(columns=fields)])[fields].round(3)

# %% [markdown] tags=[]
# ## All codes at a glance
#
# In JupyterLab, choose layer, stage, modality and label; click a column of the map or move the slider (arrow
# keys) to choose a code. The page in the next section follows, and the map follows the page. Both count the same clips.

# %% tags=[]
explorer = CodeExplorer(table, layer=layer, code=code, clips=counted)
browser = UsageBrowser(table, clips=counted, on_code=explorer.select)
explorer.follow(browser.mark)
here.save_figure(browser.figure(), "codes_at_a_glance")
show(browser)

# %% [markdown] tags=[]
# ## One code, closely
#
# Numbers say how often a code is used; to know what it means, look at the clip-steps it was given to: the nearest,
# those in between, the farthest, and the near misses, which got another code but have this one second. In JupyterLab
# choose a code with the slider, by its number, or by the name of a class, which finds the codes that mark it best. A
# click on a cell of the strips below goes to that code too.
#
# Look for codes whose examples are the same thing in every modality, and for the opposite: a code that one modality
# uses for one thing and another modality for something else.

# %% tags=[]
show(explorer)

# %% [markdown] tags=[]
# A page like this for every code, with an index of all codes, as one HTML file that opens offline. In it
# `#layer1/code17` leads to a code.

# %% tags=[]
pages = for_each(write_code_pages, table, [dict(path=here.folder / "codes.html", clips=counted, label=label or None)])
print("\n".join([*(f"written: {path.name}" for path in pages.results), *pages.notes]))

# %% [markdown] tags=[]
# The sounds nearest to the code, one after the other, where the data has sounds. The sentences below say what
# could not be shown of this code, and why.

# %% tags=[]
display(*explorer.players())
print("\n".join(explorer.notes) or "nothing was left out")

# %% [markdown] tags=[]
# ## Clips in codes, two runs or epochs one above the other
#
# One clip as its codes: a row for each modality and layer, a column for each step, the events on top. Equal
# colour is equal code; outlined cells agree with another modality. With `other`, a second run or an epoch of this one
# (`other = "epoch 3"`, or two of them, `"epoch 3, epoch 7"`), the same clip stands below in those codes. Numbers of two
# runs have nothing to do with each other; colours have, as each code below takes the colour of the code above that it
# is matched with.

# %% tags=[]
tables = compared(source, other)
clips = ClipCodes(tables, clip=row, on_code=explorer.select)
here.save_figure(clips.figure(), "code_strips")
show(clips)

# %% [markdown] tags=[]
# Is it the same codebook? Codes of both are matched one to one, so that as many steps as possible have matched codes.
# Look at the share beside chance, at codes without a partner, and at those whose majority class is another.

# %% tags=[]
common = range(1, min(each.layers for each in tables.values()) + 1)
matched = for_each(match_codes, tables, [dict(layer=k, clips=counted, label=label or None) for k in common if other])
matching = matching_figure(matched.results, matched.notes if other else ["set other to a second run or an epoch"])
if other:
    here.save_figure(matching, "matching")
matching

# %% tags=[]
pd.concat([found.frame().assign(layer=found.layer) for found in matched.results] or [pd.DataFrame()]).round(3)

# %% tags=["nbval-check-output"]
print(f"{len(tables)} table(s) on {table.clips:,} clips of {table.steps} steps in {len(table.modalities)} modalities")

# %% [markdown] tags=[]
# ## Find clips
#
# Clips with a step for which all that is asked holds at once: a class, a code, two modalities whose codes differ. The
# most doubtful step decides a clip's place: a margin of 0 means that another code was as near. What was found can be
# kept under a name, with a note: it then lies beside the run, and here as `finder.kept["the name"]`.

# %% tags=[]
finder = ClipFinder(table, split=counted or "", folder=here.folder / "selections", on_code=explorer.select)
show(finder)

# %% tags=[]
finder.frame().head()

# %% [markdown] tags=[]
# ## Try your own
#
# Type a word, load a sound or a picture, or, for digits, draw one by clicks. It works for all data whose features are
# made here: digits, stamps, and your own media unless another network made their features. The model of the run
# encodes it (the one cell here that asks the model): its codes in every layer with their margins, what they mean, and
# the nearest clips of the other modalities.

# %% tags=[]
try:
    own = OwnInput(source, counted)
    own.word.value = "seven"
    show(own)
except ValueError as reason:  # data whose features are not made here, or no codes
    print(reason)

# %% tags=[]
scores = {f"agreement/{p.layer}/{p.first}-{p.second}/{p.where}": p.match.value for a in agreed.results for p in a.pairs}
whole = [found for found in usage.results if found.stage == (stage or None)]
scores |= {f"perplexity/{found.layer}": found.perplexity["joint"].value for found in whole}
here.write("scores.json", {name: round(float(value), 4) for name, value in scores.items()})
here.finish()
