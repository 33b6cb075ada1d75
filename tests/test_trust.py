"""What is written can be read by others, and what was damaged, swapped or locked is noticed."""

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import psutil
import pytest

import scgan_nb as sg
from conftest import ROOT
from scgan_nb.core.presets import experiment_of
from scgan_nb.data.cell_files import (
    _DISKS,
    open_hdf5,
    plain_table,
    require_written,
    write_cells,
)
from scgan_nb.data.examples import error_message, pbmc_example
from scgan_nb.training.checkpoints import checkpoints, read_checkpoint, save_checkpoint
from scgan_nb.workflow.experiment_folders import load_processed, lock_job
from scgan_nb.workflow.experiments import process, require_generation, train

BEFORE = Path(__file__).parent / "fixtures" / "experiment_schema_1"
OTHER_VERSIONS = {
    "0.10.9": ["anndata==0.10.9", "zarr<3", "numpy<2.3", "pandas<3"],
    "0.11.4": ["anndata==0.11.4", "zarr<3", "numpy<2.3", "pandas<3"],
    "current": ["anndata", "zarr"],
}


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """A copy of an experiment folder that was made before checksums were written."""
    folder = tmp_path_factory.mktemp("before") / "exp"
    shutil.copytree(BEFORE, folder)
    return folder


@pytest.fixture(scope="module")
def model(before):
    return sg.load(before)


@pytest.fixture(scope="module")
def processed(tmp_path_factory):
    """An experiment folder that was processed now."""
    home = tmp_path_factory.mktemp("processed")
    pbmc_example(120, 30).write_h5ad(home / "counts.h5ad")
    settings = {"labels_key": "cell_type", "valid_cells": 20, "min_genes": 3, "res": None}
    experiment = experiment_of(raw_input=str(home / "counts.h5ad"), type="cscGAN", **settings)
    process(home / "exp", experiment)
    return home / "exp"


