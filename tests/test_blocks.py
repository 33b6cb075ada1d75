"""Counts on disk give the same processed cells as counts in memory, from every kind of file."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scgan_nb.core.parameters import InputDs
from scgan_nb.core.presets import experiment_of
from scgan_nb.data import count_blocks
from scgan_nb.data.block_preprocessing import preprocess_blocks
from scgan_nb.data.count_blocks import CountBlocks, open_counts
from scgan_nb.data.examples import pbmc_example, split_example
from scgan_nb.data.preprocessing import preprocess
from scgan_nb.data.readers import read
from scgan_nb.evaluation.evaluate import compute_metrics
from scgan_nb.reporting.inputs import open_cells
from scgan_nb.workflow import experiments
from scgan_nb.workflow.experiment_folders import load_processed


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(CountBlocks.blocks, "__defaults__", (3_000,))


def stored(folder, kind):
    """The same cells in another layout."""
    cells = pbmc_example(240, 300)
    cells.obs["donor"] = np.where(np.arange(240) % 3, "d1", "d2")
    if kind == "layer":
        cells.layers["counts"], cells.X = cells.X.copy(), np.log1p(cells.X)
    if kind == "raw":
        cells.raw = cells.copy()
        cells.X = np.log1p(cells.X)
    if kind == "dense":
        cells.X = cells.X.toarray()
    if kind == "unsorted":
        for start, stop in zip(cells.X.indptr[:-1], cells.X.indptr[1:], strict=True):
            cells.X.indices[start:stop] = cells.X.indices[start:stop][::-1].copy()
            cells.X.data[start:stop] = cells.X.data[start:stop][::-1].copy()
        cells.X.has_sorted_indices = False
    if kind == "zarr":
        cells.write_zarr(folder / "cells.zarr")
        return folder / "cells.zarr"
    cells.write_h5ad(folder / "cells.h5ad")
    return folder / "cells.h5ad"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["h5ad", "layer", "raw", "dense", "unsorted", "zarr"])
def test_same_cells_from_every_layout(tmp_path, kind):
    path = stored(tmp_path, kind)
    options = {"layer": "raw"} if kind == "raw" else {}
    settings = InputDs(
        raw_input=str(path),
        labels_key="cell_type",
        covariates=["donor"],
        highly_variable_genes=100,
        split={"valid_cells": 40, "test_cells": 20},
        filtering={"min_genes": 12, "min_cells": 4},
    )
    known, block = preprocess(read(path, **options), settings)
    with open_counts(path, **options) as counts:
        assert len(list(counts.blocks())) > 3
        cells, found = preprocess_blocks(counts, settings, tmp_path / "made.h5ad")
    cells = cells.to_memory()
    assert found == block and (cells.X != known.X).nnz == 0
    pd.testing.assert_frame_equal(cells.obs, known.obs)
    pd.testing.assert_frame_equal(cells.var, known.var)
    assert cells.uns["scgan_nb"]["input_ds"] == known.uns["scgan_nb"]["input_ds"]


@pytest.mark.filterwarnings("ignore")
def test_labels_file_and_repairs(tmp_path):
    cells = pbmc_example(200, 200)
    labels = cells.obs[["cell_type"]].iloc[10:]
    labels.to_csv(tmp_path / "labels.csv")
    cells.X.data[::50] += 0.25
    cells.write_h5ad(tmp_path / "cells.h5ad")
    options = {"round": True, "labels_file": tmp_path / "labels.csv"}
    settings = InputDs(raw_input="-", labels_file="labels.csv", split={"valid_cells": 30})
    known, _ = preprocess(read(tmp_path / "cells.h5ad", **options), settings)
    with open_counts(tmp_path / "cells.h5ad", **options) as counts:
        made, _ = preprocess_blocks(counts, settings, tmp_path / "made.h5ad")
    assert made.n_obs == 190 and (made.to_memory().X != known.X).nnz == 0
    notes = " ".join(made.uns["scgan_nb"]["notes"])
    assert "rounded" in notes and "left out" in notes


def test_blocks_are_chosen_when_memory_is_short(tmp_path, monkeypatch, caplog):
    pbmc_example(200, 200).write_h5ad(tmp_path / "cells.h5ad")
    experiment = experiment_of(
        raw_input=str(tmp_path / "cells.h5ad"),
        type="scGAN",
        labels_key="cell_type",
        valid_cells=30,
    )
    experiments.process(tmp_path / "memory", experiment)
    monkeypatch.setattr("scgan_nb.core.memory.available_memory", lambda: 1_000)
    with caplog.at_level("INFO"):
        experiments.process(tmp_path / "blocks", experiment)
    assert "read in blocks" in caplog.text
    records = "TF_records/records.json"
    assert (tmp_path / "memory" / records).read_text() == (
        tmp_path / "blocks" / records
    ).read_text()
    cells, _ = load_processed(tmp_path / "blocks")
    assert count_blocks.is_on_disk(cells)
    monkeypatch.undo()
    cells, _ = load_processed(tmp_path / "blocks")
    assert not count_blocks.is_on_disk(cells)


def opened_as(kind, path):
    """An AnnData whose values stay on disk: backed by its file, or a Dask array."""
    backed = ad.read_h5ad(path, backed="r")
    if kind == "backed":
        return backed
    values = ad.experimental.read_elem_lazy(backed.file["X"])
    return ad.AnnData(values, obs=backed.obs, var=backed.var)


@pytest.mark.parametrize("kind", ["backed", "dask"])
def test_cells_on_disk_are_judged_as_those_in_memory(tmp_path, kind):
    if kind == "dask":
        pytest.importorskip("dask")
    holdout, generated, train = split_example(150, 60, 100)
    options = {"labels_key": "cell_type", "only": ["ks", "nndr"], "repeats": 2, "n_pcs": 5}
    known = compute_metrics(holdout, generated, train=train, **options)
    backed = {}
    sets = {"holdout": holdout, "generated": generated, "train": train}
    for name, cells in sets.items():
        cells.write_h5ad(tmp_path / f"{name}.h5ad")
        backed[name] = opened_as(kind, tmp_path / f"{name}.h5ad")
        assert count_blocks.is_on_disk(backed[name])
    found = compute_metrics(backed["holdout"], backed["generated"], backed["train"], **options)
    assert {name: metric.value for name, metric in found.items()} == {
        name: metric.value for name, metric in known.items()
    }
    opened = open_cells(backed["train"], most=30, what="training cells")
    assert opened.cells.shape == (30, train.n_vars) and "30 were used" in opened.notes[0]


def test_blocks_of_what_is_no_file(tmp_path):
    """A data set is taken by its name; a missing file is said to be missing."""
    settings = {"type": "cscGAN", "labels_key": "cell_type", "res": None, "in_memory": False}
    missing = experiment_of(raw_input=str(tmp_path / "cells.h5ad"), **settings)
    with pytest.raises(FileNotFoundError, match="there is no .*cells.h5ad"):
        experiments.process(tmp_path / "a", missing)
    assert not (tmp_path / "a").exists()
    named = experiment_of(raw_input="pbmc3k", valid_cells=100, **settings)
    assert experiments.process(tmp_path / "b", named).preprocessed.total_count == 2_700
