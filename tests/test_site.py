"""The documentation site (built by hand with `ci/site`) has all notebooks, and no link is dead."""

import re

import pytest

import notebooks
import site_pages

TOP = notebooks.TOP
TEXTS = [TOP / name for name in site_pages.TEXTS]
SOURCES = [*notebooks.find("nbs", "papers"), *TEXTS, *sorted((TOP / "docs").glob("*.md"))]


def test_navigation_covers_every_notebook():
    pages = site_pages.pages_of(site_pages.navigation())
    there = {path.relative_to(TOP).with_suffix(".md").as_posix() for path in notebooks.find("nbs")}
    there |= {
        path.relative_to(TOP).with_suffix(".md").as_posix() for path in notebooks.find("papers")
    }
    assert there - set(pages) == set()
    assert len(pages) == len(set(pages))
    modules = {path for path in pages if path.startswith("api/")}
    assert len(modules) == len(site_pages.modules()) + 1


def test_navigation_has_the_texts():
    pages = set(site_pages.pages_of(site_pages.navigation()))
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "how_to.md", "faq.md"} <= pages


@pytest.mark.parametrize("path", SOURCES, ids=notebooks.name)
def test_every_relative_link_leads_to_a_file(path):
    folder = TOP if path.parent == TOP / "docs" else path.parent
    dead = [
        link.target for link in site_pages.links_of(path) if not (folder / link.target).exists()
    ]
    assert dead == []


@pytest.mark.parametrize("path", TEXTS, ids=notebooks.name)
def test_linked_files_are_on_the_site(path):
    """A link to a file that is no page must lead to one that is copied."""
    for link in site_pages.links_of(path):
        name = notebooks.name(link.path)
        is_page = name.endswith((".ipynb", ".md")) or link.path.is_dir()
        assert is_page or name in site_pages.OTHER_FILES, name


def test_links_become_pages():
    text = "see [a](../data/readers.ipynb), `[b](c.ipynb)` and [data](data)"
    pieces = site_pages.outside_code(text)
    assert len(pieces) == 3 and pieces[1].startswith("`")
    match = re.search(site_pages.LINK, text)
    assert site_pages.page_link(match, TOP / "nbs") == "../data/readers.md"


def test_broken_links_of_a_site_are_named(tmp_path):
    page = '<a href="b.html#there">b</a><a href="b.html#not">c</a><img src="no.png"><a href="https://x.y/">d</a>'
    (tmp_path / "a.html").write_text(page)
    (tmp_path / "b.html").write_text('<h1 id="there">b</h1>')
    found = site_pages.broken_links(tmp_path.resolve())
    assert found == ["a.html: b.html#not", "a.html: no.png"]
