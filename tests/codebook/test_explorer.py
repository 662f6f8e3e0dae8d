"""The code explorer and the clip view: every control does what it says, and nothing takes long."""

from __future__ import annotations

import pytest

from srcid.codebook.browser.clips import ClipCodes
from srcid.codebook.browser.explorer import CodeExplorer
from srcid.codebook.browser.usage import UsageBrowser
from srcid.codebook.figures.pages import code_page
from srcid.codebook.figures.strips import code_strip, code_strips
from srcid.codebook.meaning import association
from srcid.features.clip_media import card_media
from srcid.symbols import InspectionError
from tests.codebook.media import folder, store, table
from tests.helpers import media_store, tiny_store, tiny_table

__all__ = ["folder", "store", "table"]  # fixtures


@pytest.fixture
def explorer(table):
    return CodeExplorer(table)


def offered(row):
    return [button for button in row.buttons if button.layout.display != "none"]


def shows(explorer, layer, code):
    """Every part of the view is about this code."""
    card = explorer.index.look_up(layer, code)
    assert (explorer.layer, explorer.code) == (explorer.layers.value, explorer.slider.value) == (layer, code)
    assert f"Layer {layer}, code {code}" in explorer.view.value
    media, near = (card_media(e, explorer.table) for e in (card.exemplars, card.near_misses))
    assert explorer.view.value == code_page(card, explorer.table, media, near)
    assert [b.description.split(" ")[0] for b in offered(explorer.neighbours)] == [str(n.code) for n in card.neighbours]
    assert explorer.guard.message.value == ""
    return True


def test_it_begins_with_the_most_used_code(explorer):
    assert shows(explorer, 1, int(explorer.index.used(1)[0]))
    assert explorer.slider.max == explorer.index.sizes[1] - 1


def test_the_slider_the_layer_and_the_program_choose(explorer):
    explorer.slider.value = 5
    assert shows(explorer, 1, 5)
    explorer.layers.value = 2
    assert shows(explorer, 2, int(explorer.index.used(2)[0]))
    explorer.select(1, 3)
    assert shows(explorer, 1, 3)


def test_buttons_walk_through_the_codes_by_use_and_stop_at_the_ends(explorer):
    used = [int(code) for code in explorer.index.used(1)]
    explorer.previous.click()
    assert shows(explorer, 1, used[0])
    seen = [explorer.code]
    for _ in used:
        explorer.next.click()
        seen.append(explorer.code)
    assert seen == [*used, used[-1]]
    explorer.previous.click()
    assert explorer.code == used[-2]


def test_from_a_code_never_used_the_buttons_lead_back_to_used_ones(store, folder):
    explorer = CodeExplorer(tiny_table(store, folder / "large", codebook_size=90), clips="test")
    layer, code = next((k, c) for k in (1, 2) for c in range(90) if c not in explorer.index.used(k))
    explorer.select(layer, code)
    assert shows(explorer, layer, code) and "never used in 8 test clips" in explorer.view.value
    assert any("never used" in note for note in explorer.notes)
    explorer.next.click()
    assert explorer.code == explorer.index.used(layer)[-1]


def test_a_search_shows_the_best_code_and_offers_the_others(explorer):
    matches = explorer.index.search(1, "horn")
    assert "event: horn" in explorer.search.options and len(matches) > 1
    explorer.search.value = "horn"
    assert shows(explorer, 1, matches[0].code)
    assert [b.description for b in offered(explorer.found)] == [f"{m.code} · {m.purity:.0%}" for m in matches]
    offered(explorer.found)[1].click()
    assert shows(explorer, 1, matches[1].code)
    explorer.search.value = "7"
    assert shows(explorer, 1, 7) and offered(explorer.found) == []


def test_what_cannot_be_found_is_said_and_changes_nothing(explorer):
    before = explorer.code
    explorer.search.value = "hron"
    assert "did you mean" in explorer.guard.message.value and explorer.code == before
    explorer.search.value = ""
    assert shows(explorer, 1, before)
    with pytest.raises(InspectionError, match="codes 0 to 11 in layer 1, not a code 12"):
        explorer.select(1, 12)
    with pytest.raises(InspectionError, match="not a layer 3"):
        explorer.select(3, 0)
    assert shows(explorer, 1, before)


def test_neighbours_and_companions_lead_on(explorer):
    card = explorer.card
    offered(explorer.neighbours)[1].click()
    assert shows(explorer, 1, card.neighbours[1].code)
    companion = explorer.card.together[2][0]
    offered(explorer.companions[2])[0].click()
    assert shows(explorer, 2, companion.code)
    assert offered(explorer.companions[2]) == [] and len(offered(explorer.companions[1])) > 0


def test_followers_hear_of_every_change_once(table):
    heard = []
    explorer = CodeExplorer(table, layer=2, code=4, on_code=lambda *place: heard.append(place))
    explorer.select(1, 6)
    explorer.slider.value = 2
    explorer.layers.value = 2
    assert heard == [(2, 4), (1, 6), (1, 2), (2, explorer.index.used(2)[0])]


def test_map_and_page_show_the_same_code_of_the_same_clips_whoever_is_asked(table):
    explorer = CodeExplorer(table, clips="test")
    browser = UsageBrowser(table, clips="test", on_code=explorer.select)
    explorer.follow(browser.mark)
    assert browser.code == explorer.code and "test clips" in explorer.view.value
    assert browser.figure().layout.title.text.startswith("Layer 1 (8 test clips)")
    explorer.select(2, int(explorer.index.used(2)[1]))
    assert (browser.layer.value, browser.code) == (2, explorer.code)
    browser.select(browser.codes[0])
    assert (explorer.layer, explorer.code) == (2, browser.codes[0])
    found = association(table, "event", layer=2, clips="test").frame().set_index("code").loc[explorer.code]
    shares = {c.name: c.share.value for c in explorer.card.labels["event"]}
    assert shares[found["class"]] == pytest.approx(found["purity"])  # the same number in both views


