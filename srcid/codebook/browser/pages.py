"""The pages of all codes as one HTML file that opens offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcid.codebook.exemplars import CodeIndex
from srcid.codebook.figures.pages import all_pages, code_page, thumbnail
from srcid.codebook.meaning import association
from srcid.codebook.usage import sharing
from srcid.features.clip_media import card_media
from srcid.files import whole_file
from srcid.symbols import for_each

if TYPE_CHECKING:
    import pandas as pd


def write_code_pages(
    table: Any, path: str | Path, clips: Any = None, label: str | None = None, title: str = "Codes", most: int = 200
) -> Path:
    """Write a page for each used code, and an index of all, into one file; ``FILE#layer1/code17`` opens a page.

    Args:
        table: a CodeTable.
        clips: split, rows, or None for all clips.
        label: label whose classes name the tiles and whose top codes are listed; None for "event", or the first.
        most: largest number of codes a layer that get a page, the most used ones.

    Raises:
        InspectionError: the table has no codes.
    """
    index = CodeIndex(table, clips)
    layers, pages, notes = {}, {}, [f"Counted: {index.sample}."]
    links = {(layer, int(code)) for layer in index.layers for code in index.used(layer)[:most]}
    for layer in index.layers:
        used = index.used(layer)
        cards = {int(code): index.look_up(layer, int(code), k=6, each=1) for code in used[:most]}
        examples = []
        for code, card in cards.items():
            media, near = card_media(card.exemplars, table), card_media(card.near_misses, table)
            pages[layer, code] = code_page(card, table, media, near, links)
            examples.append(thumbnail(media))
        layers[layer] = _overview(table, layer, clips, label, cards).assign(example=examples)
        if len(used) > most:
            notes.append(f"Layer {layer} uses {len(used):,} codes; the {most} most used ones have a page.")
    notes += for_each(association, table, [dict(label=label, clips=clips)]).notes
    with whole_file(Path(path)) as draft:
        draft.write_text(all_pages(title, layers, pages, notes))
    return Path(path)


def _overview(table: Any, layer: int, clips: Any, label: str | None, cards: dict[int, Any]) -> pd.DataFrame:
    """One row a code, the most used first, and the top codes of each class."""
    import pandas as pd

    case = dict(layer=layer, clips=clips)
    shared = for_each(sharing, table, [case | dict(bootstrap=0)]).results
    found = for_each(association, table, [case | dict(label=label)]).results
    name = found[0].label if found else ""
    best = {code: max((f for f in card.labels.get(name, ()) if f.telling), key=lambda f: f.share.value, default=None)
            for code, card in cards.items()}  # fmt: skip
    frame = pd.DataFrame(
        {
            "code": list(cards),
            "steps": [sum(card.counts.values()) for card in cards.values()],
            "class": [f.name if f else "" for f in best.values()],
            "share": [f.share.value if f else float("nan") for f in best.values()],
        }
    )
    if shared:
        frame["sharedness"] = frame["code"].map(dict(zip(shared[0].codes, shared[0].sharedness, strict=True)))
    if found:
        top = found[0].by_class()
        frame.attrs["by_class"] = top[top["code"].isin(frame["code"])]
    return frame
