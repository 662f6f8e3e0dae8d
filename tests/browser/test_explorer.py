"""The code explorer and the clip view as a person uses them in JupyterLab, on clips to hear, see and read."""

from __future__ import annotations

import nbformat
import pytest

from srcid.codebook.exemplars import CodeIndex
from srcid.codebook.finder import find_clips
from srcid.selections import read_selections
from tests.browser.steps import CELLS, assert_well, at_rest, in_both_themes, run_all, until, wait_for_the_end
from tests.helpers import media_store, tiny_table

pytestmark = pytest.mark.browser

SOURCE = """\
from srcid.codes import CodeTable
from srcid.codebook.browser.clips import ClipCodes
from srcid.codebook.browser.explorer import CodeExplorer

table = CodeTable.open({first!r})
explorer = CodeExplorer(table, layer={layer}, code={code})
explorer
---
clips = ClipCodes({{"wide": table, "narrow": CodeTable.open({second!r})}}, on_code=explorer.select)
clips
---
print(explorer.layer, explorer.code, clips.clip)
---
from srcid.codebook.browser.finder import ClipFinder

finder = ClipFinder(table, "test", folder={folder!r})
finder
---
print(sorted(finder.kept), len(finder.frame()))"""


# the page of the explorer's code; the clips that were found have figures too
PAGE = "[...document.querySelectorAll('.widget-html-content')].find(e => /^\\s*Layer \\d, code/.test(e.textContent))"


@pytest.fixture(scope="module")
def made(lab):
    """Two tables of one store with media, and a code of the first that is heard and seen."""
    folder = lab.folder / "explored"
    store = media_store(folder / "store")
    tables = [tiny_table(store, folder / name, codebook_size=size) for name, size in (("wide", 12), ("narrow", 5))]
    index = CodeIndex(tables[0])
    cards = [index.look_up(layer, int(code)) for layer in (1, 2) for code in index.used(layer)]
    card = next(c for c in cards if all(any(e.media for e in c.exemplars[m]) for m in ("first", "second")))
    return tables, index, card


@pytest.fixture(scope="module")
def page(lab, made):
    (wide, narrow), _, card = made
    paths = dict(first=str(wide.path), second=str(narrow.path), folder=str(lab.folder / "explored/selections"))
    source = SOURCE.format(**paths, layer=card.layer, code=card.code)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(part) for part in source.split("\n---\n")])
    notebook.metadata["kernelspec"] = dict(name="python3", display_name="Python 3", language="python")
    nbformat.write(notebook, lab.folder / "explored.ipynb")
    page = lab.open("explored.ipynb")
    run_all(page)
    assert_well(lab, wait_for_the_end(page, 120))
    yield page
    page.close()


def wait_for_code(page, layer, code):
    page.wait_for_selector(f"div.widget-html-content:has-text('Layer {layer}, code {code}:')", timeout=20_000)


def show(page, made, layer=None, code=None):
    """Bring the explorer to a code by its search box; the layer's by its menu."""
    _, _, card = made
    layer, code = layer or card.layer, card.code if code is None else code
    menu = page.locator(".widget-dropdown:has(label:text-is('layer')) select").first
    menu.select_option(str(layer))
    search(page, str(code))
    wait_for_code(page, layer, code)


def search(page, text):
    box = page.get_by_placeholder("a code's number, or a class")
    box.fill("")
    box.press("Enter")
    box.fill(text)
    box.press("Enter")


def test_exemplars_are_heard_seen_and_read(lab, page, made):
    _, _, card = made
    show(page, made)
    seconds = page.evaluate(
        f"""() => Promise.all([...{PAGE}.querySelectorAll('figure audio')].map(a => a.readyState ? a.duration
            : new Promise(done => {{ a.onloadedmetadata = () => done(a.duration); a.load(); }})))"""
    )
    heard = [e for found in (card.exemplars, card.near_misses) for e in found["first"] if e.media]
    expected = [float(e.media.rpartition(",")[2]) for e in heard]
    assert seconds == pytest.approx(expected, abs=0.01) and seconds
    pictures = page.evaluate(
        f"""() => [...{PAGE}.querySelectorAll('figure img[src^="data:image/png"]')]
            .map(i => [i.complete, i.naturalWidth, i.naturalHeight])"""
    )
    shown = [e for found in (card.exemplars, card.near_misses) for e in found["second"] if e.media]
    assert pictures == [[True, 64, 48]] * len(shown) and pictures
    played = page.evaluate(
        f"""() => {{ const a = {PAGE}.querySelector('figure audio'), button = {PAGE}.querySelector('figure button');
            a.muted = true; button.click();
            return new Promise(
                done => a.addEventListener('ended', () => done([a.currentTime, button.clientWidth]))); }}"""
    )
    assert played[0] == pytest.approx(expected[0], abs=0.05) and played[1] >= 60
    in_both_themes(lab, page, "explorer")
    assert_well(lab, page.evaluate(CELLS))


