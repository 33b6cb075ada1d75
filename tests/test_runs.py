"""The run notebooks by papermill, at smoke size, and the command line end to end."""

import json
import subprocess
import sys

import anndata as ad
import numpy as np
import pytest

from conftest import ROOT


def papermill(notebook, out, *args):
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "papermill",
            "--no-progress-bar",
            str(ROOT / "nbs" / notebook),
            str(out),
            *map(str, args),
        ],
        capture_output=True,
        text=True,
        cwd=out.parent,
    )


def outputs(notebook):
    """Mime types of all outputs of an executed notebook."""
    cells = json.loads(notebook.read_text())["cells"]
    return [
        mime
        for c in cells
        if c["cell_type"] == "code"
        for o in c["outputs"]
        for mime in o.get("data", {})
    ]


def test_train_then_generate(tmp_path):
    out = papermill(
        "train.ipynb",
        tmp_path / "train.ipynb",
        "-p",
        "cells_no",
        60,
        "-p",
        "max_steps",
        12,
        "-p",
        "genes",
        200,
        "-p",
        "out_dir",
        tmp_path / "run",
        "-p",
        "summary_freq",
        0,
    )
    assert out.returncode == 0, out.stderr[-3000:]
    assert outputs(tmp_path / "train.ipynb").count("image/png") >= 3
    cells = ad.read_h5ad(tmp_path / "run" / "generated_cells.h5ad")
    assert (
        cells.n_obs == 60
        and cells.obs["is_synthetic"].all()
        and list(cells.obs_names[:2]) == ["synthetic_0", "synthetic_1"]
    )
    assert (
        np.asarray(cells.layers["counts"].sum(1)).ravel() == cells.obs["n_counts"]
    ).all() and "gene_ids" in cells.var
    assert json.loads(cells.uns["scgan_nb"]["parameters"])["training"]["max_steps"] == 12

    label = cells.obs["cluster"].cat.categories[2]
    out = papermill(
        "generate.ipynb",
        tmp_path / "generate.ipynb",
        "-p",
        "model_path",
        tmp_path / "run",
        "-p",
        "save_path",
        tmp_path / "more.zarr",
        "-y",
        f"cells_no: {{'{label}': 7}}",
        "-p",
        "depth",
        500,
    )
    assert out.returncode == 0, out.stderr[-3000:]
    more = ad.read_zarr(tmp_path / "more.zarr")
    assert (
        more.obs["cluster"].value_counts()[label] == more.n_obs == 7
        and (np.asarray(more.layers["counts"].sum(1)) == 500).all()
    )


def test_process(tmp_path, small_counts):
    out = papermill(
        "process.ipynb",
        tmp_path / "process.ipynb",
        "-p",
        "raw_input",
        small_counts,
        "-p",
        "out_dir",
        tmp_path / "exp",
        "-p",
        "valid_cells",
        60,
        "-p",
        "labels_key",
        "cell_type",
    )
    assert out.returncode == 0, out.stderr[-3000:]
    assert outputs(tmp_path / "process.ipynb").count("image/png") >= 1
    assert (tmp_path / "exp" / "TF_records" / "train-9.tfrecords").exists()


@pytest.mark.parametrize(
    "given, complaint",
    [
        (("-p", "cells_nr", 5), "did you mean cells_no?"),
        (("-p", "max_steps", "many"), "max_steps must be int, not 'many'"),
    ],
)
def test_a_mistyped_parameter_stops_the_run(tmp_path, given, complaint):
    out = papermill(
        "train.ipynb", tmp_path / "out.ipynb", *given, "-p", "out_dir", tmp_path / "run"
    )
    assert out.returncode != 0 and complaint in out.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["scGAN", "cscGAN"])
def test_the_original_workflow(parameters, tmp_path, kind):
    from scgan_nb.core.parameter_files import read_experiment
    from scgan_nb.workflow.cli import main

    param, folder = parameters(kind, summary_freq=3, validation_freq=6)
    assert main(["--param", str(param), "--process", "--train"]) == 0
    labels = read_experiment(folder).preprocessed.labels
    asked = ["40"] if kind == "scGAN" else [str(5 * i) for i in range(len(labels))]
    assert (
        main(
            [
                "--param",
                str(param),
                "--generate",
                "--cells_no",
                *asked,
                "--model_path",
                str(folder),
                "--save_path",
                str(tmp_path / "cells.h5ad"),
            ]
        )
        == 0
    )
    cells = ad.read_h5ad(tmp_path / "cells.h5ad")
    assert cells.n_obs == sum(map(int, asked))
    if kind == "cscGAN":
        assert cells.obs["cluster"].value_counts().loc[labels].astype(str).tolist() == asked
    assert (folder / "job" / "TSNE" / "step_6.png").exists() and list(
        (folder / "job").glob("events.*")
    )
    assert (
        main(["--param", str(param), "--process"]) == 1
    )  # an existing experiment is not overwritten


def test_speed_at_small_sizes(tmp_path):
    "It runs and writes its keys. How fast anything was is not asked here."
    out = papermill(
        "50_speed.ipynb",
        tmp_path / "speed.ipynb",
        "-p",
        "out_dir",
        tmp_path / "speed",
        "-p",
        "repeats",
        1,
        "-p",
        "train_genes",
        200,
        "-y",
        "genes: [200]",
        "-y",
        "preprocess: [[300, 400]]",
        "-y",
        "generate: [[600, 200]]",
    )
    assert out.returncode == 0, out.stderr[-3000:]
    found = json.loads((tmp_path / "speed" / "speed.json").read_text())
    assert {
        f"{what}.{kind}.200"
        for what in (
            "ratio",
            "floor_share",
            "cpu_s_per_critic_update",
            "cpu_s_per_generator_update",
        )
        for kind in ("scGAN", "cscGAN")
    } <= set(found)
    assert {
        "generate.cells_per_s.200",
        "generate.limit_share.200",
        "generate.peak_mb.600x200",
        "preprocess.s.300x400",
        "preprocess.peak_mb.300x400",
        "train.peak_mb.200",
        "import.s",
    } <= set(found)
    assert all(np.isfinite(v) for v in found.values()) and not any(
        (tmp_path / "speed").glob("tmp*")
    )
