"""Labels from a table, at every door: Python, the command line, parameters files and models."""

import json

import anndata as ad
import pytest

import scgan_nb as sg
from scgan_nb.core.parameter_files import read_parameters
from scgan_nb.data.example_files import write_tenx_folder
from scgan_nb.data.examples import pbmc_example
from scgan_nb.workflow.cli import main
from scgan_nb.workflow.experiment_folders import load_processed
from scgan_nb.workflow.experiments import open_or_process

SMALL = {"max_steps": 2, "latent_dim": 8, "gen_layers": [16], "critic_layers": [16]}


@pytest.fixture
def files(tmp_path):
    """A 10x folder without labels, its labels as a table, and the labels."""
    counts = pbmc_example(300, 100)
    folder = write_tenx_folder(tmp_path / "filtered", counts)
    table = counts.obs[["cell_type"]].assign(donor="d1")
    table.to_csv(tmp_path / "labels.csv", index_label="barcode")
    return folder, tmp_path / "labels.csv", counts.obs["cell_type"]


def test_read_joins_by_barcode(files):
    folder, path, labels = files
    path.write_text(
        "\n".join([path.read_text().splitlines()[0], *path.read_text().splitlines()[:0:-1]])
    )
    cells = sg.read(folder, labels_file=path)
    assert (cells.obs["cell_type"].astype(str) == labels.astype(str)).all()
    assert set(cells.obs["donor"]) == {"d1"}


def test_model_takes_the_labels(files, tmp_path):
    folder, path, labels = files
    model = sg.CscGAN(folder, labels_file=str(path), highly_variable_genes=50, **SMALL)
    assert sorted(model.labels) == sorted(labels.unique())
    model.train(progress=False)
    saved = model.save(tmp_path / "model")
    assert sg.load(saved, folder).step == 2  # the labels are read again
    same = sg.CscGAN(sg.read(folder, labels_file=path), highly_variable_genes=50, **SMALL)
    assert same.labels == model.labels


def test_convert_writes_the_labels(files, tmp_path):
    folder, path, labels = files
    out = tmp_path / "cells.h5ad"
    assert main(["convert", str(folder), str(out), "--labels-file", str(path)]) == 0
    assert (ad.read_h5ad(out).obs["cell_type"].astype(str) == labels.astype(str)).all()


def test_convert_refuses_other_barcodes(files, tmp_path, capsys):
    folder, path, _ = files
    path.write_text("barcode,label\nTTTTTTTT-9,B\n")
    assert main(["convert", str(folder), str(tmp_path / "c.h5ad"), "--labels-file", str(path)]) == 1
    assert "TTTTTTTT-9" in capsys.readouterr().err
    assert not (tmp_path / "c.h5ad").exists()


def test_parameters_file_takes_the_labels(files, tmp_path):
    folder, path, labels = files
    split = {"valid_cells": 30}
    settings = {"raw_input": folder.name, "labels_file": path.name, "split": split}
    experiment = {"input_ds": settings, "model": {"type": "cscGAN"}}
    shared = {"experiments_dir": str(tmp_path), "GPU": [0]}
    file = tmp_path / "parameters.json"
    file.write_text(json.dumps({"exp_param": shared, "experiments": {"a": experiment}}))
    assert main(["--param", str(file), "--process"]) == 0
    cells, _ = load_processed(tmp_path / "a")
    assert (cells.obs["cluster"].astype(str) == labels[cells.obs_names].astype(str)).all()

    asked = read_parameters(file).experiments["a"]
    open_or_process(tmp_path / "a", asked)
    path.write_text(path.read_text().replace("d1", "d2"))
    with pytest.raises(FileExistsError, match="labels_file"):
        open_or_process(tmp_path / "a", asked)


def test_labels_and_clustering_are_refused(files, tmp_path):
    folder, path, _ = files
    with pytest.raises(ValueError, match="labels_file"):
        sg.CscGAN(folder, labels_file=str(path), res=0.2, **SMALL)
