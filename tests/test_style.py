"""Colours keep their meaning and can be read; titles and captions go into pictures and around figures on pages."""

import json

import plotly.graph_objects as go
import pytest

from srcid.style import (
    INK,
    OKABE_ITO,
    code_color,
    empty_figure,
    figure_or_reason,
    finish,
    heading,
    ink_on,
    legend_line,
    modality_colors,
    outside,
    picture,
    retitle,
    small_print,
    words,
    write_page,
)
from tests.house import check_page, check_picture, contrast

MODALITIES = ("first", "second", "third")


def test_a_modality_keeps_its_colour():
    colors = modality_colors(MODALITIES)
    assert list(colors.values()) == list(OKABE_ITO[:3])
    assert modality_colors(MODALITIES[:2]) == {m: colors[m] for m in MODALITIES[:2]}
    assert len(modality_colors([str(i) for i in range(20)])) == 20


def test_colours_of_modalities_and_text_read_on_light_and_dark():
    for color in [*modality_colors("abcd").values(), INK]:
        assert min(contrast(color, "#ffffff"), contrast(color, "#111111")) > 2.9
    assert contrast(INK, "#ffffff") >= 4.5  # on pages, text of any colour: tests/browser/test_house.py


def test_codes_have_stable_colours_that_their_numbers_read_on():
    assert code_color(7, 1) == code_color(7, 1) != code_color(7, 2)
    assert len({code_color(code) for code in range(400)}) > 390
    assert min(contrast(code_color(c), ink_on(code_color(c))) for c in range(400)) > 4


# -- titles and captions


def drawn(title="Loss falls to 0.25", caption="Ten steps.", **size):
    fig = go.Figure(go.Scatter(x=[1, 2], y=[3, 4], name="loss", showlegend=True))
    return finish(fig, title, caption, **(dict(height=200) | size))


LONG = "Two modalities share their layer-1 code in 25 % of steps; layer 2 opened at step 205, at 8; " * 3


def test_long_words_wrap_in_a_picture_and_are_whole_on_a_page():
    fig = drawn(LONG, LONG)
    assert fig.layout.title.text.count("<br>") >= 2
    check_page(fig)
    check_picture(fig)
    assert words(fig) == (LONG.strip(), LONG.strip())
    whole = LONG.strip().replace(" %", "\xa0%")
    assert whole in heading(fig) and whole in small_print(fig)


def test_lines_of_a_page_break_in_no_number():
    said = heading(drawn("Localisation 77 % [73, 80] across 2 modalities [see, there]", ""))
    assert "Localisation 77\xa0% [73,\xa080] across 2 modalities [see, there]" in said


def test_a_line_of_legend_keeps_its_distance_from_the_plots():
    one = legend_line(drawn(top=104))
    more = legend_line(drawn(LONG, top=104))
    again = legend_line(drawn(top=104))
    retitle(again, LONG)

    def above_the_plots(fig):
        return fig.layout.margin.t - (1 - fig.layout.legend.y) * fig.layout.height

    expected = above_the_plots(one)
    for fig in (more, again, outside(one), outside(more)):
        assert above_the_plots(fig) == pytest.approx(expected)
    assert again.layout.height == more.layout.height > one.layout.height
    assert outside(more).layout.height == outside(one).layout.height


def test_a_figure_on_a_page_can_be_renamed():
    shown = outside(drawn())
    height = shown.layout.height
    retitle(shown, LONG)
    assert words(shown)[0] == LONG.strip() and shown.layout.height == height


def test_names_from_outside_stay_text():
    fig = drawn("3 clips of <img src=x onerror=alert(1)> &amp; <b>bark</b>", "<script>alert(2)</script>")
    assert "3 clips of &lt;img src=x onerror=alert(1)&gt; &amp; <b>bark</b>" in heading(fig)
    assert "&lt;script&gt;alert(2)&lt;/script&gt;" in small_print(fig) and "<script>" not in small_print(fig)


def test_a_page_opens_offline_with_title_and_caption_as_text(tmp_path):
    write_page(drawn(), tmp_path / "figure.html")
    text = (tmp_path / "figure.html").read_text()
    assert "<title>Loss falls to 0.25</title>" in text and "Ten steps." in text
    assert "https://cdn" not in text.split("<body>")[0]


def test_a_notebook_shows_title_figure_and_caption(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append(bundle))
    monkeypatch.setattr("plotly.io.show", shown.append)
    from srcid.style import _show

    _show(drawn())
    assert [type(part) for part in shown] == [dict, go.Figure, dict]
    assert shown[0]["text/plain"] == "Loss falls to 0.25" and shown[2]["text/plain"] == "Ten steps."
    assert shown[1].layout.width is None
    shown.clear()
    other = go.Figure(layout=dict(title="somebody else's", width=300))
    _show(other)
    assert [part.to_plotly_json() for part in shown] == [other.to_plotly_json()]
    shown.clear()
    _show(empty_figure("There is nothing to draw."))  # words alone, no empty space below them
    assert [part["text/plain"] for part in shown] == ["There is nothing to draw."]


def test_what_cannot_be_drawn_says_why():
    def fails():
        raise ValueError("found nothing; need something")

    assert words(figure_or_reason(fails))[0] == "found nothing; need something"
    assert json.loads(picture(empty_figure("No codes.")).to_json())["layout"]["paper_bgcolor"] == "white"
