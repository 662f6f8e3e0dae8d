"""The first two notebooks as a person uses them: opened in JupyterLab, run, looked at, touched."""

from __future__ import annotations

import pytest

from tests.browser.steps import (
    CELLS,
    TINY_DATA,
    TINY_MODEL,
    assert_well,
    in_both_themes,
    painted,
    place,
    run_all,
    wait_for_the_end,
)

pytestmark = pytest.mark.browser


def test_data_can_be_seen_heard_and_leafed_through(lab, shared):
    name = place(
        lab,
        "01_data",
        data="digits",
        fsdd=str(shared / "data/fsdd"),
        generator=dict(train=60, val=20, test=20),
    )
    page = lab.open(name)
    run_all(page)
    cells = wait_for_the_end(page, 180)
    assert_well(lab, cells)
    titles = painted(page)
    assert len(titles) == 3 and "100 clips in 3 splits" in titles[0]
    seconds = page.evaluate(
        """() => Promise.all([...document.querySelectorAll('audio')].map(a => a.readyState ? a.duration
            : new Promise(done => { a.onloadedmetadata = () => done(a.duration); a.load(); })))"""
    )
    assert len(seconds) == 2 and min(seconds) >= 5  # one in a cell, one in the browser; ten steps of half a second
    assert seconds[0] == pytest.approx(seconds[1])

    handle = page.locator(".widget-slider .noUi-handle").first
    handle.scroll_into_view_if_needed()
    handle.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.gtitle')].some(t => t.textContent.startsWith('Clip 1 '))",
        timeout=20_000,
    )
    in_both_themes(lab, page, "01_data")
    assert_well(lab, page.evaluate(CELLS))
    page.close()


def test_training_is_watched_and_stopped(lab):
    name = place(lab, "02_train", data="synthetic", generator=TINY_DATA, options={**TINY_MODEL, "epochs": 20_000})
    page = lab.open(name)
    run_all(page)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.gtitle')].some(t => /^Step \\d+: loss/.test(t.textContent))",
        timeout=120_000,
    )
    page.locator('button:has-text("Stop")').scroll_into_view_if_needed()
    page.wait_for_timeout(4000)
    first = painted(page)[0]
    lab.picture(page, "02_train_running")
    page.wait_for_timeout(4000)
    assert painted(page)[0] != first, "the curves do not move while training"

    page.click('button:has-text("Stop")')
    page.wait_for_selector("text=/stopped at step \\d+ of 120000; run the cell again/", timeout=30_000)
    cells = wait_for_the_end(page, 240)
    assert_well(lab, cells)
    text = "".join(str(o.get("text", "")) for c in cells if c["cell_type"] == "code" for o in c["outputs"])
    assert "stopped at step" in text
    # the live curves, and curves, code strip, usage and scores as static figures
    assert len(painted(page)) == 5
    in_both_themes(lab, page, "02_train")
    page.close()