def test_slider_and_buttons_lead_from_code_to_code(lab, page, made):
    _, index, card = made
    show(page, made)
    handle = page.locator(".widget-slider:has(label:text-is('code')) .noUi-handle")
    handle.focus()
    step = 1 if card.code < index.sizes[card.layer] - 1 else -1
    page.keyboard.press("ArrowRight" if step > 0 else "ArrowLeft")
    wait_for_code(page, card.layer, card.code + step)

    order = [int(code) for code in index.used(1)]
    show(page, made, 1, order[1])
    page.get_by_role("button", name="less used").press("Enter")
    wait_for_code(page, 1, order[2])
    page.get_by_role("button", name="more used").press("Enter")
    wait_for_code(page, 1, order[1])
    assert_well(lab, page.evaluate(CELLS))


def test_a_search_finds_a_class_and_says_what_it_does_not_find(lab, page, made):
    _, index, _ = made
    show(page, made, 1)
    search(page, "horn")
    best, second, *_ = index.search(1, "horn")
    wait_for_code(page, 1, best.code)
    page.locator(f"button:text-is('{second.code} · {second.purity:.0%}')").first.click()
    wait_for_code(page, 1, second.code)
    search(page, "hron")
    page.wait_for_selector("text=did you mean 'horn'", timeout=20_000)
    assert_well(lab, page.evaluate(CELLS))


def test_neighbours_lead_on_by_button(lab, page, made):
    _, _, card = made
    show(page, made)
    near = card.neighbours[1]
    page.locator(f"button:text-is('{near.code} · {near.distance:.3g}')").first.click()
    wait_for_code(page, card.layer, near.code)
    assert_well(lab, page.evaluate(CELLS))


def test_clips_of_two_runs_stand_together_and_cells_lead_to_their_code(lab, page, made):
    (wide, _), _, _ = made
    show(page, made)
    plots = "[...document.querySelectorAll('.js-plotly-plot')]"
    titles = f"() => {plots}.map(p => p.querySelector('.gtitle')?.textContent ?? '').join('|')"
    handle = page.locator(".widget-slider:has(label:text-is('clip')) .noUi-handle")
    handle.scroll_into_view_if_needed()  # a figure that is never seen is not painted
    page.wait_for_function(f"() => ({titles})().includes('in 2 codebooks')", timeout=60_000)
    handle.focus()
    page.keyboard.press("ArrowRight")
    clip = int(wide.splits["test"][1])
    page.wait_for_function(f"() => ({titles})().includes('Clip {clip} (')", timeout=20_000)
    cell = f"""() => {{
        const plot = {plots}.find(p => p.querySelector('.gtitle')?.textContent.includes('Clip {clip} ('));
        const cells = plot._fullData.find(t => t.type === 'heatmap');
        const axis = name => plot._fullLayout[name[0] + 'axis' + name.slice(1)];
        const x = axis(cells.xaxis), y = axis(cells.yaxis), at = plot.getBoundingClientRect();
        return [at.left + x._offset + x.d2p(2), at.top + y._offset + y.d2p(cells.y[1])]; }}"""
    place = at_rest(page, lambda: until(page, cell))
    page.mouse.move(*place)
    page.wait_for_timeout(500)
    page.mouse.click(*place)
    wait_for_code(page, 1, int(wide.code(1, "second")[clip, 2]))
    page.locator(".widget-dropdown:has(label:text-is('beside it')) select").select_option("(nothing)")
    page.wait_for_function(f"() => !({titles})().includes('in 2 codebooks')", timeout=20_000)
    assert_well(lab, page.evaluate(CELLS))


def run_cell(page, place):
    page.evaluate(
        """async place => { const notebook = window.jupyterapp.shell.currentWidget.content;
            notebook.activeCellIndex = place; await window.jupyterapp.commands.execute('notebook:run-cell'); }""",
        place,
    )


def test_clips_are_found_and_kept_with_a_note(lab, page, made):
    (wide, _), _, _ = made
    found = find_clips(wide, "test", name="horn")
    page.locator(".widget-dropdown:has(label:text-is('class')) select").select_option("event: horn")
    page.wait_for_selector(f"text=/^{len(found)} of {len(wide.splits['test'])} test clips/", timeout=20_000)
    page.wait_for_selector(f"text={found['id'].iloc[0]}")
    page.get_by_placeholder("name of these clips").fill("horns")
    page.get_by_placeholder("note", exact=True).fill("all of them")
    page.get_by_role("button", name="keep").click()
    page.wait_for_selector(f"text=Kept: horns ({len(found)})", timeout=20_000)
    run_cell(page, 4)
    page.wait_for_function(
        f"() => ({CELLS})()[4].outputs[0]?.text?.startsWith(\"['horns'] {len(found)}\")", timeout=20_000
    )
    assert read_selections(lab.folder / "explored/selections")["horns"].attrs["note"] == "all of them"
    lab.picture(page, "finder")
    assert_well(lab, page.evaluate(CELLS))


def test_the_kernel_knows_what_is_shown(lab, page, made):
    show(page, made, 2, 4)
    run_cell(page, 2)
    page.wait_for_function(f"() => ({CELLS})()[2].outputs[0]?.text?.startsWith('2 4 ')", timeout=20_000)
    assert_well(lab, page.evaluate(CELLS))
