"""Names from data stand in Markdown as they are, whatever is in them."""

import pytest
from markdown_it import MarkdownIt

from small_vit.plots.labels import printable
from small_vit.report.markdown import escape, join, table
from small_vit.report.metrics_table import metrics_table

pytestmark = pytest.mark.any_backend

NAMES = [
    "img_001.jpg",
    "_leading_ and __double__",
    "a|b",
    "<script>alert(1)</script>",
    "`code` and ``more``",
    "*bold* **b** ~~gone~~",
    "[text](http://x.y) ![image](z.png)",
    "back\\slash \\| and \\_",
    "&amp; &lt; AT&T",
    "$x$ and $$y$$",
    "# 1. - > +",
    "line\nbreak\ttab\x00",
    "odd \udcff byte",
    "\u202eright to left",
    "シャツ",
]


def parsed(markdown):
    return MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown)


def inline(markdown):
    """The text of each inline token, and the kinds of all tokens in it."""
    tokens = [token for token in parsed(markdown) if token.type == "inline"]
    return [
        (
            "".join(child.content for child in token.children),
            {child.type for child in token.children},
        )
        for token in tokens
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_a_sentence_or_a_cell_is_only_text(name):
    plain = {"text", "text_special"}
    ((text, kinds),) = inline(f"Images of {escape(name)} here.")
    assert text == f"Images of {printable(name)} here." and kinds <= plain
    cells = inline(table(["a", "b"], [["before", escape(name)], [escape(name), "after"]]))
    assert [text for text, _ in cells] == [
        "a",
        "b",
        "before",
        printable(name),
        printable(name),
        "after",
    ]
    assert all(kinds <= plain for _, kinds in cells)


def test_what_cannot_be_printed_is_shown_as_an_escape():
    assert printable("a\nb\udcff") == r"a\nb\udcff"
    escape("\udcff").encode("utf-8")


def test_the_columns_of_a_table_are_text_then_numbers():
    lines = table(["", "files", "n"], [["a", "", "3"]], text_columns=2).splitlines()
    assert lines == ["| | files | n |", "|---|---|---:|", "| a | | 3 |"]
    assert join("a", "", None, "b") == "a\n\nb"


def test_metrics_are_in_order_with_their_intervals():
    columns = {
        "test": {"loss": 1.0, "new": 2.0, "accuracy": 0.5, "top5_accuracy": 1.0},
        "validation": {"accuracy": 0.75},
        "absent": {},
    }
    told = metrics_table(columns, {"test": {"accuracy": (0.4, 0.6)}}, num_classes=5).splitlines()
    assert told == [
        "| | test | validation |",
        "|---|---:|---:|",
        "| top-1 accuracy | 50.00% (40.00% to 60.00%) | 75.00% |",
        "| cross-entropy | 1.0000 | |",
        "| new | 2.0000 | |",
    ]
    assert "| top-5 accuracy | 100.00% | |" in metrics_table(columns, num_classes=6)
