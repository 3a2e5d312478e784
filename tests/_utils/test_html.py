"""Parts of a page: escaped, and without scripts."""

import re

import pytest

from glimr_keras._utils import html
from glimr_keras._utils.text import Column

EVIL = "<script>alert('x')</script> & \"y\""


def test_all_text_is_escaped():
    columns = [Column.of(EVIL, [EVIL])]
    page = html.block(
        html.title(EVIL, EVIL), html.paragraph(EVIL), html.table(columns), html.listed([EVIL])
    )
    assert "<script" not in page
    assert "alert" in page
    assert html.escaped("\x1b[1m<b>\x1b[0m") == "&lt;b&gt;"


def test_a_table_has_its_headings_and_rows_and_numbers_at_the_right():
    page = html.table([Column.of("name", ["a", "b"]), Column.of("n", [1, 2])])
    assert re.findall(r"<th>(\w+)</th>", page) == ["name"]
    assert re.findall(r'<th class="n">(\w+)</th>', page) == ["n"]
    assert re.findall(r'<td class="n">(\w+)</td>', page) == ["1", "2"]
    assert page.count("<tr>") == 3


def test_a_table_without_columns_is_none():
    assert html.table([]) == ""


def test_long_headings_may_be_broken():
    page = html.table([Column.of("a/long_name", [1])])
    assert "a/<wbr>long_<wbr>name" in page


@pytest.mark.parametrize(
    ("share", "width"), [(None, "0.0"), (0.25, "25.0"), (7, "100.0"), (-1, "0.0")]
)
def test_a_bar_is_filled_up_to_its_share(share, width):
    assert f"width:{width}%" in html.bar(share)
