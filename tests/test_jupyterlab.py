"""JupyterLab in a real Chromium: the start page, and `train.ipynb` run, interrupted and run again.

`SCGAN_NB_SCREENSHOTS=FOLDER` keeps pictures of what was seen.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

import notebooks
from screens import keep_picture

SMALL = {
    "labels_key": "cell_type",
    "genes": 60,
    "valid_cells": 80,
    "cells_no": 40,
    "max_steps": 400,
    "latent_dim": 8,
    "gen_layers": [16],
    "critic_layers": [16],
    "validation_freq": 0,
    "save_freq": 50,
}
CELLS = "jupyterapp.shell.currentWidget.content.model.sharedModel.toJSON().cells"
STATE = "jupyterapp.shell.currentWidget.sessionContext.kernelDisplayStatus"
MILLISECONDS = 600_000  # for all cells of the notebook, on a busy machine


def project_copy(folder: Path, counts: Path) -> Path:
    """What JupyterLab shows of the project, with `train.ipynb` at a small size on `counts`."""
    for name in ("nbs", "ci", "papers"):
        shutil.copytree(notebooks.TOP / name, folder / name, ignore=shutil.ignore_patterns("runs"))
    path = folder / "nbs" / "train.ipynb"
    nb = notebooks.read(path)
    small = SMALL | {"raw_input": str(counts)}
    for _, cell in notebooks.code_cells(nb):
        cell["outputs"], cell["execution_count"] = [], None
        if notebooks.has_tag(cell, "parameters"):
            given = "\n".join(f"{name} = {value!r}" for name, value in small.items())
            cell["source"] = notebooks.source(cell).replace(
                "\ndeclared =", f"\n{given}\ndeclared ="
            )
            assert given in cell["source"]
    notebooks.write(path, nb)
    return folder


@pytest.fixture
def address(tmp_path, small_counts):
    """The address of a JupyterLab that runs with the project's own settings."""
    place = project_copy(tmp_path / "project", small_counts)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", f"--port={port}"]
    command += ["--IdentityProvider.token=t", "--LabApp.expose_app_in_browser=True"]
    own = {"HOME": str(tmp_path), "JUPYTER_CONFIG_PATH": str(place / "ci" / "jupyter")}
    own["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(notebooks.TOP), os.environ.get("PYTHONPATH")])
    )
    said = tmp_path / "jupyter.log"
    with said.open("w") as log:
        server = subprocess.Popen(command, env=os.environ | own, cwd=place, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{url}/api?token=t", timeout=5)
                break
            except OSError:
                assert server.poll() is None, said.read_text()
                time.sleep(0.5)
        yield f"{url}/?token=t"
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:  # a kernel that is just being started can hold it up
            server.kill()
            server.wait(30)


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.set_default_timeout(120_000)
    return page


def choose(page, menu: str, entry: str) -> None:
    """Click an entry of a menu."""
    page.locator(".lm-MenuBar-itemLabel", has_text=menu).first.click()
    page.locator(".lm-Menu-itemLabel", has_text=entry).first.click()


def code_cells(page) -> list[dict]:
    return [cell for cell in page.evaluate(CELLS) if cell["cell_type"] == "code"]


def outputs_of(cells: list[dict], kind: str) -> list[dict]:
    return [out for cell in cells for out in cell["outputs"] if out["output_type"] == kind]


def pictures(cells: list[dict]) -> int:
    outputs = [out.get("data", {}) for cell in cells for out in cell["outputs"]]
    return sum("image/png" in data for data in outputs)


def run_all(page) -> list[dict]:
    """Choose Run All, wait until the last cell has run once more, and return the code cells."""
    last = f"{CELLS}.filter(cell => cell.cell_type == 'code').at(-1).execution_count"
    before = page.evaluate(last) or 0
    choose(page, "Run", "Run All Cells")
    page.wait_for_function(f"{STATE} == 'idle' && {last} > {before}", timeout=MILLISECONDS)
    page.wait_for_timeout(1_000)
    return code_cells(page)


@pytest.mark.slow
def test_run_interrupt_and_run_again(page, address):
    page.goto(address)
    start = page.locator(".jp-RenderedMarkdown h1", has_text="scgan_nb")
    start.wait_for()
    page.wait_for_function("document.querySelector('.jp-RenderedMarkdown img')?.naturalWidth > 0")
    keep_picture(page, "lab_start")
    said = page.locator(".Toastify__toast").all_text_contents()
    assert said == []  # no question about news
    page.locator(".jp-RenderedMarkdown").get_by_role("link", name="train", exact=True).first.click()
    page.locator(".jp-RenderedMarkdown h1", has_text="Train a model").wait_for()
    page.wait_for_function(f"{STATE} == 'idle'")

    choose(page, "Run", "Run All Cells")
    training = f"{CELLS}.find(cell => cell.source.includes('experiments.train('))"
    page.wait_for_function(f"{training}.outputs.length > 0", timeout=MILLISECONDS)
    page.wait_for_timeout(1_000)
    keep_picture(page, "lab_training")
    choose(page, "Kernel", "Interrupt Kernel")
    page.wait_for_function(f"{STATE} == 'idle'", timeout=MILLISECONDS)
    errors = outputs_of(code_cells(page), "error")
    assert [error["ename"] for error in errors] == ["KeyboardInterrupt"]
    keep_picture(page, "lab_interrupted")

    whole = notebooks.read(notebooks.TOP / "nbs" / "train.ipynb")
    wanted = pictures([cell for _, cell in notebooks.code_cells(whole)])
    cells = run_all(page)
    assert outputs_of(cells, "error") == []
    assert pictures(cells) == wanted
    keep_picture(page, "lab_again")
