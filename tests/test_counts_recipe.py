"""The recipe counts: exact resume, the two input paths, counts of generated cells."""

import numpy as np

import scgan_nb as sg
from scgan_nb.core.presets import experiment_of
from scgan_nb.data.examples import pbmc_example
from scgan_nb.workflow import experiments

SMALL = {
    "recipe": "counts",
    "critic_input": "linear",
    "latent_dim": 8,
    "gen_layers": [16],
    "critic_layers": [16],
    "batch_size": 32,
    "critic_iters": 1,
    "decay": False,
}


def same(one, other):
    states = one.gan.state_by_name(), other.gan.state_by_name()
    return all(np.array_equal(states[0][name], states[1][name]) for name in states[0])


def test_training_goes_on_exactly(tmp_path):
    def new():
        return sg.CscGAN(pbmc_example(), labels_key="cell_type", **SMALL)

    whole = new().train(4, progress=False)
    folder = new().train(2, progress=False).save(tmp_path / "half", optimizers=True)
    half = sg.load(folder, pbmc_example()).train(4, progress=False)
    assert same(whole, half)
    cells = sg.load(whole.save(tmp_path / "whole")).generate(30, seed=2)
    assert (cells.X != whole.generate(30, seed=2).X).nnz == 0
    counts = cells.layers["counts"]
    assert (np.asarray(counts.sum(axis=1)).ravel() == cells.obs["n_counts"]).all()
    assert ((counts > 0) != (cells.X > 0)).nnz == 0


def test_records_and_memory_give_the_same_weights(tmp_path):
    path = tmp_path / "cells.h5ad"
    pbmc_example().write_h5ad(path)
    settings = SMALL | {"labels_key": "cell_type", "res": None, "valid_cells": 60, "max_steps": 3}
    experiment = experiment_of(raw_input=str(path), type="cscGAN", **settings)
    experiments.process(tmp_path / "run", experiment)
    by_records = experiments.train(tmp_path / "run", progress=False)
    preset = {"preset": "published", "min_genes": 10, "min_cells": 3}
    in_memory = sg.CscGAN(path, **preset, **settings).train(progress=False)
    assert same(by_records, in_memory)
