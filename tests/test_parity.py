"""Agreement with the original TensorFlow 1 code: its golden vectors, and models that it trained."""

from pathlib import Path

import numpy as np
import pytest

import parity

VECTORS = Path(__file__).parent / "vectors"


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.npz")), ids=lambda p: p.stem)
@pytest.mark.parametrize("fast", [True, False], ids=["fast", "textbook"])
def test_vectors(path, fast):
    errors = parity.check(path, fast)
    assert set(errors) == {"inference", "cells", "scores", "losses", "gradients", "weights"}
    assert max(errors.values()) < 1e-4, errors


def test_all_shared_vectors(shared, capsys):
    assert parity.main([str(shared / "parity")]) == 0
    assert capsys.readouterr().out.count("ok  ") == len(list((shared / "parity").glob("*.npz")))


def test_a_wrong_number_is_noticed(tmp_path, capsys):
    """The check can fail: one weight gradient changed by a thousandth of its largest entry."""
    source = VECTORS / "scgan_no_lsn.npz"
    with np.load(source, allow_pickle=False) as f:
        arrays = {k: f[k] for k in f.files}
    name = "critic_step/gradient/critic/layers_1/fully_connected/weights"
    arrays[name] = arrays[name].copy()
    arrays[name].flat[3] += 1e-3 * np.abs(arrays[name]).max()
    np.savez(tmp_path / "wrong.npz", **arrays)
    assert parity.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.startswith("FAIL wrong.npz")


def test_an_empty_folder_is_a_failure(tmp_path):
    assert parity.main([str(tmp_path)]) == 1


@pytest.mark.parametrize("kind", ["scGAN", "cscGAN"])
def test_models_of_the_original(shared, kind):
    """A model of the original code makes the cells that the original makes from the same noise."""
    import tensorflow as tf

    from scgan_nb.workflow.api import load

    folder = shared / "parity" / "original_experiments" / kind
    model = load(folder)
    with np.load(folder / "generated.npz", allow_pickle=False) as f:
        expected = {k: f[k] for k in f.files}
    labels = tf.constant(expected["labels"], tf.int32) if kind == "cscGAN" else None
    ours = model.gan.generator(tf.constant(expected["z"]), labels).numpy()
    assert parity.relative(ours, expected["fake"]) < 1e-5
    cells = model.generate(7 if kind == "scGAN" else [1] * len(model.labels))
    assert (
        list(cells.var_names) == model.genes
        and (np.asarray(cells.layers["counts"].sum(1)) > 0).all()
    )


@pytest.mark.parametrize("kind", ["scGAN", "cscGAN"])
def test_records_of_the_original(shared, kind):
    """The original's TFRecords hold the cells, labels and split of its processed file."""
    from scgan_nb.core.parameter_files import read_experiment
    from scgan_nb.data.readers import read
    from scgan_nb.data.tfrecords import read_file

    folder = shared / "parity" / "original_experiments" / kind
    cells, done = read(folder / "input.h5ad", check=False), read_experiment(folder).preprocessed
    seen = []
    for path in sorted((folder / "TF_records").glob("*.tfrecords")):
        split = (
            "train"
            if path.stem.startswith("train")
            else {"validate": "valid"}.get(path.stem, path.stem)
        )
        x, labels, barcodes = read_file(path, done.genes_no)
        there = cells[list(barcodes)]
        assert (there.obs["split"] == split).all()
        assert [done.labels[k] for k in labels] == there.obs["cluster"].astype(str).tolist()
        assert abs(x - there.X).max() < 1e-3 if len(barcodes) else x.shape[0] == 0
        seen += list(barcodes)
    assert sorted(seen) == sorted(cells.obs_names)
