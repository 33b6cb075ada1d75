"""Random inputs: what is written is read to the same counts and names, or refused in one sentence.

Hypothesis makes them, always the same ones. More of them by hand:
`RANDOM_INPUTS=2000 ci/env python -m pytest tests/test_random_inputs.py`.
"""

import json
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra.numpy import arrays  # noqa: E402

import scgan_nb as sg  # noqa: E402
from scgan_nb.core.parameter_files import read_parameters, template  # noqa: E402
from scgan_nb.data.readers import read  # noqa: E402
from scgan_nb.data.tfrecords import read_records  # noqa: E402
from scgan_nb.data.validation import ReadError  # noqa: E402
from scgan_nb.training.checkpoints import read_checkpoint  # noqa: E402

BEFORE = Path(__file__).parent / "fixtures" / "experiment_schema_1"
NUMBER = int(os.environ.get("RANDOM_INPUTS", 15))
random_inputs = settings(
    max_examples=NUMBER,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
NAMES = st.text("ABCDEFabcdef0189-_.|/ #'µ", min_size=1, max_size=8).map(str.strip).filter(bool)


@st.composite
def tables(draw, names=NAMES):
    """Counts [cells, genes] with names of both axes."""
    cells, genes = draw(st.integers(2, 5)), draw(st.integers(2, 5))
    x = draw(arrays(np.int64, (cells, genes), elements=st.integers(0, 3000)))
    both = [draw(st.lists(names, min_size=n, max_size=n, unique=True)) for n in (cells, genes)]
    return pd.DataFrame(x, *both)


def require_same(path, table, **options):
    """The path is read to the counts and names of a table, or refused in one sentence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            cells = read(path, **options)
        except ReadError as error:
            assert "\n" not in str(error)
            return
    moved = [name for name in table.columns if name not in cells.var_names]
    said = " ".join(cells.uns.get("read_notes", []))
    assert not moved or "left out" in said or "annotations" in said
    kept = table.drop(columns=moved)
    assert list(cells.obs_names) == list(kept.index)
    assert list(cells.var_names) == list(kept.columns)
    np.testing.assert_array_equal(cells.X.toarray(), kept.to_numpy())


@random_inputs
@given(
    tables(),
    st.sampled_from("\t,;"),
    st.sampled_from(["gene", "", "Unnamed: 0", "GENE"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from([0, 1, 2]),
)
def test_text_tables(table, sep, corner, end, encoding, quoting):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        text = table.T.rename_axis(corner).to_csv(sep=sep, lineterminator=end, quoting=quoting)
        path.write_bytes(text.encode(encoding))
        require_same(path, table, transpose=True)


@random_inputs
@given(
    tables(),
    st.booleans(),
    st.sampled_from(["integer", "real", "pattern"]),
    st.sampled_from(["coordinate", "array"]),
    st.booleans(),
)
def test_matrix_folders(table, turned, field, kind, has_ids):
    x = table.to_numpy() if turned else table.to_numpy().T
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if field == "pattern":
            x, table = 1 * (x > 0), (table > 0).astype(int)
        matrix = x if kind == "array" and field != "pattern" else sp.coo_matrix(x)
        scipy.io.mmwrite(folder / "matrix.mtx", matrix, field=field)
        genes = [f"ID{i}\t{g}" if has_ids else g for i, g in enumerate(table.columns)]
        (folder / "features.tsv").write_text("\n".join(genes) + "\n")
        (folder / "barcodes.tsv").write_text("\n".join(table.index) + "\n")
        require_same(folder, table, transpose=not turned)


@random_inputs
@given(
    tables(),
    st.sampled_from(["f4", "f8", "i4", "i8", "u2", "u8", ">i4", "f2", "i1"]),
    st.sampled_from([np.asarray, sp.csr_matrix, sp.csc_matrix]),
    st.sampled_from(["X", "counts", "raw"]),
)
def test_anndata_files(table, dtype, form, slot):
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = table.to_numpy().astype(dtype)
        table = pd.DataFrame(x.astype(np.int64), table.index, table.columns)
        native = x if form is np.asarray else form(x.astype(x.dtype.newbyteorder("=")))
        cells = ad.AnnData(native, table.iloc[:, :0], table.T.iloc[:, :0])
        if slot == "counts":
            cells.layers["counts"] = cells.X.copy()
        elif slot == "raw":
            cells.raw = cells.copy()
        cells.write_h5ad(path := Path(folder) / "c.h5ad")
        require_same(path, table, layer=None if slot == "X" else slot, transpose=False)


# --- changed bytes


@st.composite
def changes(draw):
    """A function that changes bytes of the start of a file, or cuts it."""
    edits = draw(
        st.lists(
            st.tuples(st.floats(0, 1), st.integers(0, 2), st.binary(min_size=1, max_size=3)),
            min_size=1,
            max_size=3,
        )
    )

    def change(content, most):
        out = bytearray(content)
        for place, kind, new in edits:
            at = int(place * min(most, len(out)))
            if kind == 0:
                out[at : at + len(new)] = new
            elif kind == 1:
                out[at:at] = new
            else:
                del out[at : at + len(new)]
        return bytes(out)

    return change


def require_own_error(function, *arguments):
    """The function works, or raises an error of this package's kinds in one sentence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            function(*arguments)
        except (ValueError, FileNotFoundError, FileExistsError) as error:
            assert type(error) in (ValueError, ReadError, FileNotFoundError, FileExistsError)
            assert "\n" not in str(error).strip(), str(error)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    return sg.load(BEFORE).save(folder)


@random_inputs
@given(changes())
def test_changed_parameters(change):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "parameters.json"
        template(path)
        path.write_bytes(change(path.read_bytes(), 10**6))
        require_own_error(read_parameters, path)


@random_inputs
@given(change=changes())
def test_changed_headers_of_checkpoints(change, saved):
    content = (saved / "model-4.safetensors").read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model-4.safetensors"
        path.write_bytes(change(content, header))
        require_own_error(read_checkpoint, path)


@settings(random_inputs, max_examples=max(10, NUMBER // 4))
@given(change=changes(), has_sums=st.booleans())
def test_changed_model_json(change, has_sums, saved):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(shutil.copytree(saved, Path(name) / "model"))
        if not has_sums:
            info = json.loads((folder / "model.json").read_text())
            info.pop("sha256", None)
            (folder / "model.json").write_text(json.dumps(info))
        content = (folder / "model.json").read_bytes()
        (folder / "model.json").write_bytes(change(content, 10**6))
        require_own_error(sg.load, folder)


@random_inputs
@given(changes(), st.booleans())
def test_changed_records(change, is_compressed):
    import gzip

    content = (BEFORE / "TF_records" / "train-0.tfrecords").read_bytes()
    genes = json.loads((BEFORE / "parameters.json").read_text())["preprocessed"]["genes_no"]
    with tempfile.TemporaryDirectory() as folder:
        inner = gzip.compress(change(gzip.decompress(content), 400))
        changed = change(content, 10**6) if is_compressed else inner
        (Path(folder) / "train-0.tfrecords").write_bytes(changed)
        require_own_error(read_records, folder, genes)


@random_inputs
@given(tables(), changes())
def test_changed_headings_of_matrices(table, change):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scipy.io.mmwrite(folder / "matrix.mtx", sp.coo_matrix(table.to_numpy().T))
        content = (folder / "matrix.mtx").read_bytes()
        (folder / "matrix.mtx").write_bytes(change(content, 70))
        (folder / "features.tsv").write_text("\n".join(table.columns) + "\n")
        (folder / "barcodes.tsv").write_text("\n".join(table.index) + "\n")
        require_own_error(read, folder)
