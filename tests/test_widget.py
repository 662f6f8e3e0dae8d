"""Tables of cells as files."""

import base64
import io
import re

import numpy as np
import pandas as pd

from srcid.widget import offer_csv, table_html


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


def test_a_large_table_is_shown_without():
    table = pd.DataFrame({"number": np.arange(200_000)})
    assert saved(table) is None and table_html(table) == table._repr_html_()


def test_nothing_is_offered_where_nobody_can_click():
    offer_csv()  # no notebook: nothing to do, and no error
