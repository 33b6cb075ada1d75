"""Covariates: both input paths, their effect on generated cells, unseen combinations."""

import anndata as ad
import numpy as np
import pytest

import scgan_nb as sg
from scgan_nb.core.presets import experiment_of
from scgan_nb.data.examples import pbmc_example
from scgan_nb.workflow import cli, experiments

SMALL = {
    "latent_dim": 8,
    "gen_layers": [64],
    "critic_layers": [128],
    "label_balance": 0.5,
    "labels_key": "cell_type",
    "res": None,
    "covariates": ["donor"],
}
QUICK = {"max_steps": 500, "alpha_0": 2e-3, "averaging": 0.97}


def cells_of_two_donors():
    """PBMC whose donor p2 has a third of the molecules of 40 genes, and no B cells."""
    cells = pbmc_example(1_000, 200)
    rng = np.random.default_rng(0)
    donor = np.where(rng.random(cells.n_obs) < 0.5, "p1", "p2")
    donor[(cells.obs["cell_type"] == "B cells").to_numpy()] = "p1"
    cells.obs["donor"] = donor
    rows = np.repeat(np.arange(cells.n_obs), np.diff(cells.X.indptr))
    fewer = (cells.X.indices >= 160) & (donor[rows] == "p2")
    cells.X.data[fewer] = rng.binomial(cells.X.data[fewer].astype(int), 1 / 3)
    cells.X.eliminate_zeros()
    return cells, list(cells.var_names[160:])


def share_of(cells, genes):
    """Share of the molecules of all cells in some genes."""
    genes = [gene for gene in genes if gene in cells.var_names]
    return cells[:, genes].X.sum() / cells.X.sum()


@pytest.fixture(scope="module")
def trained():
    cells, genes = cells_of_two_donors()
    return sg.CscGAN(cells, **QUICK, **SMALL).train(progress=False), genes


def test_a_covariate_changes_what_it_changes_in_the_data(trained):
    model, genes = trained
    real = model.cells("train")
    for label in ("CD4 T cells", "CD14+ Monocytes"):
        made = {}
        for donor in ("p1", "p2"):
            of_both = real[(real.obs["cluster"] == label) & (real.obs["donor"] == donor)]
            cells = model.generate({label: 200}, covariates={"donor": donor})
            made[donor] = share_of(cells, genes)
            assert made[donor] == pytest.approx(share_of(of_both, genes), rel=0.35)
            assert (cells.obs["donor"] == donor).all() and cells.obs["seen_in_training"].all()
        assert made["p2"] < 0.7 * made["p1"]


def test_an_unseen_combination_is_made_and_flagged(trained):
    model, genes = trained
    seen = model.generate({"B cells": 200}, covariates={"donor": "p1"})
    with pytest.warns(UserWarning, match="no training cell of B cells has donor p2"):
        unseen = model.generate({"B cells": 200}, covariates={"donor": "p2"})
    assert not unseen.obs["seen_in_training"].any()
    assert share_of(unseen, genes) < 0.7 * share_of(seen, genes)
    drawn = model.generate({"B cells": 50, "CD4 T cells": 100})
    assert set(drawn.obs["donor"][drawn.obs["cluster"] == "B cells"]) == {"p1"}
    assert 25 < (drawn.obs["donor"] == "p2").sum() < 75


def test_records_and_memory_give_the_same_weights(tmp_path):
    path = tmp_path / "cells.h5ad"
    cells_of_two_donors()[0].write_h5ad(path)
    settings = SMALL | {"recipe": "counts", "algorithm": "Adam", "batch_size": 32}
    settings |= {"valid_cells": 60, "max_steps": 3, "critic_iters": 1, "decay": False}
    preset = {"preset": "published", "min_genes": 10, "min_cells": 3}
    in_memory = sg.CscGAN(path, **preset, **settings).train(progress=False)
    experiment = experiment_of(raw_input=str(path), type="cscGAN", **settings)
    experiments.process(tmp_path / "run", experiment)
    by_records = experiments.train(tmp_path / "run", progress=False)
    states = by_records.gan.state_by_name(), in_memory.gan.state_by_name()
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])
    words = f"--generate --model_path {tmp_path / 'run'} --covariates donor=p2 --cells_no"
    saved = ["--save_path", str(tmp_path / "made.h5ad")]
    assert cli.main([*words.split(), "NK cells=3", *saved]) == 0
    assert ad.read_h5ad(tmp_path / "made.h5ad").obs["donor"].tolist() == ["p2"] * 3


def test_what_cannot_be_learned_is_refused_before_training():
    cells, _ = cells_of_two_donors()
    cells.obs["chip"] = "A"
    for name, fact in [("chip", "'A'"), ("age", "age"), ("cell_type", "column of labels")]:
        with pytest.raises(ValueError, match=fact):
            sg.CscGAN(cells, **SMALL | {"covariates": [name]})
    with pytest.raises(ValueError, match="only a cscGAN"):
        sg.ScGAN(cells, **SMALL)
