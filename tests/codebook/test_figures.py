"""The codes of one clip, and the use of codes at a glance."""

from types import SimpleNamespace

import numpy as np
import pytest

from srcid.codebook.figures.strips import code_strip
from srcid.codebook.figures.usage import usage_overview
from srcid.codebook.usage import code_usage, sharing
from srcid.features import LabelInfo
from srcid.style import code_color
from tests.house import check_house_style, title

MODALITIES = ("first", "second", "third")


@pytest.fixture(scope="module")
def table():
    """Codes of 30 clips in two layers; in clip 0 the first two modalities agree at step 0 of layer 1 only."""
    draw = np.random.default_rng(0)
    codes = {(k, m): draw.integers(0, 9, (30, 6)) for k in (1, 2) for m in MODALITIES}
    for layer in (1, 2):
        for place, m in enumerate(MODALITIES):
            codes[layer, m][0] = 10 * place + np.arange(6)
    codes[1, "second"][0, 0] = codes[1, "first"][0, 0]
    codes[1, "third"][0, 5] = codes[2, "third"][0, 5] = -1
    event = np.zeros((30, 6, 2), bool)
    event[0, 1:4, 1] = True
    return SimpleNamespace(
        modalities=MODALITIES,
        layers=2,
        stages=1,
        steps=6,
        clips=30,
        ids=np.array([f"clip-{i}" for i in range(30)]),
        labels={"event": event},
        label_info={"event": LabelInfo("event", "multilabel", "step", ("bark", "horn"), MODALITIES)},
        code=lambda layer, m: codes[layer, m],
        codes=lambda layer, m: codes[layer, m][..., None],
        distance=lambda layer, m: np.full((30, 6), 0.25),
        second=lambda layer, m: np.full((30, 6), 4),
    )


def table_codes(table, layer):
    return {m: table.code(layer, m) for m in table.modalities}


def named(fig, name):
    return [trace for trace in fig.data if trace.name == name]


def grid(trace):
    """Values of a heat map; blanks are NaN."""
    return np.array(trace.z, float)


def scatters(fig, mode):
    return [trace for trace in fig.data if trace.type == "scatter" and trace.mode == mode]


@pytest.mark.parametrize("kind", ("strip", "usage"))
def test_every_figure_keeps_the_house_style(table, kind):
    uses = [code_usage(table_codes(table, k), bootstrap=0) for k in (1, 2)]
    shared = [sharing(table_codes(table, k)) for k in (1, 2)]
    check_house_style(code_strip(table, 0) if kind == "strip" else usage_overview(uses, shared))


def test_the_strip_shows_numbers_outlines_agreement_and_leaves_missing_steps_blank(table):
    fig = code_strip(table, 0)
    numbers = scatters(fig, "text")[0]
    shown = dict(zip(zip(numbers.x, numbers.y, strict=True), numbers.text, strict=True))
    assert shown[0, 0] == shown[0, 1] == "0" and shown[3, 2] == "23"
    assert (5, 2) not in shown  # missing
    outline = scatters(fig, "lines")[0]
    assert {round(x) for x in outline.x if x is not None} == {0}  # step 0 only
    assert {round(y) for y in outline.y if y is not None} == {0, 1}  # the first two modalities
    first = next(trace for trace in fig.data if trace.type == "heatmap")
    assert np.isnan(grid(first)[2, 5]) and np.isfinite(grid(first)[2, 4])
    assert "6%" in title(fig)  # 1 of 6 + 5 + 5 pairs
    assert "code 0" in first.customdata[0][0] and "second nearest: 4" in first.customdata[0][0]
    assert "distance 0.25" in first.customdata[0][0]


def test_a_code_has_the_same_colour_in_every_clip(table):
    def colors(clip):
        fig = code_strip(table, clip)
        heat = next(trace for trace in fig.data if trace.type == "heatmap")
        present = np.unique(np.stack([table.code(1, m)[clip] for m in MODALITIES]))
        present = present[present >= 0]
        return dict(zip(present.tolist(), [color for _, color in heat.colorscale][::2], strict=True))

    one, two = colors(1), colors(2)
    assert len(one.keys() & two.keys()) >= 3
    assert all(one[code] == two[code] == code_color(code, 1) for code in one.keys() & two.keys())


def test_the_identity_quantiser_has_no_strip(table):
    fig = code_strip(SimpleNamespace(**{**vars(table), "stages": 0}), 0)
    assert "identity" in title(fig) and not fig.data
    assert "identity" in title(usage_overview([], []))


def test_usage_shows_shares_by_rank_and_blanks_for_codes_a_modality_never_uses():
    codes = {"first": np.array([[0, 0, 0, 1]]), "second": np.array([[0, 2, 2, 2]])}
    fig = usage_overview([code_usage(codes, bootstrap=0)], [sharing(codes)])
    assert list(named(fig, "first")[0].y) == [0.75, 0.25]
    heat = [trace for trace in fig.data if trace.type == "heatmap"]
    np.testing.assert_allclose(grid(heat[0])[0] ** 2, [0.75, np.nan, 0.25])
    np.testing.assert_allclose(grid(heat[1])[1] ** 2, [0.25, 0.75, np.nan])
    assert "1 of 3 used codes shared by all modalities" in title(fig)
    assert [shape.x0 for shape in fig.layout.shapes] == [1.5]
