"""The run notebooks at small sizes, by papermill and in a kernel."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import anndata as ad
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from conftest import ROOT
from scgan_nb.core.parameter_files import read_experiment
from scgan_nb.training.checkpoints import checkpoints, find_checkpoint, read_checkpoint
from scgan_nb.workflow.experiments import generate, process, train

SMALL = {
    "genes": 100,
    "valid_cells": 150,
    "max_steps": 20,
    "summary_freq": 0,
    "latent_dim": 8,
    "gen_layers": [16],
    "critic_layers": [16],
}
INPUT = {"genes", "labels_key", "out_dir", "raw_input", "seed", "settings", "valid_cells"}


def papermill(notebook, out, **given):
    """Run a notebook with parameters: lists and mappings as YAML, others as -p."""
    words = []
    for name, value in given.items():
        if isinstance(value, (list, dict)):
            words += ["-y", json.dumps({name: value})]
        else:
            words += ["-p", name, str(value)]
    command = [sys.executable, "-m", "papermill", "--no-progress-bar"]
    command += [str(ROOT / "nbs" / notebook), str(out), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=out.parent)


def outputs(notebook):
    """Mime types of all outputs of an executed notebook."""
    cells = json.loads(notebook.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    return [mime for cell in code for out in cell["outputs"] for mime in out.get("data", {})]


def texts(notebook):
    """What an executed notebook has written to its streams."""
    cells = json.loads(notebook.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    return "".join("".join(out.get("text", "")) for cell in code for out in cell["outputs"])


def last_arrays(folder):
    """The arrays of the last checkpoint in an experiment folder."""
    return read_checkpoint(find_checkpoint(Path(folder)))[0]


def same_arrays(a, b):
    return set(a) == set(b) and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.slow
def test_three_notebooks_are_one_run_of_train(tmp_path):
    """Process, train and generate in three notebooks, against one call of Python."""
    data = {name: value for name, value in SMALL.items() if name in INPUT}
    first = papermill("process.ipynb", tmp_path / "a.ipynb", **data, out_dir=tmp_path / "parts")
    assert first.returncode == 0, first.stderr[-3000:]
    second = papermill(
        "train.ipynb", tmp_path / "b.ipynb", **SMALL, cells_no=30, out_dir=tmp_path / "parts"
    )
    assert second.returncode == 0, second.stderr[-3000:]
    assert outputs(tmp_path / "b.ipynb").count("image/png") >= 3
    assert "oneDNN" not in texts(tmp_path / "b.ipynb")
    assert not any("widget" in mime for mime in outputs(tmp_path / "b.ipynb"))
    third = papermill(
        "generate.ipynb", tmp_path / "c.ipynb", model_path=tmp_path / "parts", cells_no=60
    )
    assert third.returncode == 0, third.stderr[-3000:]

    whole = read_experiment(tmp_path / "parts")
    process(tmp_path / "whole", whole)
    train(tmp_path / "whole", progress=False)
    assert same_arrays(last_arrays(tmp_path / "whole"), last_arrays(tmp_path / "parts"))
    assert read_experiment(tmp_path / "whole") == whole
    generate(tmp_path / "whole", 60)
    made = [ad.read_h5ad(tmp_path / name / "generated_cells.h5ad") for name in ("whole", "parts")]
    assert made[0].n_obs == 60 and (made[0].X != made[1].X).nnz == 0
    check_generated(made[0])


def check_generated(cells):
    assert cells.obs["is_synthetic"].all() and "gene_ids" in cells.var
    assert list(cells.obs_names[:2]) == ["synthetic_0", "synthetic_1"]
    totals = np.asarray(cells.layers["counts"].sum(1)).ravel()
    assert (totals == cells.obs["n_counts"]).all()
    assert json.loads(cells.uns["scgan_nb"]["parameters"])["training"]["max_steps"] == 20


@pytest.mark.slow
def test_a_page_for_generated_cells(tmp_path, parameters):
    """`generate` with labels and a depth, then `evaluate`, from a folder of the command line."""
    from scgan_nb.workflow.cli import main

    param, folder = parameters()
    assert main(["--param", str(param), "--process", "--train"]) == 0
    label = read_experiment(folder).preprocessed.labels[1]
    out = papermill(
        "generate.ipynb",
        tmp_path / "generate.ipynb",
        model_path=folder,
        save_path=tmp_path / "more.zarr",
        cells_no={label: 7},
        depth=500,
    )
    assert out.returncode == 0, out.stderr[-3000:]
    more = ad.read_zarr(tmp_path / "more.zarr")
    assert more.obs["cluster"].value_counts()[label] == more.n_obs == 7
    assert (np.asarray(more.layers["counts"].sum(1)) == 500).all()

    assert main(["--generate", "--cells_no", "200", "--model_path", str(folder)]) == 0
    out = papermill(
        "evaluate.ipynb",
        tmp_path / "evaluate.ipynb",
        generated=folder / "generated_cells.h5ad",
        model_path=folder,
        out_dir=tmp_path / "page",
        fast=True,
        repeats=2,
        trees=20,
    )
    assert out.returncode == 0, out.stderr[-3000:]
    assert {path.name for path in (tmp_path / "page").iterdir()} == {"report.html", "report.json"}


@pytest.mark.slow
def test_process_own_counts(tmp_path, small_counts):
    out = papermill(
        "process.ipynb",
        tmp_path / "process.ipynb",
        raw_input=small_counts,
        out_dir=tmp_path / "exp",
        labels_key="cell_type",
    )
    assert out.returncode == 0, out.stderr[-3000:]
    assert outputs(tmp_path / "process.ipynb").count("image/png") >= 1
    assert (tmp_path / "exp" / "TF_records" / "train-9.tfrecords").exists()
    assert read_experiment(tmp_path / "exp").input_ds.split.valid_cells == 150  # a quarter of 600


@pytest.mark.parametrize(
    "given, complaint",
    [
        ({"cells_nr": 5}, "did you mean cells_no?"),
        ({"max_steps": "many"}, "max_steps must be int, not 'many'"),
        ({"devices": "many"}, "training.devices"),
    ],
)
def test_a_mistyped_parameter_stops_the_run(tmp_path, given, complaint):
    out = papermill("train.ipynb", tmp_path / "out.ipynb", **given, out_dir=tmp_path / "run")
    assert out.returncode != 0 and complaint in out.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_devices_reach_the_training(tmp_path):
    given = SMALL | {"devices": 3, "out_dir": tmp_path / "run"}
    out = papermill("train.ipynb", tmp_path / "out.ipynb", **given)
    assert out.returncode != 0
    assert "a batch of 128 cells cannot be shared equally by 3 devices" in out.stderr


class Kernel:
    """A kernel that runs a notebook as JupyterLab does, with papermill's cell in it."""

    def __init__(self, notebook, folder, **given):
        nb = nbformat.read(ROOT / "nbs" / notebook, as_version=4)
        tags = [cell.metadata.get("tags", []) for cell in nb.cells]
        place = next(i for i, found in enumerate(tags) if "parameters" in found)
        lines = ["# Parameters", *(f"{name} = {value!r}" for name, value in given.items())]
        nb.cells.insert(place + 1, nbformat.v4.new_code_cell("\n".join(lines)))
        where = {"metadata": {"path": str(folder)}}
        self.client = NotebookClient(nb, kernel_name="python3", timeout=600, resources=where)

    def run_all(self):
        for number, cell in enumerate(self.client.nb.cells):
            if cell.cell_type == "code":
                self.client.execute_cell(cell, number)


