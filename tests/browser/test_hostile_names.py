"""Class names, ids, words and origins with markup in them, in the offline pages of codes: no script runs, nothing is
asked of any other machine, and what was written is read as text."""

from __future__ import annotations

import numpy as np
import pytest

from srcid.codebook.browser.pages import write_code_pages
from srcid.features import FeatureStore
from tests.helpers import tiny_store, tiny_table

pytestmark = pytest.mark.browser

RUNS = "window.ran = 1"
HOSTILE = [
    f'<img src="https://example.org/a" onerror="{RUNS}">',
    f"</script></style></title></textarea><script>{RUNS}</script>",
    f"<a href=\"javascript:{RUNS}\">link</a><svg onload='{RUNS}'>",
]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A store in which all that may be text is markup, and the codes of it."""
    folder = tmp_path_factory.mktemp("hostile")
    plain = tiny_store(folder / "plain")
    draw = np.random.default_rng(0)
    words = np.char.add("word:", np.array([*HOSTILE, "quiet"]))[draw.integers(4, size=(plain.clips, plain.steps))]
    store = FeatureStore.create(
        folder / "store",
        {m: np.asarray(x) for m, x in plain.features.items()},
        labels={"event": plain.labels["event"], "mood": [HOSTILE[i % 3] for i in range(plain.clips)]},
        classes={"event": HOSTILE},
        ids=[f"{HOSTILE[row % 3]} {row}" for row in range(plain.clips)],
        splits=plain.splits,
        media={"third": words},
        provenance={"name": HOSTILE[0], "licence": HOSTILE[1], "citation": HOSTILE[2]},
    )
    return tiny_table(store, folder / "codes", keep_features=40)


def watched(page):
    """Note what a page outside JupyterLab asks for and says."""
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: asked.append(f"dialog {dialog.message}"))
    return asked


def test_no_name_becomes_a_script_in_offline_pages_of_codes(browser, hostile, tmp_path):
    path = write_code_pages(hostile, tmp_path / "codes.html", title=HOSTILE[1])
    page = browser.new_page()
    asked = watched(page)
    page.goto(path.as_uri())
    links = page.evaluate("() => [...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    assert len(links) > 10 and all(link.startswith("#") for link in links)
    for link in links[:20]:
        page.goto(f"{path.as_uri()}{link}")
        page.wait_for_timeout(100)
    assert page.evaluate("window.ran ?? 0") == 0
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert "onerror" in page.evaluate("() => document.body.textContent")
    page.close()