def test_the_static_twin_and_the_players_need_no_front_end(explorer):
    explorer.search.value = "bark"
    assert explorer.figure().data == explorer.view.value
    heard = []
    for code in explorer.index.used(1):
        explorer.select(1, int(code))
        heard += explorer.players()
        assert len(explorer.players()) == any(e.media for e in explorer.card.exemplars["first"])
    assert heard and "audio/wav" in heard[0]._repr_html_()


def test_all_controls_have_a_description_or_a_tooltip(explorer):
    import ipywidgets

    def walk(widget):
        yield widget
        for child in getattr(widget, "children", ()):
            yield from walk(child)

    controls = [w for w in walk(explorer.widget) if isinstance(w, (ipywidgets.Button, ipywidgets.ValueWidget))]
    controls = [w for w in controls if not isinstance(w, ipywidgets.HTML)]
    assert len(controls) > 20 and all(w.description for w in controls if w.layout.display != "none")


def test_without_codes_it_is_one_sentence(store, folder):
    explorer = CodeExplorer(tiny_table(store, folder / "identity", quantizer="identity"))
    explorer.select(1, 3)
    assert "identity quantiser" in explorer.widget.value and "identity quantiser" in explorer.notes[0]
    assert (explorer.layer, explorer.code, explorer.players()) == (0, -1, ())
    assert "identity quantiser" in explorer.figure().data


@pytest.mark.parametrize("quantizer", ["rvq", "fsq"])
def test_codes_of_several_symbols_can_be_explored(store, folder, quantizer):
    explorer = CodeExplorer(tiny_table(store, folder / quantizer, quantizer=quantizer))
    explorer.search.value = "rain"
    assert shows(explorer, 1, explorer.index.search(1, "rain")[0].code)


def test_a_store_that_is_gone_is_said_in_a_sentence(tmp_path):
    store = media_store(tmp_path / "store")
    table = tiny_table(store, tmp_path / "codes")
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    explorer = CodeExplorer(table)
    code = next(
        c for c in explorer.index.used(1) if any(e.media for e in explorer.index.look_up(1, int(c)).exemplars["second"])
    )
    explorer.select(1, int(code))
    assert "no longer at" in explorer.view.value and explorer.players() == ()
    assert "data:image/png" not in explorer.view.value and explorer.guard.message.value == ""


# -- clips in codes


@pytest.fixture(scope="module")
def tables(store, table, folder):
    return {"first run": table, "second run": tiny_table(store, folder / "second", codebook_size=9)}


def same(view, figure):
    assert view.view.layout.title.text == figure.layout.title.text
    assert len(view.view.data) == len(figure.data)
    drawn = [str(trace.z) + str(trace.customdata) for trace in view.view.data if trace.type == "heatmap"]
    return drawn == [str(trace.z) + str(trace.customdata) for trace in figure.data if trace.type == "heatmap"]


def test_two_runs_stand_together_on_the_clip_of_the_slider(tables, store):
    view = ClipCodes(tables)
    assert view.clip == store.splits["test"][0] and list(view.shown) == list(tables)
    view.slider.value = 3
    assert view.clip == store.splits["test"][3]
    assert same(view, code_strips(tables, view.clip))
    view.beside.value = "(nothing)"
    assert same(view, code_strips({"first run": tables["first run"]}, view.clip))
    view.run.value = "second run"
    assert same(view, code_strips({"second run": tables["second run"]}, view.clip))
    view.split.value = "train"
    assert view.clip == store.splits["train"][0] and same(view, view.figure())


def test_one_table_needs_no_choice_of_runs(table):
    view = ClipCodes(table, clip=30)
    assert view.clip == 30 and view.split.value == "val" and same(view, code_strip(table, 30))
    assert view.run not in [child for box in view.widget.children for child in getattr(box, "children", ())] or (
        view.widget.children[1].layout.display == "none"
    )


def test_a_click_on_a_cell_shows_its_code(tables):
    from types import SimpleNamespace

    explorer = CodeExplorer(tables["first run"])
    view = ClipCodes(tables, on_code=explorer.select)
    cells = {tuple(t.meta): t for t in view.view.data if t.type == "heatmap"}
    place = SimpleNamespace(xs=[4], ys=[cells["first run", 2].y[1]], point_inds=[[1, 4]])
    cells["first run", 2]._dispatch_on_click(place, None)
    assert (explorer.layer, explorer.code) == (2, tables["first run"].code(2, "second")[view.clip, 4])
    before = explorer.code
    cells["second run", 2]._dispatch_on_click(place, None)
    assert "code of second run" in view.guard.message.value and explorer.code == before


def test_runs_on_different_data_and_clips_that_are_not_there_are_refused(tables, folder):
    other = tiny_table(tiny_store(folder / "other", seed=2), folder / "other-codes")
    with pytest.raises(InspectionError, match="2 different stores"):
        ClipCodes({**tables, "other": other})
    with pytest.raises(InspectionError, match="found clip 40, need a row from 0 to 39"):
        ClipCodes(tables, clip=40)


def test_a_full_search_for_garbage_finds_little_once_the_view_stands(monkeypatch):
    import gc

    from srcid import widget as common

    monkeypatch.setattr(common, "has_front_end", lambda: True)
    gc.unfreeze()
    before = len(gc.get_objects())
    try:
        common.freeze_loaded_objects()
        assert gc.get_freeze_count() > 0.5 * before and len(gc.get_objects()) < 0.1 * before
    finally:
        gc.unfreeze()
