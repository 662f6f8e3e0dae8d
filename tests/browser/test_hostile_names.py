"""Class names, ids, words, origins and folders with markup in them, in JupyterLab and in the offline pages of codes: no
script runs, nothing is asked of any other machine, and what was written is read as text."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from srcid import runs
from srcid.codebook.browser.pages import write_code_pages
from srcid.features import FeatureStore
from tests.browser.steps import NOTEBOOKS, TINY_MODEL, place, run_all, wait_for_the_end
from tests.helpers import tiny_store, tiny_table

pytestmark = pytest.mark.browser

RUNS = "window.ran = 1"
HOSTILE = [
    f'<img src="https://example.org/a" onerror="{RUNS}">',
    f"</script></style></title></textarea><script>{RUNS}</script>",
    f"<a href=\"javascript:{RUNS}\">link</a><svg onload='{RUNS}'> [link](javascript:{RUNS}) ![](https://example.org/b)",
]
FOLDER = f"<img src=x onerror='{RUNS}'>"


def hostile_store(folder):
    """A store in which all that may be text is markup."""
    plain = tiny_store(folder / "plain")
    draw = np.random.default_rng(0)
    words = np.char.add("word:", np.array([*HOSTILE, "quiet"]))[draw.integers(4, size=(plain.clips, plain.steps))]
    return FeatureStore.create(
        folder / FOLDER,
        {m: np.asarray(x) for m, x in plain.features.items()},
        labels={"event": plain.labels["event"], "mood": [HOSTILE[i % 3] for i in range(plain.clips)]},
        classes={"event": HOSTILE},
        ids=[f"{HOSTILE[row % 3]} {row}" for row in range(plain.clips)],
        splits=plain.splits,
        media={"third": words},
        provenance={"name": HOSTILE[0], "licence": HOSTILE[1], "citation": HOSTILE[2]},
    )


@pytest.fixture(scope="module")
def hostile_run(lab, tmp_path_factory):
    """A small finished run on it, that the lab's kernels find."""
    store = hostile_store(tmp_path_factory.mktemp("hostile"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SRCID_RUNS", str(lab.folder.parent / "runs"))
        patch.setenv("SRCID_HOME", str(lab.folder))
        options = {**TINY_MODEL, "layers": 2, "epochs": 2}
        return runs.execute(NOTEBOOKS / "02_train.ipynb", {"data": str(store.path), "options": options})


def watched(page):
    """Note what a page outside JupyterLab asks for and says."""
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: asked.append(f"dialog {dialog.message}"))
    return asked


@pytest.mark.parametrize("notebook", ["04_codebook", "index"])
def test_no_name_becomes_a_script_in_jupyterlab(notebook, lab, hostile_run):
    if notebook == "index":  # which shows all runs: one folder has a name that no run is given, but a person may
        shutil.copytree(hostile_run.folder, hostile_run.folder.with_name(FOLDER))
        shutil.copytree(NOTEBOOKS.parent / "docs" / "results", lab.folder / "docs" / "results")  # its pictures
    page = lab.open(place(lab, notebook, **({} if notebook == "index" else {"run": hostile_run.name})))
    said = []
    page.on("dialog", lambda dialog: said.append(dialog.message) or dialog.dismiss())
    run_all(page)
    cells = wait_for_the_end(page, 480)
    assert [o for c in cells for o in c.get("outputs", []) if o["output_type"] == "error"] == []
    for link in page.locator("a:visible", has_text="link").all()[:3]:  # a name that became one
        link.dispatch_event("click")  # in a figure, another name may lie above it
    page.wait_for_timeout(1000)
    assert page.evaluate("window.ran ?? 0") == 0 and said == [] and lab.foreign == []
    armed = (
        "[...document.querySelectorAll('.jp-OutputArea *')].filter(e => e.matches('[onerror], [onload], [href^=java]'))"
    )
    assert page.evaluate(f"() => {armed}.map(e => e.outerHTML)") == []
    assert "onerror" in page.evaluate("() => document.body.textContent")
    page.close()


def test_no_name_becomes_a_script_in_offline_pages_of_codes(browser, tmp_path):
    table = tiny_table(hostile_store(tmp_path), tmp_path / "codes", keep_features=40)
    path = write_code_pages(table, tmp_path / "codes.html", title=HOSTILE[1])
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
