"""Notebooks, package, locks and settings fit together, and nothing stray is published."""

import ast
import configparser
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import badges
from notebooks import has_tag, is_run_notebook

TOP = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())
PROJECT, BACKEND = PYPROJECT["project"], Requirement(PYPROJECT["build-system"]["requires"][0])
NOTEBOOKS = sorted(
    path
    for folder in ("nbs", "papers")
    for path in (TOP / folder).rglob("*.ipynb")
    if not any(part.startswith((".", "_")) for part in path.relative_to(TOP).parts)
)
RUN_NOTEBOOKS = [
    path
    for path in NOTEBOOKS
    if path.is_relative_to(TOP / "nbs") and is_run_notebook(json.loads(path.read_text()))
]
PLATFORMS = [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"), ("win32", "AMD64")]
LOCKS = sorted((TOP / "ci" / "locks").glob("py*.txt"))  # not those of the site


def by_name(path):
    return str(path.relative_to(TOP))


def cells_of(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def python(*args, cwd):
    """Standard output of a fresh Python. A failure shows all that it said."""
    done = subprocess.run([sys.executable, *args], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def published():
    """The project's files as git knows them, those not yet committed included."""
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


def test_tags_and_hash_survive_clean(tmp_path):
    """nbdev_clean drops metadata. Without the tag papermill would run the defaults and succeed."""
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
            "kernelspec": {"display_name": "python3", "language": "python", "name": "python3"},
            "scgan_nb": {"code_sha256": "0"},
            "widgets_of_yesterday": {},
        },
    }
    path = tmp_path / "nbs" / "run.ipynb"
    path.write_text(json.dumps(notebook))
    python("-c", "from nbdev.clean import nbdev_clean; nbdev_clean()", cwd=tmp_path)
    [cleaned] = cells_of(path)
    assert cleaned["execution_count"] is None and "collapsed" not in cleaned["metadata"]
    assert cleaned["metadata"]["tags"] == ["parameters"]
    kept = json.loads(path.read_text())["metadata"]
    assert kept["scgan_nb"] == {"code_sha256": "0"} and "widgets_of_yesterday" not in kept


def test_run_notebooks_exist():
    assert {"process", "train", "generate", "evaluate"} <= {path.stem for path in RUN_NOTEBOOKS}


@pytest.mark.parametrize("path", RUN_NOTEBOOKS, ids=by_name)
def test_run_notebook_has_one_parameters_cell(path):
    [parameters] = [cell for cell in cells_of(path) if has_tag(cell, "parameters")]
    assert parameters["cell_type"] == "code"
    assert (
        json.loads(path.read_text(encoding="utf-8"))["metadata"]["kernelspec"]["name"] == "python3"
    )


@pytest.mark.parametrize("path", RUN_NOTEBOOKS, ids=by_name)
def test_nbdev_test_skips_run_notebook(path):
    """It takes minutes: `.notest` beside it, `skip_exec: true`, or `eval: false` in every cell."""
    from nbdev.frontmatter import FrontmatterProc
    from nbdev.process import NBProcessor

    if (path.parent / ".notest").exists():
        return
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


# --- the package

SLOW_LIBRARIES = set(
    [
        "tensorflow",
        "keras",
        "scanpy",
        "anndata",
        "pandas",
        "scipy",
        "sklearn",
        "matplotlib",
        "numba",
    ]
)


def heavy_modules_after(code):
    """Which of the slow libraries a fresh Python has loaded after `code`."""
    report = f"import sys; print('\\nLOADED', *sorted({SLOW_LIBRARIES} & set(sys.modules)))"
    return python("-c", f"{code}\n{report}", cwd=TOP).splitlines()[-1].split()[1:]


def test_import_is_light():
    assert heavy_modules_after("import scgan_nb; assert 'ScGAN' in dir(scgan_nb)") == []


@pytest.mark.parametrize(
    "words", [["--help"], ["evaluate", "--help"], ["compare", "--help"]], ids=" ".join
)
def test_help_is_light(words):
    asked = f"""
import sys
from scgan_nb.workflow.cli import main
sys.argv = ["scgan_nb", *{words}]
try:
    main()
except SystemExit as stop:
    assert not stop.code
"""
    assert heavy_modules_after(asked) == []


def test_command_is_in_the_package():
    import scgan_nb.workflow.cli

    [command] = importlib.metadata.entry_points(group="console_scripts", name="scgan_nb")
    assert PROJECT["scripts"]["scgan_nb"] == "scgan_nb.workflow.cli:main" == command.value
    assert callable(scgan_nb.workflow.cli.main)


def test_imports_are_declared():
    """What is imported stands in pyproject.toml, even when another dependency brings it."""
    extras = PROJECT["optional-dependencies"]
    declared = PROJECT["dependencies"] + extras["cpu"] + extras["scale"]
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
    assert settings["update_pyproject"] == "False"
    assert settings["allowed_cell_metadata_keys"] == "tags"
    assert settings["allowed_metadata_keys"] == "scgan_nb"


CONDA_NAMES = {"igraph": "python-igraph", "matplotlib": "matplotlib-base", "openTSNE": "opentsne"}


def test_conda_recipe_agrees_with_the_package():
    """What can be checked without a channel: version, Python, entry point, requirements."""
    recipe = yaml.safe_load((TOP / "ci" / "conda" / "recipe.yaml").read_text())
    import scgan_nb

    assert recipe["schema_version"] == 1 and recipe["package"]["name"] == PROJECT["name"]
    assert recipe["context"]["version"] == scgan_nb.__version__
    assert recipe["about"]["summary"] == PROJECT["description"]
    assert recipe["about"]["license"] == PROJECT["license"]
    folder = (TOP / "ci" / "conda" / recipe["source"]["path"]).resolve()
    assert all((folder / name).exists() for name in recipe["about"]["license_file"])
    commands = [f"{name} = {place}" for name, place in PROJECT["scripts"].items()]
    assert recipe["build"]["python"]["entry_points"] == commands
    wanted = {"python": SpecifierSet(PROJECT["requires-python"])}
    for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["cpu"]:
        needed = Requirement(line)
        there = {"sys_platform": "linux", "platform_machine": "x86_64"}
        if needed.marker is None or needed.marker.evaluate(there):
            wanted[CONDA_NAMES.get(needed.name, needed.name)] = needed.specifier
    listed = [line.partition(" ") for line in recipe["requirements"]["run"]]
    assert {name: SpecifierSet(bounds) for name, _, bounds in listed} == wanted
    assert f"setuptools {BACKEND.specifier}" in recipe["requirements"]["host"]


# --- Binder and Colab


def test_badges_lead_to_what_is_there(tmp_path):
    assert (TOP / badges.OPENED).is_file()
    (tmp_path / "settings.ini").write_text(
        "[DEFAULT]\nbranch = main\nuser = someone\nrepo = guessed\n"
        "git_url = https://github.com/lab/cells\n"
    )
    text = badges.with_badges("# Title\n\nText.\n", tmp_path)
    assert text.startswith("# Title\n\n[![Open on Binder](") and text.endswith("\n\nText.\n")
    notebook = "https://colab.research.google.com/github/lab/cells/blob/main/nbs/train.ipynb"
    assert f"({notebook})" in text and "%pip install git+https://github.com/lab/cells`" in text
    place = "https://mybinder.org/v2/gh/lab/cells/main?urlpath=lab/tree/nbs%2Ftrain.ipynb"
    assert f"({place})" in text and "guessed" not in text


def test_badges_of_other_hosts():
    found = badges.links("https://gitlab.com/lab/cells.git", "v1/x")
    assert set(found) == {"Binder"}
    assert found["Binder"].startswith("https://mybinder.org/v2/gl/lab%2Fcells/v1%2Fx?")
    assert badges.links("https://git.example.org/lab/cells", "main") == {}
    with pytest.raises(ValueError, match="https://HOST/OWNER/REPOSITORY, not 'lab/cells'"):
        badges.links("lab/cells", "main")


def test_readme_has_badges_only_with_an_address():
    """Now none: the project has no public address, and a guessed one would be a dead link."""
    text = (TOP / "README.md").read_text()
    shown = badges.markdown(TOP)
    assert shown in text and ("mybinder.org" in text) == bool(shown)


def test_binder_has_the_environment_of_the_project():
    folder = TOP / ".binder"
    [lock] = re.findall(r"^-r (.+)$", (folder / "requirements.txt").read_text(), re.MULTILINE)
    digits = (folder / "runtime.txt").read_text().strip().removeprefix("python-").replace(".", "")
    assert (folder / lock).resolve() == TOP / "ci" / "locks" / f"py{digits}.txt"
    locked = (folder / lock).read_text()
    assert re.search("^jupyterlab==", locked, re.MULTILINE)
    assert re.search("^setuptools==", locked, re.MULTILINE)  # postBuild builds without isolation
    assert (folder / "postBuild").stat().st_mode & 0o111


# --- the wheel and the source distribution


@pytest.fixture(scope="module")
def built(published, tmp_path_factory):
    """A folder with the wheel and the source distribution of the project's files."""
    place = tmp_path_factory.mktemp("built")
    for path in published:
        name = path.relative_to(TOP)
        if name.parts[0] in ("scgan_nb", "nbs") or path.parent == TOP:
            copy = place / "source" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    how = ["--wheel", "--sdist", "--no-isolation", "--outdir", str(place)]
    python("-m", "build", *how, str(place / "source"), cwd=place)
    return place


def test_wheel_is_complete(published, built):
    [wheel] = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {
        path.relative_to(TOP).as_posix()
        for path in published
        if path.is_relative_to(TOP / "scgan_nb")
    }
    assert "scgan_nb/resources/pbmc3k.h5ad" in ours
    assert ours - names == set()
    assert {"LICENSE", "NOTICE", "entry_points.txt"} <= {Path(name).name for name in names}
    # no tests and no chapters beside the package, but the run notebooks
    assert [name for name in names if not name.startswith("scgan_nb")] == []
    notebooks = {Path(name).name for name in names if name.endswith(".ipynb")}
    tutorials = {path.name for path in (TOP / "nbs" / "tutorials").glob("*.ipynb")}
    runs = {f"{name}.ipynb" for name in ("process", "train", "generate", "evaluate")}
    assert notebooks == runs | tutorials


def test_source_distribution_has_the_notebooks(built):
    [archive] = built.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {"nbs/train.ipynb", "nbs/tutorials/your_own_data.ipynb", "README.md"} <= names


def test_metadata_says_what_it_is(built):
    from packaging.metadata import Metadata

    [wheel] = built.glob("*.whl")
    archive = zipfile.ZipFile(wheel)
    [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    said = Metadata.from_email(archive.read(name))  # raises what an index would refuse
    assert said.license_expression == "Apache-2.0" and said.author == "scgan_nb developers"
    assert "Paper" in said.project_urls and said.description_content_type == "text/markdown"
    assert any("Bio-Informatics" in line for line in said.classifiers)


@pytest.mark.parametrize("how", ["--prefix", "--target"])
def test_wheel_works_outside_the_repository(built, tmp_path, how):
    """Installed elsewhere, with nothing of the clone in reach: version, command and notebooks."""
    import scgan_nb

    [wheel] = built.glob("*.whl")
    options = ["--no-deps", "--no-index", "--no-compile", "--quiet", "--ignore-installed"]
    python("-m", "pip", "install", *options, how, str(tmp_path / "env"), str(wheel), cwd=tmp_path)
    [package] = (tmp_path / "env").rglob("scgan_nb/__init__.py")
    code = f"""
import sys
sys.path.insert(0, {str(package.parent.parent)!r})
import scgan_nb
from scgan_nb.workflow.cli import main
assert scgan_nb.__file__ == {str(package)!r}, scgan_nb.__file__
assert main(["notebooks", "work"]) == 0
assert main(["--version"]) == 0
"""
    assert python("-c", code, cwd=tmp_path).strip() == scgan_nb.__version__
    copied = (tmp_path / "work" / "train.ipynb").read_bytes()
    assert copied == (TOP / "nbs" / "train.ipynb").read_bytes()
    assert (tmp_path / "work" / "tutorials" / "your_own_data.ipynb").exists()


# --- locks, and what is published


def test_there_is_a_lock_for_each_python():
    assert [path.stem for path in LOCKS] == ["py311", "py312", "py313"]


@pytest.mark.parametrize("path", LOCKS, ids=by_name)
def test_lock_holds_versions_only(path):
    lines = path.read_text().splitlines()
    pinned = r"[a-z0-9-]+==[0-9][a-z0-9.]*( ; [a-zA-Z_0-9 '.()!=<>*]+)?"
    assert [line for line in lines if not re.fullmatch(pinned, line)] == []
    locked = {line.split("==")[0] for line in lines}
    wanted = [
        line
        for extra in ("cpu", "dev", "scale")
        for line in PROJECT["optional-dependencies"][extra]
    ] + PROJECT["dependencies"]
    wanted = {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in wanted}
    assert wanted | {"setuptools", "pip"} <= locked


@pytest.mark.parametrize("path", LOCKS, ids=by_name)
@pytest.mark.parametrize("system, machine", PLATFORMS)
def test_one_tensorflow_on_each_platform(path, system, machine):
    "tensorflow and tensorflow-cpu share their files."
    from packaging.requirements import Requirement

    here = {"sys_platform": system, "platform_machine": machine}
    locked = [Requirement(line) for line in path.read_text().splitlines()]
    chosen = [
        line.name
        for line in locked
        if re.fullmatch("tensorflow(-cpu)?", line.name) and line.marker.evaluate(here)
    ]
    assert chosen == (["tensorflow-cpu"] if machine in ("x86_64", "AMD64") else ["tensorflow"])


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
