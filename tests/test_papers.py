"""The figures of papers/: committed outputs are current, and the check can fail."""

import shutil

import pytest

from conftest import ROOT
from scgan_nb.core.json_files import read_json, write_json
from scgan_nb.workflow import paper_runs
from scgan_nb.workflow import papers as notebooks
from scgan_nb.workflow.cache import digest
from scgan_nb.workflow.figures import Figure
from scgan_nb.workflow.scales import SCALES

PAPERS = ROOT / "papers"
FIGURES = notebooks.figures(PAPERS) if PAPERS.exists() else {}


def cell(kind, source, **metadata):
    return {
        "cell_type": kind,
        "id": digest(source)[:8],
        "metadata": metadata,
        "source": source,
    } | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def notebook(*code):
    """A figure that says how many cells the scale asks for, and then does `code`."""
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}
        },
        "cells": [
            cell("markdown", "# Figure 1\n\n> It runs.\n\nPublished: 1."),
            cell("code", 'scale = "demo"\nseed = 0', tags=["parameters"]),
            cell("code", "from scgan_nb.workflow.figures import Figure\nfig = Figure(scale, seed)"),
            *(cell("code", c) for c in code),
            cell(
                "code",
                "fig.row('cells', fig.scale.figure + seed, agrees=True, headline=True)\n"
                "fig.finish()",
            ),
        ],
    }


PICTURES = (
    "import matplotlib.pyplot as plt\nplt.plot([1, 2]);",
    "from scgan_nb.reporting.figures import new_figure\n"
    "figure = new_figure(2, 1)\nfigure.subplots().set_title('letters')\nfigure",
)


def run(papers, *names, **kw):
    own = {name: kw.pop(name) for name in ("parameters", "pictures") if name in kw}
    settings = paper_runs.RunSettings("smoke", cache=papers.parent / "cache", **own)
    return paper_runs.run_figures(names, settings, papers=papers, out=papers, progress=False, **kw)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A folder of two figures, of which one was run and the other fails."""
    papers = tmp_path_factory.mktemp("toy") / "papers"
    write_json(papers / "toy2030" / "fig1.ipynb", notebook(*PICTURES))
    write_json(papers / "toy2030" / "fig2.ipynb", notebook("raise ArithmeticError('no luck')"))
    with pytest.raises(
        RuntimeError, match="1 of 2 notebooks failed; toy2030/fig2: ArithmeticError: no luck"
    ):
        run(papers, pictures="pdf")
    return papers


@pytest.fixture
def papers(executed, tmp_path):
    return shutil.copytree(executed, tmp_path / "papers")


def test_there_are_the_figures_that_people_ask_for():
    assert {
        f"marouf2020/{name}" for name in ("fig1", "fig2", "fig3", "supplement", "baselines")
    } | {"groundgan2024/table1", "activa2022/activa"} <= set(FIGURES)


def test_committed_figures_are_whole_and_true():
    assert paper_runs.problems(PAPERS) == []


@pytest.mark.parametrize("name", FIGURES)
def test_figure_says_what_is_claimed_and_calls_what_there_is(name):
    figure = read_json(FIGURES[name])
    assert all(notebooks.heading(figure).values())
    assert [
        n for n in notebooks.called_names(figure) if notebooks.signature_of(n).endswith(" missing")
    ] == []
    assert not [c for c in figure["cells"] if "".join(c["source"]).count("\n") > 40]


def test_what_was_run_is_accepted_and_a_failure_leaves_its_notebook(executed):
    assert paper_runs.problems(executed) == []
    kept = read_json(executed / "toy2030" / "fig1.json")
    assert kept["rows"][0]["value"] == SCALES["smoke"].figure and {
        "hashes",
        "version",
        "seconds",
        "hardware",
        "data",
    } <= set(kept)
    assert not (executed / "toy2030" / "fig2.json").exists() and not notebooks.error_outputs(
        read_json(executed / "toy2030" / "fig2.ipynb")
    )
    table = (executed / "README.md").read_text()
    assert table.count("| not run |") == 1 and "cells: 100" in table


def test_vector_copies_are_beside_the_notebook_and_not_in_it(executed):
    figure = read_json(executed / "toy2030" / "fig1.ipynb")
    shown = [o["data"] for c in figure["cells"] for o in c.get("outputs", []) if "data" in o]
    assert [set(data) for data in shown[:2]] == [{"image/png", "text/plain"}] * 2
    files = sorted((executed / "toy2030").glob("*.pdf"))
    assert [path.name for path in files] == ["fig1-1.pdf", "fig1-2.pdf"]
    assert all(path.read_bytes().startswith(b"%PDF") for path in files)
    assert b"/FontFile2" in files[1].read_bytes()  # letters of a TrueType font, not outlines


def test_run_again_only_if_something_changed(papers):
    (papers / "toy2030" / "fig2.ipynb").unlink()
    assert run(papers) == {"toy2030/fig1": "as it was"}
    assert run(papers, "fig1", parameters={"seed": 2}) == {"toy2030/fig1": "run"}
    assert (
        read_json(papers / "toy2030" / "fig1.json")["rows"][0]["value"]
        == SCALES["smoke"].figure + 2
    )
    assert paper_runs.problems(papers) == []
    with pytest.raises(RuntimeError, match="has no parameter 'sead'; it has: scale, seed"):
        run(papers, parameters={"sead": 1})


@pytest.mark.parametrize(
    "harm, complaint",
    [
        ("no outputs", "has no outputs"),
        ("error", "hold an error"),
        ("code", "older than its code"),
        ("interface", "older than its interface"),
        ("numbers", "different numbers"),
        ("no json", "no fig1.json"),
        ("table", "README.md differs from what the figures say"),
    ],
)
def test_the_check_finds(papers, monkeypatch, harm, complaint):
    path, beside = papers / "toy2030" / "fig1.ipynb", papers / "toy2030" / "fig1.json"
    figure, kept = read_json(path), read_json(beside)
    if harm == "no outputs":
        for c in figure["cells"]:
            c.pop("outputs", None)
            c.update({"outputs": []} if c["cell_type"] == "code" else {})
    elif harm == "error":
        figure["cells"][-1]["outputs"].append(
            {"output_type": "error", "ename": "ValueError", "evalue": "x", "traceback": []}
        )
    elif harm == "code":
        figure["cells"][-1]["source"] += "\n# something else"
    elif harm == "numbers":
        kept["rows"][0]["value"] += 1
    elif harm == "table":
        (papers / "README.md").write_text("| all | agrees |")
    elif harm == "interface":
        monkeypatch.setattr(Figure, "finish", lambda self, quietly: None)
    write_json(path, figure)
    write_json(beside, kept)
    if harm == "no json":
        beside.unlink()
    if harm in ("numbers", "no json"):
        paper_runs.write_readme(papers)
    wrong = paper_runs.problems(papers)
    assert len(wrong) == 1 and complaint in wrong[0]
    with pytest.raises(ValueError, match=complaint):
        paper_runs.check(papers)


def test_installed_without_papers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    installed = str(tmp_path / "site" / "scgan_nb" / "workflow" / "scales.py")
    monkeypatch.setattr(notebooks.inspect, "getfile", lambda thing: installed)
    with pytest.raises(FileNotFoundError, match="run this in a checkout of the source"):
        paper_runs.command(["--scale", "smoke"])