def interrupt(kernel, job):
    """Interrupt a kernel when a checkpoint is in the job folder."""
    end = time.monotonic() + 300
    while time.monotonic() < end and not (job.exists() and checkpoints(job)):
        time.sleep(0.02)
    asyncio.run(kernel.client.km.interrupt_kernel())


@pytest.mark.slow
def test_stopped_and_run_again_in_one_kernel(tmp_path):
    given = SMALL | {"max_steps": 300, "save_freq": 10, "cells_no": 30}
    kernel = Kernel("train.ipynb", tmp_path, **given, out_dir="run")
    with kernel.client.setup_kernel():
        stop = Thread(target=interrupt, args=(kernel, tmp_path / "run" / "job"))
        stop.start()
        with pytest.raises(CellExecutionError, match="KeyboardInterrupt"):
            kernel.run_all()
        stop.join()
        done = int(checkpoints(tmp_path / "run" / "job")[-1].stem.removeprefix("model-"))
        assert 0 < done < 300
        kernel.run_all()

    settings = read_experiment(tmp_path / "run")
    process(tmp_path / "undisturbed", settings)
    train(tmp_path / "undisturbed", progress=False)
    assert same_arrays(last_arrays(tmp_path / "run"), last_arrays(tmp_path / "undisturbed"))


