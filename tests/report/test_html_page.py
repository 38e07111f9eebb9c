"""A page holds all it shows."""

import base64

import pytest
from loaded_page import Loaded

from small_vit.report.html_page import html_page

pytestmark = pytest.mark.any_backend


@pytest.fixture
def page(tmp_path):
    (tmp_path / "a.png").write_bytes(b"pixels")
    text = "# Title\n\n<b>raw</b>\n\n![a <i>](a.png)\n\n| a | b |\n|---|---:|\n| 1 | 2 |\n"
    return html_page(text, "<script>x</script> & y", tmp_path)


def test_pictures_are_in_the_page_and_nothing_is_loaded(page):
    loaded = Loaded(page)
    assert loaded.sources == ["data:image/png;base64," + base64.b64encode(b"pixels").decode()]
    assert not {"script", "link", "iframe", "b", "i"} & set(loaded.tags)
    assert "url(" not in page and "@import" not in page
    assert "default-src 'none'" in page


def test_raw_html_and_the_title_are_text(page):
    loaded = Loaded(page)
    assert "<b>raw</b>" in loaded.text and "<script>x</script> & y" in loaded.text
    assert loaded.tags.count("table") == 1


def test_a_page_fits_phones_and_dark_rooms(page):
    assert 'name="viewport"' in page and "prefers-color-scheme: dark" in page
    assert "overflow-x: auto" in page
