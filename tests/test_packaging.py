"""What holds the project together: notebooks, package, locks and settings fit, and nothing stray is published."""

import ast
import configparser
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
NOTEBOOKS = sorted(
    path
    for folder in ("nbs", "papers")
    for path in (TOP / folder).rglob("*.ipynb")
    if not any(part.startswith((".", "_")) for part in path.relative_to(TOP).parts)
)
CHAPTERS = [path for path in NOTEBOOKS if path.parent == TOP / "nbs" and path.name[0].isdigit()]
RUN_NOTEBOOKS = [
    path
    for path in NOTEBOOKS
    if path.parent == TOP / "nbs" and not path.name[0].isdigit() and path.stem != "index"
]
LOCKS = sorted((TOP / "ci" / "locks").glob("*.txt"))


def by_name(path):
    return str(path.relative_to(TOP))


def cells_of(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def tagged(cells):
    return [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]


def python(*args, cwd):
    "Run a fresh Python; its standard output. A failure shows all that it said."
    done = subprocess.run([sys.executable, *args], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def published():
    "The project's files as git knows them, those not yet committed included."
    if not (TOP / ".git").exists():
        pytest.skip("not a git checkout")
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=TOP,
        capture_output=True,
        check=True,
    )
    paths = [TOP / name for name in done.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


# --- notebooks


def test_parameters_tag_survives_clean(tmp_path):
    "nbdev_clean drops cell metadata; without the tag papermill would run the defaults and call that a success."
    shutil.copy(TOP / "settings.ini", tmp_path)
    (tmp_path / "nbs").mkdir()
    cell = {
        "cell_type": "code",
        "id": "a",
        "execution_count": 3,
        "metadata": {"tags": ["parameters"], "collapsed": True},
        "outputs": [],
        "source": ["cells_no = 10"],
    }
    notebook = {
        "cells": [cell],
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}
        },
    }
    path = tmp_path / "nbs" / "run.ipynb"
    path.write_text(json.dumps(notebook))
    python("-c", "from nbdev.clean import nbdev_clean; nbdev_clean()", cwd=tmp_path)
    [cleaned] = cells_of(path)
    assert (
        cleaned["execution_count"] is None and "collapsed" not in cleaned["metadata"]
    )  # it did clean
    assert cleaned["metadata"]["tags"] == ["parameters"]


def test_run_notebooks_exist():
    assert {"process", "train", "generate"} <= {path.stem for path in RUN_NOTEBOOKS}


@pytest.mark.parametrize("path", RUN_NOTEBOOKS, ids=by_name)
def test_run_notebook_has_one_parameters_cell(path):
    [parameters] = tagged(cells_of(path))
    assert parameters["cell_type"] == "code"
    assert (
        json.loads(path.read_text(encoding="utf-8"))["metadata"]["kernelspec"]["name"] == "python3"
    )


@pytest.mark.parametrize("path", RUN_NOTEBOOKS, ids=by_name)
def test_nbdev_test_skips_run_notebook(path):
    "papermill runs it; `nbdev_test` must not spend minutes on it: `skip_exec: true`, or `#| eval: false` in every cell."
    from nbdev.frontmatter import FrontmatterProc
    from nbdev.process import NBProcessor

    nb = NBProcessor(path, procs=FrontmatterProc, process=True).nb
    if nb.frontmatter_.get("skip_exec") is True:
        return
    code = [cell for cell in nb.cells if cell.cell_type == "code" and cell.source.strip()]
    assert [cell.source for cell in code if cell.directives_.get("eval:") != ["false"]] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=by_name)
def test_notebook_holds_no_error(path):
    outputs = [
        output
        for cell in cells_of(path)
        if cell["cell_type"] == "code"
        for output in cell["outputs"]
    ]
    assert [output["ename"] for output in outputs if output["output_type"] == "error"] == []


@pytest.mark.parametrize("path", CHAPTERS, ids=by_name)
def test_chapter_opens_closes_and_is_short(path):
    cells = cells_of(path)
    text = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    headings = re.findall(r"^##? .*$", "\n".join(text), flags=re.MULTILINE)
    assert text[0].startswith("# ")
    assert headings[-1].startswith("## Next")
    assert len(cells) <= 60


# --- the package


