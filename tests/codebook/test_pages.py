"""The page of a code: what its exemplars are, all that is known of it, and the file of all pages."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import shutil

import numpy as np
import pytest

from srcid.codebook.browser.pages import write_code_pages
from srcid.codebook.exemplars import CodeIndex
from srcid.codebook.figures.pages import code_page
from srcid.codes import CodeTable
from srcid.features.clip_media import card_media
from srcid.page import envelope, picture_uri, policy
from tests.codebook.media import folder, store, table
from tests.helpers import media_store, tiny_store, tiny_table

__all__ = ["folder", "store", "table"]  # fixtures


@pytest.fixture(scope="module")
def index(table):
    return CodeIndex(table)


@pytest.fixture(scope="module")
def card(index):
    """A code with something to see and hear."""
    cards = [index.look_up(layer, int(code)) for layer in (1, 2) for code in index.used(layer)]
    return next(c for c in cards if all(any(e.media for e in c.exemplars[m]) for m in ("first", "second")))


def test_media_are_what_the_store_says_of_each_exemplar(store, table, card):
    media = card_media(card.exemplars, table)
    assert media.problems == ()
    kinds = set()
    for m, exemplars in card.exemplars.items():
        for e, shown in zip(exemplars, media.shown[m], strict=True):
            kinds.add(shown.kind)
            assert (shown.kind == "none") == (e.media == "")
            if shown.kind == "audio":
                kind = int(np.asarray(store.labels["event"])[e.clip, e.step].argmax())
                assert len(shown.content) / shown.rate == pytest.approx(0.3 + 0.1 * kind)
            elif shown.kind == "image":
                assert shown.content.shape == (12, 16, 3) and e.media.startswith("png:")
            elif shown.kind == "word":
                sentence = [reference.partition(":")[2] for reference in store.media[m][e.clip]]
                assert shown.content == sentence[e.step]
                before = [""] if e.step == 0 else sentence[max(0, e.step - 3) : e.step]
                assert shown.before.removeprefix("… ") == " ".join(before)
                assert shown.before.startswith("… ") == (e.step > 3) and shown.after.endswith(" …") == (e.step < 2)
    assert kinds >= {"audio", "image"}


def test_all_sounds_of_a_code_make_one_sequence(table, card):
    media = card_media(card.exemplars, table)
    sounds = [s.content for s in media.shown["first"] if s.kind == "audio"]
    sound, rate = media.sequence("first")
    assert rate == 8000 and len(sound) == sum(map(len, sounds)) + 1600 * (len(sounds) - 1)
    assert media.sequence("second") is None and media.sequence("third") is None


def test_a_store_that_is_gone_takes_only_its_files_along(folder, store, card, table):
    gone = _moved(table, folder / "moved", folder / "nowhere")
    media = card_media(card.exemplars, gone)
    (problem,) = media.problems
    assert f"no longer at {folder / 'nowhere'}" in problem and "sounds and images" in problem
    assert {s.kind for m in ("first", "second") for s in media.shown[m]} == {"none"}
    words = CodeIndex(table).look_up(1, int(table.code(1, "third")[0, 0]))
    assert {s.kind for s in card_media(words.exemplars, gone).shown["third"]} == {"word"}
    assert "no longer at" in page_of(card, gone)

    tiny_store(folder / "other", seed=5)
    assert "other data" in card_media(card.exemplars, _moved(table, folder / "swapped", folder / "other")).problems[0]


def _moved(table, copy, store):
    return _changed(table, copy, store=dict(path=str(store), checksum=table.checksum))


def _changed(table, copy, **manifest):
    """A copy of a table whose manifest says something else."""
    shutil.copytree(table.path, copy)
    (copy / "manifest.json").write_text(json.dumps({**table.manifest, **manifest}))
    return CodeTable.open(copy)


def test_a_damaged_file_is_named_and_the_rest_is_shown(tmp_path):
    store = media_store(tmp_path / "store")
    table = tiny_table(store, tmp_path / "codes")
    (tmp_path / "store-media/1.wav").unlink()
    index = CodeIndex(table)
    cards = [index.look_up(1, int(code), k=40) for code in index.used(1)]
    card = next(c for c in cards if any("1.wav" in e.media for e in c.exemplars["first"]))
    media = card_media(card.exemplars, table)
    lost = [e for e in card.exemplars["first"] if "1.wav" in e.media]
    assert len(media.problems) == len(lost) and all("1.wav" in p and "step" in p for p in media.problems)
    kept = [s.kind for e, s in zip(card.exemplars["first"], media.shown["first"], strict=True) if e not in lost]
    assert "none" not in [k for k, e in zip(kept, card.exemplars["first"], strict=False) if e.media and e not in lost]


def page_of(card, table, links=()):
    media, near = (card_media(e, table) for e in (card.exemplars, card.near_misses))
    return code_page(card, table, media, near, links)


def test_tiles_show_every_exemplar_and_near_miss_in_words_the_page_can_colour(table, card):
    page = page_of(card, table)
    every = [e for kind in (card.exemplars, card.near_misses) for found in kind.values() for e in found]
    assert page.count("<figure") == len(every) and sum(e.fifth == 0 for e in every) > 0
    assert page.count("<audio ") == page.count("aria-label='play first")
    assert page.count("<audio ") == sum(e.media.startswith("wav:") for e in every) > 0
    assert page.count("data:image/png;") == sum(e.media.startswith("png:") for e in every) > 0
    assert "color:inherit" in page and "#000" not in page and "black" not in page
    for e in card.exemplars["first"]:
        assert f"aria-label='play first, clip {e.clip_id}, step {e.step}'" in page or not e.media
    assert len(page) < 800_000


def test_text_of_strangers_stays_text(tmp_path):
    steps = np.full((40, 6), "word:<script>alert(1)</script>")
    store = tiny_store(tmp_path / "store", media={"third": steps}, ids=[f"<b>'{i}" for i in range(40)])
    table = tiny_table(store, tmp_path / "codes")
    card = CodeIndex(table).look_up(1, int(table.code(1, "third")[0, 0]))
    page = page_of(card, table)
    assert "&lt;script&gt;" in page and "<script" not in page and "<b>'" not in page
    titles = re.findall(r"title='([^']*)'", page)
    assert len(titles) == page.count("<figure") and all("&lt;b&gt;&#x27;" in title for title in titles)


@pytest.mark.parametrize(("shape", "size"), [((8, 8), (72, 72)), ((12, 16, 3), (64, 48)), ((400, 300), (108, 144))])
def test_pictures_are_as_large_as_a_tile(shape, size):
    from PIL import Image

    image = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    picture = Image.open(io.BytesIO(base64.b64decode(picture_uri(image).partition(",")[2])))
    assert picture.size == size
    if max(shape) < 72:  # small ones keep their pixels
        factor = size[1] // shape[0]
        np.testing.assert_array_equal(np.asarray(picture)[::factor, ::factor], image)


def test_the_envelope_follows_the_loudness():
    sound = np.concatenate([np.full(50, 0.1), np.full(50, -0.4), np.zeros(50)])
    np.testing.assert_allclose(envelope(sound, 3), [0.25, 1, 0.03])
    assert envelope(np.ones(2), 5).shape == (5,)


def test_the_page_tells_a_notebook_that_is_not_trusted_why_it_is_mute(table, card):
    """JupyterLab takes currentColor away there, too; tests/browser/test_trust.py looks at what is left."""
    page = page_of(card, table)
    assert page.count("play buttons do nothing yet") == 1 and "currentColor" not in page


def test_the_page_says_all_that_is_known(table, card):
    page = page_of(card, table, links={(k, c) for k in (1, 2) for c in range(99)})
    assert html.escape(card.finding) in page
    for n in card.neighbours:
        assert f"<a href='#layer{card.layer}/code{n.code}'>" in page and f"{n.distance:.3g}" in page
    other = 3 - card.layer
    assert all(f"<a href='#layer{other}/code{c.code}'>" in page for c in card.together[other])
    assert all(f"event: {c.name}" in page and c.share.text(".0%") in page for c in card.labels["event"])
    assert page.count("<img alt='histogram'") == 2  # margins and steps
    assert "<a " not in page_of(card, table)


def test_a_code_that_is_never_used_still_has_neighbours(store, folder):
    table = tiny_table(store, folder / "large", codebook_size=90)
    index = CodeIndex(table, "test")
    code = next(c for c in range(90) if c not in index.used(1))
    card = index.look_up(1, code)
    page = page_of(card, table)
    assert "never used in 8 test clips" in page and "never has this code" in page
    assert len(card.neighbours) > 3 and all(f"{n.distance:.3g}" in page for n in card.neighbours)


def test_one_modality_one_layer_and_no_labels_leave_less_to_say(table, folder):
    table = _changed(table, folder / "alone", modalities=["third"], media=["third"], labels={}, layers=1)
    card = CodeIndex(table).look_up(1, int(table.code(1, "third")[0, 0]))
    page = page_of(card, table)
    assert "no labels" in page and "at the same places" not in page
    assert card.name is None and card.together == {} and list(card.counts) == ["third"]


def test_all_pages_stand_in_one_file_whose_links_lead_somewhere(table, folder, index):
    path = write_code_pages(table, folder / "codes.html", clips="train")
    page = path.read_text()
    sections = set(re.findall(r"<section id='(layer\d/code\d+)'", page))
    used = {f"layer{k}/code{c}" for k in (1, 2) for c in CodeIndex(table, "train").used(k)}
    assert sections == used
    tiles = re.findall(r"class='tile' href='#(layer\d/code\d+)'", page)
    assert set(tiles) == used and len(tiles) == len(used)
    assert set(re.findall(r"href='#(layer\d/code\d+)'", page)) == used and "24 train clips" in page
    assert page.count("<img alt='' src=") > 3 and "barks" in page
    assert not re.search(r"(src|href)=['\"]https?:", page)
    [script] = re.findall("<script>(.*?)</script>", page, re.DOTALL)
    assert policy([script]) in page and not re.search(r"<[^>]* on\w+\s*=", page)  # no other script may run
    fewer = write_code_pages(table, folder / "few.html", most=3).read_text()
    assert fewer.count("<section id=") == 6 and "the 3 most used ones have a page" in fewer


@pytest.mark.browser
def test_tiles_sort_under_the_policy_of_the_page(table, folder, browser):
    page, said = browser.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.goto(write_code_pages(table, folder / "sorted.html").as_uri())
    use, by_class = [], []
    for name, found in (("class", by_class), ("use", use)):
        page.get_by_role("button", name=name).first.click()
        found += page.locator(".tiles").first.locator(".tile").evaluate_all("all => all.map(t => ({...t.dataset}))")
    page.close()
    assert [t["class"] for t in by_class] == sorted(t["class"] for t in by_class)
    assert [int(t["use"]) for t in use] == list(range(len(use))) and said == []
