"""The pages of the documentation site, in Markdown, from notebooks and texts: for `ci/site`.

`python ci/site_pages.py FOLDER` writes the source of the site: pages, pictures and `mkdocs.yml`
with the navigation. `python ci/site_pages.py --check SITE` names broken links of a built site.
Pages keep the places of their notebooks, so that links need only a new suffix. A formula
becomes MathML, which browsers show without a script.
"""

import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import notebooks

TOP = notebooks.TOP
DOCS = TOP / "docs"
INDEX = TOP / "nbs" / "index.ipynb"
TEXTS = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "papers/README.md")
TEXTS += ("papers/comparison/README.md",)
OTHER_FILES = ("Dockerfile", "CITATION.cff", "LICENSE", "NOTICE", "papers/comparison/compare.html")
OTHER_FILES += ("papers/comparison/compare.json", "papers/comparison/scvi_prior.py")
OTHER_FILES += ("papers/comparison/cells.py", "nbs/images/train_tsne.png")
RUNS = ("process", "train", "generate", "evaluate")

ROW = re.compile(r"^\| ([^|]+) \| (\[.*)\|$", flags=re.MULTILINE)
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|[/#])([^)#\s]+)(#[^)\s]*)?(?=\))")
CODE = re.compile(r"(^ {0,3}```.*?^ {0,3}```|`[^`\n]+`)", flags=re.MULTILINE | re.DOTALL)
DIRECTIVE = re.compile(r"^#\|[ ]*(.*)\n?", flags=re.MULTILINE)
LEFT_OUT = {"hide", "include: false"}


# --- links


@dataclass(frozen=True)
class Link:
    """A relative link: the file that has it, its text, and the path that it leads to."""

    source: Path
    target: str

    @property
    def path(self) -> Path:
        return self.source.parent / self.target


def outside_code(text: str) -> list[str]:
    """The text in pieces; every second one is code."""
    return CODE.split(text)


def markdown_of(path: Path) -> str:
    """The text of a Markdown file, or of the text cells of a notebook."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    cells = notebooks.read(path)["cells"]
    texts = [notebooks.source(cell) for cell in cells if cell["cell_type"] == "markdown"]
    return "\n\n".join(texts)


def links_of(path: Path) -> list[Link]:
    """The relative links of a Markdown file or notebook."""
    pieces = outside_code(markdown_of(path))[::2]
    return [Link(path, match[1]) for piece in pieces for match in LINK.finditer(piece)]


def place_on_site(path: Path) -> Path:
    """Where a file of the project stands on the site: those of `docs` at the top."""
    path = Path(os.path.normpath(path))
    return TOP / path.relative_to(DOCS) if path.is_relative_to(DOCS) else path


def page_link(match: re.Match, folder: Path) -> str:
    """A link between files as a link between pages."""
    to, anchor = folder / match[1], match[2] or ""
    target = Path(os.path.relpath(place_on_site(to), place_on_site(folder))).as_posix()
    if target.endswith(".ipynb"):
        return target.removesuffix(".ipynb") + ".md" + anchor
    if to.is_dir():
        return f"{target}/index.md"
    return target + anchor


# --- pages


def with_mathml(text: str) -> str:
    """Text with its formulas (between dollar signs) as MathML."""
    from latex2mathml.converter import convert

    def block(match: re.Match) -> str:
        formula = convert(match[1].strip(), display="block")
        return f'\n\n<div class="formula">{formula}</div>\n\n'

    text = re.sub(r"\$\$(.+?)\$\$", block, text, flags=re.DOTALL)
    return re.sub(r"\$([^$\n]+?)\$", lambda match: convert(match[1]), text)


def page_text(text: str, folder: Path) -> str:
    """Markdown of a file in `folder` as Markdown of the site."""
    pieces = outside_code(text)
    for number in range(0, len(pieces), 2):
        linked = LINK.sub(lambda match: page_link(match, folder), pieces[number])
        pieces[number] = with_mathml(linked)
    return "".join(pieces)


def shown_cell(cell: dict, folder: Path) -> bool:
    """Change a cell in place to what a page shows of it; whether it shows anything."""
    source = notebooks.source(cell)
    if cell["cell_type"] == "code":
        said = notebooks.directives(cell)
        if said & LEFT_OUT or any(word.startswith("default_exp") for word in said):
            return False
        cell["source"] = DIRECTIVE.sub("", source).strip("\n")
        return bool(cell["source"])
    if cell["cell_type"] == "raw" or "<!-- navigation -->" in source:
        return False
    lines = [line for line in source.splitlines() if not re.match(r"- skip_exec:", line)]
    cell["source"] = page_text("\n".join(lines), folder)
    return True


def notebook_page(path: Path) -> tuple[str, dict[str, bytes]]:
    """Markdown of a notebook, and its pictures by name."""
    import nbformat
    from nbconvert import MarkdownExporter
    from traitlets.config import Config

    nb = nbformat.read(path, as_version=4)
    nb.cells = [cell for cell in nb.cells if shown_cell(cell, path.parent)]
    nb.metadata.language_info = {"name": "python"}
    pictures = {"output_filename_template": path.stem + "_{cell_index}_{index}{extension}"}
    exporter = MarkdownExporter(config=Config({"ExtractOutputPreprocessor": pictures}))
    text, resources = exporter.from_notebook_node(nb)
    text = re.sub(r"<style scoped>.*?</style>\n?", "", text, flags=re.DOTALL)
    return text, resources.get("outputs", {})


def purpose(path: Path) -> str:
    """The `> purpose` of a notebook, in one line."""
    text = markdown_of(path)
    found = re.search(r"^> (.*(?:\n> ?.*|\n[^\n>#|-].*)*)", text, flags=re.MULTILINE)
    return " ".join(found[1].replace("\n> ", "\n").split()) if found else ""


def overview_page(title: str, paths: list[Path], folder: Path) -> str:
    """A page that lists notebooks with what each is for."""
    lines = [
        f"| [{notebooks.title(notebooks.read(path))}]"
        f"({path.relative_to(folder).with_suffix('.md').as_posix()}) | {purpose(path)} |"
        for path in paths
    ]
    table = page_text("\n".join(["| chapter | what it is for |", "|---|---|", *lines]), folder)
    return f"# {title}\n\n{table}\n"


# --- what there is, in order


def rooms() -> dict[str, list[Path]]:
    """`{heading: chapters}` of the table under "What to read" in the index."""
    text = markdown_of(INDEX).split("## What to read")[1]
    found = {}
    for heading, cell in ROW.findall(text):
        targets = [match[1] for match in LINK.finditer(cell)]
        found[heading] = [INDEX.parent / target for target in targets]
    return found


def tutorials() -> list[Path]:
    """The tutorials, in the order of the index."""
    return [
        path for heading, paths in rooms().items() for path in paths if "tutorials" in path.parts
    ]


def figures() -> list[Path]:
    return notebooks.find("papers")


def modules() -> list[Path]:
    """Chapters that make a module, in reading order."""
    there = [path for paths in rooms().values() for path in paths]
    return [path for path in there if module_file(path).exists()]


def module_file(path: Path) -> Path:
    return (TOP / "scgan_nb" / path.relative_to(TOP / "nbs")).with_suffix(".py")


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(TOP / "nbs").with_suffix("").parts)


def all_notebooks() -> list[Path]:
    return [path for path in notebooks.find("nbs", "papers") if path != INDEX]


# --- the navigation


def entry(path: Path) -> dict[str, str]:
    title = re.sub(r"[*`]", "", notebooks.title(notebooks.read(path)) or path.stem)
    return {title: path.relative_to(TOP).with_suffix(".md").as_posix()}


def api_entries() -> list:
    """Public names first, then the modules by room."""
    by_room: dict[str, list] = {}
    for path in modules():
        name = module_name(path)
        page = f"api/{name.replace('.', '/')}.md"
        by_room.setdefault(name.split(".")[0], []).append({name.split(".", 1)[1]: page})
    return [{"Public names": "api/index.md"}, *({room: pages} for room, pages in by_room.items())]


def navigation() -> list:
    """The `nav` of mkdocs.yml."""
    there = rooms()
    chapters = [
        {heading: [entry(path) for path in paths]}
        for heading, paths in there.items()
        if heading not in ("Tutorials", "Benchmarks")
    ]
    texts = (("how_to", "How to"), ("faq", "Questions"), ("platforms", "Platforms"))
    own = [{title: f"{name}.md"} for name, title in texts]
    runs = [entry(TOP / "nbs" / f"{name}.ipynb") for name in RUNS]
    paper_pages = [{"All figures": "papers/README.md"}, *map(entry, figures())]
    paper_pages.append({"Comparison of generators": "papers/comparison/README.md"})
    return [
        {"Start": "README.md"},
        {"Tutorials": ["nbs/tutorials/index.md", *map(entry, there.get("Tutorials", []))]},
        {"How to": [own[0], {"Notebooks to run": runs}, *own[1:]]},
        {"Chapters": ["nbs/index.md", *chapters]},
        {"API": api_entries()},
        {"Figures": paper_pages},
        {"Benchmarks": [entry(path) for path in there["Benchmarks"]]},
        {"About": [{"Changelog": "CHANGELOG.md"}, {"Contributing": "CONTRIBUTING.md"}]},
    ]


def pages_of(nav: object) -> list[str]:
    """The pages that a navigation leads to."""
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [page for part in parts for page in pages_of(part)]


# --- writing


def api_pages() -> dict[str, str]:
    """`{page: Markdown}` with the names that mkdocstrings documents."""
    stub = (TOP / "scgan_nb" / "__init__.pyi").read_text(encoding="utf-8")
    found = re.findall(r"^from \.([\w.]+) import (\w+) as (\w+)", stub, flags=re.MULTILINE)
    parts = ["# API\n\nThe names of `import scgan_nb`, then all modules by room (left).\n"]
    for module, name, shown in sorted(found, key=lambda words: words[2].lower()):
        place = f"{module.replace('.', '/')}/{name}"
        if (TOP / "scgan_nb" / f"{place}.py").exists():
            parts.append(f"## scgan_nb.{shown}\n\nA module: [{module}.{name}]({place}.md)\n")
            continue
        options = f"{{show_root_heading: true, heading: scgan_nb.{shown}, toc_label: {shown}}}"
        parts.append(f"::: scgan_nb.{module}.{name}\n    options: {options}\n")
    pages = {"api/index.md": "\n".join(parts)}
    for path in modules():
        name = module_name(path)
        up = "../" * (name.count(".") + 1)
        chapter = path.relative_to(TOP).with_suffix(".md").as_posix()
        title = notebooks.title(notebooks.read(path))
        text = f"# {name}\n\nChapter: [{title}]({up}{chapter})\n\n::: scgan_nb.{name}\n"
        pages[f"api/{name.replace('.', '/')}.md"] = text
    return pages


def folder_pages() -> dict[str, str]:
    """Overviews of the folders of nbs, for links to a folder."""
    pages = {}
    for folder in sorted({path.parent for paths in rooms().values() for path in paths}):
        if folder == TOP / "nbs":
            continue
        paths = [path for paths in rooms().values() for path in paths if path.parent == folder]
        name = folder.relative_to(TOP).as_posix()
        title = folder.name.capitalize()
        pages[f"{name}/index.md"] = overview_page(title, list(dict.fromkeys(paths)), folder)
    return pages


def put(folder: Path, name: str, content: str | bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def write_site_source(folder: Path) -> int:
    """Write all pages into a new folder; the number of pages."""
    shutil.rmtree(folder, ignore_errors=True)
    docs = folder / "docs"
    for path in [INDEX, *all_notebooks()]:
        text, pictures = notebook_page(path)
        name = path.relative_to(TOP).with_suffix(".md")
        put(docs, name.as_posix(), text)
        for picture, data in pictures.items():
            put(docs, (name.parent / picture).as_posix(), data)
    for name in TEXTS:
        put(docs, name, page_text(markdown_of(TOP / name), (TOP / name).parent))
    for path in sorted(DOCS.glob("*.md")):
        put(docs, place_on_site(path).name, page_text(markdown_of(path), DOCS))
    for name, text in (folder_pages() | api_pages()).items():
        put(docs, name, text)
    for name in OTHER_FILES:
        put(docs, name, (TOP / name).read_bytes())
    shutil.copytree(DOCS / "style", docs / "style")
    settings = {"INHERIT": str(DOCS / "mkdocs.yml"), "nav": navigation()}
    put(folder, "mkdocs.yml", json.dumps(settings, indent=1))  # JSON is YAML as well
    return len(list(docs.rglob("*.md")))


# --- checking what was built


class Places(HTMLParser):
    """What a page links to, and the names of its places."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.names |= {str(given[key]) for key in ("id", "name") if given.get(key)}
        self.targets += [str(given[key]) for key in ("href", "src") if given.get(key)]


def broken_links(site: Path) -> list[str]:
    """Links of a built site to files or places that it does not have."""
    pages = {path: Places() for path in site.rglob("*.html")}
    for path, page in pages.items():
        page.feed(path.read_text(encoding="utf-8"))
    found = []
    for path, page in pages.items():
        for target in page.targets:
            if path.name == "404.html" or re.match(r"[a-z]+:|//", target):
                continue  # the page for a missing address has links from the top of a server
            name, _, anchor = unquote(target).partition("#")
            to = (path.parent / name.partition("?")[0]).resolve() if name else path.resolve()
            if to.is_dir():
                to = to / "index.html"
            is_there = to.exists() and (not anchor or to not in pages or anchor in pages[to].names)
            if not is_there:
                found.append(f"{path.relative_to(site)}: {target}")
    return found


def main() -> int:
    if sys.argv[1] == "--check":
        found = broken_links(Path(sys.argv[2]).resolve())
        print("\n".join([*found, f"{len(found)} broken links"]))
        return bool(found)
    print(f"{write_site_source(Path(sys.argv[1]))} pages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