def odd_cells():
    """Counts whose annotations have every kind of column that users have."""
    cells = pbmc_example(120, 30)
    n = cells.n_obs
    cells.obs["mixed"] = [1, "two", None, 2.5] * (n // 4)
    cells.obs["a/b"] = pd.array(["x", None] * (n // 2), dtype="string")
    cells.obs["_index"] = range(n)
    cells.obs["day"] = pd.date_range("2026-01-01", periods=n)
    cells.obs["bin"] = pd.cut(range(n), 3)
    cells.obs["maybe"] = pd.array([True, None] * (n // 2), dtype="boolean")
    cells.obs["number"] = pd.array([1, None] * (n // 2), dtype="Int64")
    cells.obs["list"] = [[i] for i in range(n)]
    cells.obs[5] = 1.0
    cells.obs["nul"] = "a\0b"
    cells.var["note"] = [None, "$x$", b"bytes"] * 10
    cells.var["chromosome/arm"] = "1p"
    cells.var.index.name = "note"
    return cells


@pytest.fixture(scope="module")
def written(model, processed, tmp_path_factory):
    """Files of every way to write cells."""
    folder = tmp_path_factory.mktemp("written")
    model.generate(30, folder / "streamed.h5ad")
    model.generate(30, folder / "streamed.zarr")
    model.generate(30).write_h5ad(folder / "in_memory.h5ad")
    sg.convert(pbmc_example(60, 30), folder / "converted.h5ad")
    sg.convert(pbmc_example(60, 30), folder / "converted.zarr")
    shutil.copy(processed / "counts.h5ad", folder / "processed.h5ad")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for suffix in (".h5ad", ".zarr"):
            write_cells(folder / f"odd{suffix}", odd_cells())
    model.save(folder / "model")
    shutil.copy(folder / "model" / "reference.h5ad", folder / "reference.h5ad")
    shutil.rmtree(folder / "model")
    return folder


def encodings(path):
    """Encoding of each part of a file of cells."""
    found = {}
    if path.suffix == ".zarr":
        assert (path / ".zgroup").exists() and not list(path.rglob("zarr.json"))
        for attributes in path.rglob(".zattrs"):
            name = attributes.parent.relative_to(path).as_posix()
            found[name] = json.loads(attributes.read_text()).get("encoding-type")
        return found
    with h5py.File(path) as file:
        file.visititems(lambda name, part: found.update({name: part.attrs.get("encoding-type")}))
    return found


def test_files_keep_to_what_old_versions_read(written):
    known = {None, "anndata", "dataframe", "dict", "csr_matrix", "array", "string-array"}
    known |= {"categorical", "string", "numeric-scalar"}
    paths = sorted(written.iterdir())
    assert len(paths) == 9
    for path in paths:
        found = encodings(path)
        assert set(found.values()) <= known, path.name
        assert "raw" not in found, path.name


READ = """
import sys, warnings
warnings.simplefilter("ignore")
import anndata as ad
for path in sys.argv[1:]:
    cells = (ad.read_zarr if path.endswith(".zarr") else ad.read_h5ad)(path)
    assert cells.raw is None and cells.n_obs and cells.obs_names[0] and len(cells.var_names[0])
    print(path, cells.shape)
"""


def environment(name, packages, tmp_path_factory):
    """Python of a new environment with packages; skips the test where there is no registry."""
    folder = tmp_path_factory.mktemp("anndata") / name
    python = folder / "bin" / "python"
    uv = [sys.executable, "-m", "uv"]
    made = subprocess.run([*uv, "venv", "--python", sys.executable, folder], capture_output=True)
    command = [*uv, "pip", "install", "--python", python, *packages]
    installed = subprocess.run(command, capture_output=True, text=True)
    if made.returncode or installed.returncode:
        pytest.skip(f"anndata {name} cannot be installed here: {installed.stderr[-200:]}")
    return python


@pytest.mark.thorough
@pytest.mark.parametrize("name", OTHER_VERSIONS)
def test_other_versions_of_anndata_open_everything(written, name, tmp_path_factory):
    python = environment(name, OTHER_VERSIONS[name], tmp_path_factory)
    paths = sorted(map(str, written.iterdir()))
    done = subprocess.run([python, "-c", READ, *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("\n") == len(paths)


def test_odd_columns_go_through_processing(tmp_path):
    cells = odd_cells()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cells.var.index.name = None
        model = sg.CscGAN(
            cells, labels_key="cell_type", gen_layers=[8], critic_layers=[8], valid_cells=20
        )
    assert {"a_b", "_index_", "5", "mixed"} <= set(model.processed.obs)
    assert "chromosome_arm" in model.training_metadata.var
    write_cells(tmp_path / "cells.h5ad", model.processed)
    again = ad.read_h5ad(tmp_path / "cells.h5ad").obs
    assert again["mixed"].isna().sum() == model.processed.obs["mixed"].isna().sum() > 0
    with pytest.warns(UserWarning, match="'a/b' is named 'a_b'"):
        plain_table(cells.obs)


def test_a_folder_of_before_loads_for_ever(before):
    model = sg.load(before)
    with np.load(BEFORE / "generated.npz") as f:
        labels, counts = f["labels"], f["counts"]
    cells = model.generate(10, seed=3)
    assert cells.obs["cluster"].astype(str).tolist() == labels.tolist()
    difference = cells.layers["counts"].toarray() - counts
    assert (difference != 0).mean() < 0.02  # other processors may round otherwise
    assert model.step == 4 and model.cells("valid").n_obs == 9
    assert load_processed(before)[0].n_obs == 100


@pytest.mark.thorough
def test_training_of_before_goes_on(tmp_path):
    folder = tmp_path / "exp"
    shutil.copytree(BEFORE, folder)
    experiment = load_processed(folder)[1]
    experiment.training.max_steps = 6
    weights = train(folder, experiment, progress=False).gan.weights_by_name()
    with np.load(BEFORE / "step_6.npz") as f:
        for name, values in weights.items():
            expected = f[name.replace("/", "|")]
            np.testing.assert_allclose(np.asarray(values), expected, rtol=1e-4, atol=1e-6)
    assert len(checkpoints(folder / "job")) == 1


def flipped(path, place):
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 0b100
    path.write_bytes(content)


@pytest.mark.parametrize("place", [0.02, 0.3, 0.5, 0.7, 0.98])
@pytest.mark.parametrize("name", ["model-4.safetensors", "reference.h5ad", "model.json"])
def test_a_flipped_bit_in_a_model_is_found(model, tmp_path, name, place):
    folder = model.save(tmp_path / "model", optimizers=True)
    flipped(folder / name, place)
    assert name in error_message(sg.load, folder)


@pytest.mark.parametrize("place", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("name", ["counts.h5ad", "TF_records/train-3.tfrecords"])
def test_a_flipped_bit_in_an_experiment_is_found(processed, tmp_path, name, place):
    folder = tmp_path / "exp"
    shutil.copytree(processed, folder)
    flipped(folder / name, place)
    assert Path(name).name in error_message(train, folder, progress=False)
    assert not (folder / "job").exists()


def changed_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def swap_labels(content):
    sizes = content["preprocessed"]["clusters_ratios"]
    content["preprocessed"]["labels"] = list(sizes)[::-1]


CHANGES = {
    "labels": ("parameters.json", swap_labels),
    "fingerprint": (
        "parameters.json",
        lambda content: content["preprocessed"].update(fingerprint="0" * 64),
    ),
    "highly_variable_genes": (
        "parameters.json",
        lambda content: content["input_ds"].update(highly_variable_genes=7),
    ),
    "sha256": (
        "TF_records/records.json",
        lambda content: [entry.pop("sha256") for entry in content["files"].values()],
    ),
    "labels ": (
        "TF_records/records.json",
        lambda content: content.update(labels=content["labels"][::-1]),
    ),
    "changed since": ("raw_input.json", lambda content: content.update(sha256="0" * 64)),
}


@pytest.mark.parametrize("fact", CHANGES)
def test_records_that_do_not_agree_are_refused(processed, tmp_path, fact):
    folder = tmp_path / "exp"
    shutil.copytree(processed, folder)
    name, change = CHANGES[fact]
    changed_json(folder / name, change)
    message = error_message(train, folder, progress=False)
    assert fact in message and str(folder) in message
    assert not (folder / "job").exists()


def test_mixed_models_and_bad_weights_are_refused(model, tmp_path):
    folder = model.save(tmp_path / "model")
    path = folder / "model-4.safetensors"
    arrays, history, _ = read_checkpoint(path)
    name = max(arrays, key=lambda key: arrays[key].size)
    for bad in (arrays[name] * np.nan, arrays[name].astype(np.int64)):
        save_checkpoint(path, arrays | {name: bad}, 4, history)
        assert name in error_message(sg.load, folder)
    save_checkpoint(path, arrays, 4, history)
    changed_json(folder / "model.json", lambda info: info.pop("sha256"))
    changed_json(
        folder / "model.json",
        lambda info: info["experiment"]["model"].update(critic_layers=[10**7]),
    )
    assert "10,000,000" in error_message(sg.load, folder)


def test_another_process_is_named(processed):
    script = """
import sys, time
from scgan_nb.workflow.experiment_folders import lock_folder
with lock_folder(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(60)
"""
    command = [sys.executable, "-c", script, str(processed)]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "locked\n"
        message = error_message(train, processed, progress=False)
        assert f"process {other.pid} on" in message and str(processed) in message
        with pytest.raises(BlockingIOError), lock_job(processed / "job"):
            pass
    finally:
        other.kill()
        other.wait()
    shutil.rmtree(processed / "job")


def test_what_generation_refuses_is_known_before_training(processed, tmp_path):
    labels = load_processed(processed)[1].preprocessed.labels
    (tmp_path / "file").touch()
    refused = [
        ({"no such label": 5}, None, None),
        ([1] * (len(labels) + 1), None, None),
        ({labels[0]: 0}, None, None),
        (5, tmp_path / "cells.csv", None),
        (5, tmp_path / "file" / "cells.h5ad", None),
        (5, processed / "counts.h5ad", None),
        (5, None, -3),
        (5, None, None, None, 0),
    ]
    for arguments in refused:
        assert error_message(require_generation, processed, *arguments)
    require_generation(processed, {labels[0]: 5}, tmp_path / "new" / "cells.h5ad", 100)
    assert not (tmp_path / "new").exists()


def test_a_save_that_fails_leaves_nothing(model, tmp_path, monkeypatch):
    def fails(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("scgan_nb.training.checkpoints.save_checkpoint", fails)
    message = error_message(model.save, tmp_path / "new" / "model")
    assert "disk is full" in message
    assert [path.name for path in tmp_path.rglob("*")] == ["new"]


FULL = """
import resource, signal, sys
from scgan_nb.core.files import atomic_path
from scgan_nb.data.cell_files import write_cells
from scgan_nb.data.examples import pbmc_example
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
cells, most = pbmc_example(240, 30), resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for size in (0, 600, 2_000, 4_000, 9_000, 16_000, 20_000, 30_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        with atomic_path(sys.argv[1]) as temporary:
            write_cells(temporary, cells)
    except OSError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_hdf5_ends_well_on_a_full_disk(tmp_path):
    command = [sys.executable, "-c", FULL, str(tmp_path / "cells.h5ad")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr[-1000:]
    told = done.stdout.splitlines()
    assert len(told) == 8 and all("cells.h5ad was not written" in line for line in told)
    assert list(tmp_path.iterdir()) == []


FULL_FORMATS = """
import resource, signal, sys, warnings
from pathlib import Path
from scgan_nb.data.examples import pbmc_example
from scgan_nb.data.readers import convert
warnings.simplefilter("ignore")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
cells, most = pbmc_example(240, 100), resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for name in sys.argv[2:]:
    for size in (0, 200, 3_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
        try:
            convert(cells, Path(sys.argv[1]) / name)
        except OSError as error:
            print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_no_format_leaves_parts_on_a_full_disk(tmp_path):
    names = ["a.h5ad", "a.zarr", "a.zarr.zip", "a.csv", "a.tsv.gz", "a.h5ad.gz", "a"]
    command = [sys.executable, "-c", FULL_FORMATS, str(tmp_path), *names]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr[-1000:]
    told = [line.split(" was not written")[0] for line in done.stdout.splitlines()]
    assert told == [str(tmp_path / name) for name in names for _ in range(3)]
    assert list(tmp_path.iterdir()) == []


def test_bytes_that_cannot_be_written_are_kept(tmp_path):
    path = tmp_path / "cells.h5"
    with pytest.raises(OSError, match="full"), open_hdf5(path, "w") as file:
        disk = _DISKS[file.id.id]
        file["before"] = np.arange(50_000)
        require_written(file)
        disk.error = OSError("the disk is full")
        file["after"] = np.arange(50_000)
        assert file["after"][-1] == file["before"][-1] == 49_999
        assert disk.seek(0, 2) > path.stat().st_size
        with pytest.raises(OSError, match="full"):
            require_written(file)
    assert not _DISKS


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_limits_of_processing():
    import limits

    tried = {"file size": (600, 16_000), "handles": (1, 2), "memory": (1,)}
    if limits.can_mount():
        tried |= {"disk": (0.3, 0.9), "read-only": (0,)}
    found = limits.points(("process",), tried)
    assert {limit for _, limit, _, failed, _, _ in found if failed} == set(tried)
    assert not [fault for *_, faults in found for fault in faults]


@pytest.mark.thorough
def test_limits_of_every_command():
    done = subprocess.run([sys.executable, ROOT / "tests" / "limits.py"])
    assert done.returncode == 0


def test_nothing_stays_open_where_records_cannot_be_written(tmp_path, monkeypatch):
    pbmc_example(120, 30).write_h5ad(tmp_path / "counts.h5ad")
    settings = {"labels_key": "cell_type", "valid_cells": 20, "min_genes": 3, "res": None}
    given = {"raw_input": str(tmp_path / "counts.h5ad"), "in_memory": False}
    experiment = experiment_of(type="cscGAN", **given, **settings)

    def fails(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("scgan_nb.data.tfrecords._write_blocks", fails)
    message = error_message(process, tmp_path / "exp", experiment)
    assert "disk is full" in message and "exp" in message and ".partial" not in message
    names = [Path(file.path).name for file in psutil.Process().open_files()]
    assert "counts.h5ad" not in names
    assert [path.name for path in tmp_path.iterdir()] == ["counts.h5ad"]


def test_the_last_open_file_is_kept_for_cleaning_up(tmp_path):
    script = """
import os, resource, sys
from scgan_nb.core.files import atomic_path
try:
    with atomic_path(sys.argv[1]) as temporary:
        (temporary / "a" / "b").mkdir(parents=True)
        (temporary / "a" / "b" / "c.txt").touch()
        opened = [open(os.devnull) for _ in range(20)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(f.fileno() for f in opened) + 1, 4096))
        open(os.devnull)
except OSError as error:
    print(error)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "new")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "too many files are open" in done.stdout and "ulimit -n" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_kills_of_processing():
    from kill import kill_points

    figures = kill_points(4, seed=1, commands=("process",))["process"]
    assert figures.points == figures.went_on == 4 and not figures.wrong


@pytest.mark.thorough
def test_kills_of_every_command():
    done = subprocess.run([sys.executable, ROOT / "tests" / "kill.py", "--points", "12"])
    assert done.returncode == 0


def test_a_folder_below_home_is_understood(tmp_path, small_counts, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    given = {"raw_input": str(small_counts), "labels_key": "cell_type", "res": None}
    process("~/exp", experiment_of(type="cscGAN", valid_cells=60, **given))
    assert (tmp_path / "exp" / "parameters.json").exists()
