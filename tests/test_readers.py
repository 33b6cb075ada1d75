"""Counts are the same whatever format they are read from, and read_raw finds what users name."""

import gzip

import numpy as np
import pytest

from scgan_nb.core.fingerprints import fingerprint
from scgan_nb.data.datasets import default_labels_key, pbmc3k, read_raw
from scgan_nb.data.example_files import (
    counts_frame,
    write_tenx_folder,
    write_tenx_h5_v2,
    write_tenx_h5_v3,
)
from scgan_nb.data.examples import pbmc_example
from scgan_nb.data.readers import convert, raw_name, read
from scgan_nb.data.tfrecords import read_records
from scgan_nb.data.validation import ReadError


@pytest.fixture(scope="module")
def cells():
    return pbmc_example(60, 300)


def write_layer(path, cells):
    other = cells.copy()
    other.layers["counts"], other.X = cells.X.copy(), np.log1p(cells.X)
    other.write_h5ad(path)


WRITERS = {
    "cells.h5ad": lambda path, cells: cells.write_h5ad(path),
    "layer.h5ad": write_layer,
    "cells.zarr": lambda path, cells: cells.write_zarr(path),
    "v2.h5": write_tenx_h5_v2,
    "v3.h5": write_tenx_h5_v3,
    "10x": write_tenx_folder,
    "cells.tsv": lambda path, cells: counts_frame(cells).T.to_csv(path, sep="\t"),
    "cells.csv.gz": lambda path, cells: counts_frame(cells).T.to_csv(path),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.filterwarnings("ignore:Writing zarr", "ignore:.*left out what is not a gene")
def test_every_format_gives_the_same_counts(name, cells, tmp_path):
    WRITERS[name](tmp_path / name, cells)
    counts = read(tmp_path / name, transpose=True)
    assert fingerprint(counts) == fingerprint(cells)
    assert list(counts.obs_names) == list(cells.obs_names)


def test_normalised_values_are_refused_and_nothing_is_written(cells, tmp_path):
    other = cells.copy()
    other.X, other.layers["raw_counts"] = np.log1p(cells.X), cells.X
    with pytest.raises(ReadError, match="log-transformed.*choose layer='raw_counts'"):
        convert(other, tmp_path / "never.h5ad")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("table", [b"", b"gene", b"gene\tcell\n"])
def test_a_compressed_table_without_values_is_refused(table, tmp_path):
    (tmp_path / "cells.tsv.gz").write_bytes(gzip.compress(table))
    with pytest.raises(ReadError, match="cells.tsv.gz has"):
        read(tmp_path / "cells.tsv.gz")


@pytest.mark.parametrize("text", [b"g", b"gene\tcell\n", b"gene,1,2\nA,3,4\n"])
def test_text_is_not_a_file_of_records(text, tmp_path):
    (tmp_path / "train-0.tfrecords").write_bytes(gzip.compress(text))
    with pytest.raises(ValueError, match=r"train-0\.tfrecords does not hold records"):
        read_records(tmp_path, genes_no=5)


def test_a_file_of_records_without_content_has_no_cells(tmp_path):
    (tmp_path / "train-0.tfrecords").write_bytes(gzip.compress(b""))
    assert read_records(tmp_path, genes_no=5)[0].shape == (0, 5)


def test_read_raw_prefers_paths_to_names(cells, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fingerprint(read_raw("pbmc3k")) == fingerprint(pbmc3k())
    (tmp_path / "near").mkdir()
    cells.write_h5ad(tmp_path / "near" / "cells.h5ad")
    assert fingerprint(read_raw("cells.h5ad", near="near")) == fingerprint(cells)
    write_tenx_folder(tmp_path / "pbmc3k", cells)
    assert fingerprint(read_raw("pbmc3k")) == fingerprint(cells)


@pytest.mark.parametrize(
    ("raw_input", "name"),
    [
        ("cells.h5ad", "cells"),
        ("a/cells.tsv.gz", "cells"),
        ("GSM1_matrix.mtx.gz", "GSM1_matrix"),
        ("10x/hg19/", "hg19"),
        ("pbmc3k", "pbmc3k"),
        ("my.cells.h5", "my.cells"),
    ],
)
def test_raw_name(raw_input, name):
    assert raw_name(raw_input) == name


def test_embedded_data_have_their_labels():
    assert default_labels_key("pbmc3k") in pbmc3k().obs
    assert default_labels_key(pbmc3k()) == default_labels_key("pbmc3k")
    assert default_labels_key("pbmc3k.h5ad") is None
