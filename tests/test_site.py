"""The documentation site has all notebooks, no link is dead, and its pages fit a screen."""

import ast
import functools
import http.server
import os
import re
import subprocess
import threading

import pytest

import notebooks
import screens
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
    assert [link.target for link in site_pages.links_of(path) if not link.path.exists()] == []


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
    match = re.search(site_pages.LINK, "[a](../docs/faq.md#there)")
    assert site_pages.page_link(match, TOP / "nbs") == "../faq.md#there"
    match = re.search(site_pages.LINK, "[a](../nbs/data)")
    assert site_pages.page_link(match, TOP / "docs") == "nbs/data/index.md"


def test_broken_links_of_a_site_are_named(tmp_path):
    page = '<a href="b.html#there">b</a><a href="b.html#not">c</a><img src="no.png"><a href="https://x.y/">d</a>'
    (tmp_path / "a.html").write_text(page)
    (tmp_path / "b.html").write_text('<h1 id="there">b</h1>')
    found = site_pages.broken_links(tmp_path.resolve())
    assert found == ["a.html: b.html#not", "a.html: no.png"]


# --- the site as it is built


OFFLINE = r"(?i)no matching distribution|could not find a version|failed to establish|timed? ?out"
LOOKED_AT = {
    "start": "index.html",
    "tutorial": "nbs/tutorials/your_own_data.html",
    "mathematics": "nbs/tutorials/mathematics.html",
    "chapter": "nbs/data/readers.html",
    "names": "api/index.html",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, made by `ci/site`, which fails where a link is broken."""
    folder = tmp_path_factory.mktemp("site") / "built"
    command = [str(TOP / "ci" / "site"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode and re.search(OFFLINE, done.stderr):
        pytest.skip("the tools of the site cannot be had: no package registry can be reached")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


@pytest.fixture
def address(site):
    """The site on a server of this machine: its search does not work on files."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=os.fspath(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.slow
def test_every_page_is_there_and_every_public_name_is_on_one(site):
    pages = site_pages.pages_of(site_pages.navigation())
    files = [re.sub(r"(README|index)\.md$", "index.md", page) for page in pages]
    assert [page for page in files if not (site / page).with_suffix(".html").exists()] == []
    for path in site_pages.modules():
        page = site / "api" / f"{site_pages.module_name(path).replace('.', '/')}.html"
        text = page.read_text(encoding="utf-8")
        module = f"scgan_nb.{site_pages.module_name(path)}"
        lacking = [name for name in own_names(path) if f'id="{module}.{name}"' not in text]
        assert lacking == [], module


def own_names(chapter):
    """The public functions and classes that a chapter defines."""
    body = ast.parse(site_pages.module_file(chapter).read_text(encoding="utf-8")).body
    defined = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return [name for name in defined if not name.startswith("_")]


@pytest.mark.slow
def test_pages_fit_a_screen_in_a_browser(address, browser):
    found = [
        complaint
        for name, page in LOOKED_AT.items()
        for complaint in screens.complaints(browser, f"{address}/{page}", f"site_{name}")
    ]
    assert found == []


@pytest.mark.slow
def test_search_finds_a_chapter(address, browser):
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.goto(f"{address}/index.html")
    page.keyboard.press("/")
    page.keyboard.type("library size")
    page.locator("a", has_text="ibrary").first.wait_for(timeout=20_000)
    screens.keep_picture(page, "site_search")