@pytest.mark.slow
@pytest.mark.parametrize("notebook", ["process", "generate", "evaluate"])
def test_run_all_twice_in_one_kernel(tmp_path, parameters, notebook):
    from scgan_nb.workflow.cli import main

    param, folder = parameters()
    assert main(["--param", str(param), "--process", "--train"]) == 0
    assert main(["--generate", "--cells_no", "200", "--model_path", str(folder)]) == 0
    given = {
        "process": {"genes": 100, "out_dir": "run"},
        "generate": {"model_path": str(folder), "cells_no": 20},
        "evaluate": {
            "generated": str(folder / "generated_cells.h5ad"),
            "model_path": str(folder),
            "fast": True,
            "repeats": 2,
            "trees": 20,
        },
    }
    kernel = Kernel(f"{notebook}.ipynb", tmp_path, **given[notebook])
    with kernel.client.setup_kernel():
        kernel.run_all()
        kernel.run_all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["scGAN", "cscGAN"])
def test_the_original_workflow(parameters, tmp_path, kind):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from scgan_nb.core.parameter_files import read_experiment
    from scgan_nb.workflow.cli import main

    param, folder = parameters(kind, summary_freq=3, validation_freq=6)
    assert main(["--param", str(param), "--process", "--train"]) == 0
    labels = read_experiment(folder).preprocessed.labels
    asked = ["40"] if kind == "scGAN" else [str(5 * i) for i in range(len(labels))]
    where = ["--model_path", str(folder), "--save_path", str(tmp_path / "cells.h5ad")]
    assert main(["--param", str(param), "--generate", "--cells_no", *asked, *where]) == 0
    cells = ad.read_h5ad(tmp_path / "cells.h5ad")
    assert cells.n_obs == sum(map(int, asked))
    if kind == "cscGAN":
        assert cells.obs["cluster"].value_counts().loc[labels].astype(str).tolist() == asked
    assert (folder / "job" / "TSNE" / "step_6.png").exists()
    events = EventAccumulator(str(folder / "job")).Reload()
    assert [event.step for event in events.Tensors("TSNE")][0] == 6
    assert main(["--param", str(param), "--process"]) == 1  # an experiment is not overwritten


SPEED = {
    "ratio",
    "floor_share",
    "cpu_s_per_critic_update",
    "cpu_s_per_generator_update",
}
OTHER_SPEED = {
    "generate.cells_per_s.200",
    "generate.limit_share.200",
    "generate.peak_mb.600x200",
    "preprocess.s.300x400",
    "preprocess.peak_mb.300x400",
    "train.peak_mb.200",
    "import.s",
}


@pytest.mark.thorough
def test_speed_at_small_sizes(tmp_path):
    """It runs and writes its keys. How fast anything was is not tested."""
    out = papermill(
        "benchmarks/speed.ipynb",
        tmp_path / "speed.ipynb",
        out_dir=tmp_path / "speed",
        repeats=1,
        train_genes=200,
        genes=[200],
        preprocess=[[300, 400]],
        generate=[[600, 200]],
    )
    assert out.returncode == 0, out.stderr[-3000:]
    found = json.loads((tmp_path / "speed" / "speed.json").read_text())
    by_kind = {f"{what}.{kind}.200" for what in SPEED for kind in ("scGAN", "cscGAN")}
    assert by_kind | OTHER_SPEED <= set(found)
    assert all(np.isfinite(value) for value in found.values())
    assert not any((tmp_path / "speed").glob("tmp*"))


@pytest.mark.thorough
def test_realism_at_small_size(tmp_path):
    """It trains, measures and writes a row for each arm. How good cells are is not tested."""
    out = papermill(
        "benchmarks/realism.ipynb",
        tmp_path / "realism.ipynb",
        out_dir=tmp_path / "realism",
        seeds=[1],
        genes=100,
        test_cells=300,
        data={"PBMC 3k": "pbmc3k"},
        counts_steps={"PBMC 3k": [3]},
        without_steps={},
        paper_steps={"PBMC 3k": [3]},
        repeats=2,
    )
    assert out.returncode == 0, out.stderr[-3000:]
    rows = json.loads((tmp_path / "realism" / "realism.json").read_text())
    assert [row["arm"] for row in rows] == ["counts", "minutes", "copula"]
    for row in rows:
        assert 0.4 < row["strongest_auroc_control"] < 0.65 < row["strongest_auroc"] <= 1