def heavy_modules_after(code):
    "Which of the slow libraries a fresh Python has loaded after `code`."
    report = "import sys; print('\\nLOADED', *sorted({'tensorflow', 'keras', 'scanpy', 'anndata', 'pandas', 'scipy', 'sklearn', 'matplotlib', 'numba'} & set(sys.modules)))"
    return python("-c", f"{code}\n{report}", cwd=TOP).splitlines()[-1].split()[1:]


def test_import_is_light():
    assert heavy_modules_after("import scgan_nb; assert 'ScGAN' in dir(scgan_nb)") == []


@pytest.mark.parametrize(
    "words", [["--help"], ["evaluate", "--help"], ["compare", "--help"]], ids=" ".join
)
def test_help_is_light(words):
    if not (TOP / "scgan_nb" / "cli.py").exists():
        pytest.skip("no command line yet")
    asked = f"import sys\nsys.argv = ['scgan_nb', *{words}]\nfrom scgan_nb.workflow.cli import main\ntry: main()\nexcept SystemExit as stop: assert not stop.code"
    assert heavy_modules_after(asked) == []


def test_imports_are_declared():
    "Whatever the package imports stands in pyproject.toml; that another dependency happens to bring it is not enough."
    declared = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["cpu"]
    declared = {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in declared}
    provides = importlib.metadata.packages_distributions()
    missing = {}
    for path in (TOP / "scgan_nb").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            else:
                continue
            for name in (
                {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"scgan_nb"}
            ):
                found = {dist.lower().replace("_", "-") for dist in provides.get(name, [])}
                if not found & declared:
                    missing.setdefault(name, path.name)
    assert missing == {}


def test_settings_agree():
    import scgan_nb

    settings = configparser.ConfigParser()
    settings.read(TOP / "settings.ini")
    settings = settings["DEFAULT"]
    assert settings["lib_name"] == PROJECT["name"]
    assert settings["description"] == PROJECT["description"]
    # pyproject.toml takes the version from the package
    assert "version" in PROJECT["dynamic"] and settings["version"] == scgan_nb.__version__
    assert PROJECT["requires-python"].startswith(f">={settings['min_python']}")
    assert (
        settings["update_pyproject"] == "False" and settings["allowed_cell_metadata_keys"] == "tags"
    )


def test_wheel_is_complete(published, tmp_path):
    source = tmp_path / "source"
    for path in published:
        if path.is_relative_to(TOP / "scgan_nb") or path.parent == TOP:
            copy = source / path.relative_to(TOP)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    python(
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
        str(source),
        cwd=tmp_path,
    )
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {
        path.relative_to(TOP).as_posix()
        for path in published
        if path.is_relative_to(TOP / "scgan_nb")
    }
    assert "scgan_nb/resources/pbmc3k.h5ad" in ours
    assert {name for name in ours if name.endswith(".py") or "/data/" in name} <= names
    assert {"LICENSE", "NOTICE", "entry_points.txt"} <= {Path(name).name for name in names}
    assert not [
        name for name in names if not name.startswith("scgan_nb")
    ]  # no tests, no notebooks beside the package


# --- locks, and what is published


def test_there_is_a_lock_for_each_python():
    assert [path.stem for path in LOCKS] == ["py311", "py312", "py313"]


@pytest.mark.parametrize("path", LOCKS, ids=by_name)
def test_lock_holds_versions_only(path):
    lines = path.read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[0-9][a-z0-9.]*", line)] == []
    locked = {line.split("==")[0] for line in lines}
    wanted = [
        line for extra in ("cpu", "dev") for line in PROJECT["optional-dependencies"][extra]
    ] + PROJECT["dependencies"]
    wanted = {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in wanted}
    assert wanted | {"setuptools", "pip"} <= locked
    assert not {"tensorflow", "tensorflow-gpu"} & locked  # tensorflow-cpu alone


STRAY = {
    "a registry's host": r"p[y]pi[.]org|python[h]osted[.]|npm[j]s[.]|deb[.]deb[i]an",
    "a path of one machine": r"(?<![\w.])/(work|root|Users)/[a-zA-Z.]",
    "pickle": r"(?m)^\W*(import|from) p[i]ckle|\bp[i]ckle[.](load|dump)|allow_p[i]ckle ?= ?True",
    "eval": r"(?<![\w.])eval\(",
}


@pytest.mark.parametrize("what", STRAY)
def test_nothing_stray_is_published(published, what):
    pattern, found = re.compile(STRAY[what]), []
    for path in published:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # pictures and counts
        found += [f"{by_name(path)}: {match[0]}" for match in pattern.finditer(text)]
    assert found == []
