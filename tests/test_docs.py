"""The pages: the API reference is up to date, and no link is dead."""

import re
import sys
from pathlib import Path

import pytest

import small_vit

pytestmark = pytest.mark.any_backend

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "api.md"
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted(DOCS.glob("*.md"))


@pytest.fixture(scope="module")
def make_api():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        import make_api

        yield make_api
        sys.modules.pop("make_api")


def test_the_reference_is_up_to_date(make_api):
    text = make_api.PAGE.read_text(encoding="utf-8")
    assert text == make_api.render(), "Run: python docs/make_api.py"


def headings():
    return re.findall(r"^### `(\w+)`$", REFERENCE.read_text(encoding="utf-8"), re.M)


def test_the_reference_has_every_public_name_once():
    assert set(small_vit.__all__) <= set(headings())
    assert len(headings()) == len(set(headings()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_imports_is_in_the_reference(page):
    imports = re.findall(r"^from small_vit\S* import (.+)$", page.read_text("utf-8"), re.M)
    assert {name for names in imports for name in names.split(", ")} <= set(headings())


def prose(page):
    """The text of a page without its code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors(page):
    """The anchors of a page's headings, as GitHub names them."""
    found, counts = set(), {}
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.M):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-")
        number = counts.get(anchor, 0)
        counts[anchor] = number + 1
        found.add(f"{anchor}-{number}" if number else anchor)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_link_is_dead(page):
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(linked), f"{page.name}: {target}"


def test_anchors_are_those_of_github(tmp_path):
    page = tmp_path / "page.md"
    lines = ["# `a_b` (c)", "## The paper's *code*", "```", "# no heading", "```", "## A", "# A"]
    page.write_text("\n".join(lines))
    assert anchors(page) == {"a_b-c", "the-papers-code", "a", "a-1"}
