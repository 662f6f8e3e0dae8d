"""The figures of codes keep the house style; the codes of one clip."""

from types import SimpleNamespace

import numpy as np
import pytest

from srcid.codebook.agreement import code_agreement, confusion
from srcid.codebook.figures.agreement import agreement_figure, confusion_map
from srcid.codebook.figures.meaning import association_map
from srcid.codebook.figures.strips import code_strip
from srcid.codebook.figures.usage import sharing_map, usage_summary
from srcid.codebook.meaning import association
from srcid.codebook.usage import code_usage, sharing
from srcid.features import LabelInfo
from srcid.style import code_color
from srcid.symbols import StepLabel
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
        labelled={},
        label_info={"event": LabelInfo("event", "multilabel", "step", ("bark", "horn"), MODALITIES)},
        code=lambda layer, m: codes[layer, m],
        codes=lambda layer, m: codes[layer, m][..., None],
        distance=lambda layer, m: np.full((30, 6), 0.25),
        second=lambda layer, m: np.full((30, 6), 4),
    )


def grid(trace):
    """Values of a heat map; blanks are NaN."""
    return np.array(trace.z, float)


def scatters(fig, mode):
    return [trace for trace in fig.data if trace.type == "scatter" and trace.mode == mode]


@pytest.mark.parametrize("kind", ("strip", "usage", "sharing", "agreement", "confusion", "meaning"))
def test_every_figure_keeps_the_house_style(table, kind):
    codes = [{m: table.code(k, m) for m in MODALITIES} for k in (1, 2)]
    figures = {
        "strip": lambda: code_strip(table, 0),
        "usage": lambda: usage_summary([code_usage(c) for c in codes]),
        "sharing": lambda: sharing_map([sharing(c) for c in codes]),
        "agreement": lambda: agreement_figure([code_agreement(c) for c in codes]),
        "confusion": lambda: confusion_map([confusion(codes[0], "first", "second")]),
        "meaning": lambda: association_map([association(codes[0], StepLabel.of(table.labels["event"]))]),
    }
    check_house_style(figures[kind]())


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


def test_sharing_shows_blanks_for_codes_a_modality_never_uses_and_every_cell_answers():
    codes = {"first": np.array([[0, 0, 0, 1]]), "second": np.array([[0, 2, 2, 2]])}
    fig = sharing_map([sharing(codes)])
    *shades, answers = [trace for trace in fig.data if trace.type == "heatmap"]
    np.testing.assert_allclose(grid(shades[0])[0] ** 2, [0.75, np.nan, 0.25])
    np.testing.assert_allclose(grid(shades[1])[1] ** 2, [0.25, 0.75, np.nan])
    assert [shape.x0 for shape in fig.layout.shapes] == [1.5]
    assert np.isfinite(grid(answers)).all() and {shade.hoverinfo for shade in shades} == {"skip"}
    assert answers.customdata[0][1] == "code 2, first: never used"
    assert answers.customdata[1][0] == "code 0, second: 25.00% of its steps"
