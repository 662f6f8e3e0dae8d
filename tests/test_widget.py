"""Tables of cells as files, tables and figures of widgets."""

import base64
import io
import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from srcid.features import StoreError
from srcid.style import finish
from srcid.widget import Guard, framed, listing, offer_csv, redraw, table_html


def saved(table):
    """What the link below a table saves, or None where there is no link."""
    link = re.search(r"<a class='srcid-csv' download='table.csv' href='data:text/csv;charset=utf-8;base64,(.*?)'>",
                     table_html(table))  # fmt: skip
    return link and base64.b64decode(link[1]).decode()


def test_a_table_carries_itself_as_csv_below_what_is_shown():
    table = pd.DataFrame({"code": range(200), "name": ["a, \"b\" <c> 'd' ö"] * 200})
    assert table_html(table).startswith(table._repr_html_())
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(saved(table))), table)  # all rows, not only those shown
    named = pd.DataFrame({"score": [0.5]}, index=pd.Index(["srcid vq"], name="method"))
    assert saved(named) == "method,score\nsrcid vq,0.5\n"


def test_a_number_and_its_interval_stay_on_one_line():
    told = table_html(pd.DataFrame({"score": ["30.9 ± 1.6 %"], "clips": ["93.5 [90.5, 96.1]"], "paper": ["38.2 *"]}))
    assert "<td>93.5 [90.5,&nbsp;96.1]</td>" in told and "<td>38.2&nbsp;*</td>" in told
    assert (
        "30.9&nbsp;±&nbsp;1.6&nbsp;%" in told
        and saved(pd.DataFrame({"score": ["30.9 ± 1.6 %"]})) == "score\n30.9 ± 1.6 %\n"
    )


def test_a_large_table_is_shown_without():
    table = pd.DataFrame({"number": np.arange(200_000)})
    assert saved(table) is None and table_html(table) == table._repr_html_()


def test_a_table_of_nothing_is_no_line_and_no_file():
    assert table_html(pd.DataFrame()) == ""


def test_nothing_is_offered_where_nobody_can_click():
    offer_csv()  # no notebook: nothing to do, and no error


def test_names_of_columns_stand_flush_with_what_is_below_them():
    told = listing(pd.DataFrame({"code": [10], "the class": ["<b>horn</b>"]}))
    cells = re.findall("<(t[hd]) style='(.*?)'>(.*?)</", told)
    assert [(tag, text) for tag, _, text in cells] == [
        ("th", "code"), ("th", "the class"), ("td", "10"), ("td", "&lt;b&gt;horn&lt;/b&gt;")
    ]  # fmt: skip
    assert len({look for _, look, _ in cells}) == 1 and "text-align:left" in cells[0][1]


def test_a_figure_is_framed_before_it_is_drawn():
    figure = finish(go.Figure(go.Scatter(x=[1], y=[2])), "One point", "Small print.", height=100)
    view = go.FigureWidget()
    above, shown, below, _ = framed(view).children
    redraw(view, figure)
    assert shown is view and view.layout.width is None
    assert "One point" in above.value and "Small print." in below.value
    with pytest.raises(ValueError, match="drawn already"):
        framed(go.FigureWidget(figure))


def test_what_went_wrong_is_a_sentence_without_the_name_of_a_class():
    guard = Guard()

    def fail(error):
        raise error

    guard(lambda: fail(StoreError("found no word; type one")))
    assert ">Found no word; type one.<" in guard.message.value
    guard(lambda: fail(KeyError("event")))
    assert ">KeyError: &#x27;event&#x27;<" in guard.message.value
    guard(lambda: None)
    assert guard.message.value == ""
