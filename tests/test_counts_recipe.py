"""The recipe counts: exact resume, the two input paths, counts of generated cells."""

import numpy as np
import pytest
import scipy.sparse as sp

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


def test_cells_are_chosen_among_candidates(tmp_path):
    model = sg.CscGAN(pbmc_example(), labels_key="cell_type", **SMALL).train(3, progress=False)
    loaded = sg.load(model.save(tmp_path / "model"))
    chosen = loaded.generate(40, seed=2).layers["counts"].toarray()
    assert (chosen == model.generate(40, seed=2).layers["counts"]).all()
    first = model.generate(40, seed=2, candidates=1)
    single = first.layers["counts"].toarray()
    same = (chosen == single).all(axis=1)
    assert 0 < same.sum() < 40  # some cells are their first candidate
    assert (chosen.sum(axis=1) == single.sum(axis=1)).all()  # library sizes are kept
    # the chosen cells look more like real ones to the trees
    ratio = model.gan.density_ratio
    assert ratio(sp.csr_matrix(chosen)).mean() > ratio(sp.csr_matrix(single)).mean()
    assert "candidates" not in first.uns["scgan_nb"]
    given = model.generate(40, seed=2, depth=50).layers["counts"]
    assert (np.asarray(given.sum(axis=1)).ravel() == 50).all()


def test_first_cells_do_not_depend_on_their_number():
    model = sg.CscGAN(pbmc_example(), labels_key="cell_type", **SMALL).train(2, progress=False)
    label = model.labels[0]
    few, many = (model.generate({label: n}, seed=1) for n in (20, 600))
    assert (few.layers["counts"] != many[:20].layers["counts"]).nnz == 0


def test_a_model_without_density_ratio_makes_cells_without_choice(tmp_path):
    model = sg.CscGAN(pbmc_example(), labels_key="cell_type", **SMALL).train(2, progress=False)
    model.gan.density_ratio.clear()
    cells = model.generate(20, seed=1)
    assert "candidates" not in cells.uns["scgan_nb"]
    with pytest.raises(ValueError, match="no density ratio"):
        model.generate(20, candidates=4)
    with pytest.raises(ValueError, match="whole number"):
        model.generate(20, candidates=0)


def test_a_checkpoint_of_an_earlier_version_is_read(tmp_path):
    from scgan_nb.training.checkpoints import read_checkpoint, save_checkpoint

    model = sg.CscGAN(pbmc_example(), labels_key="cell_type", **SMALL).train(2, progress=False)
    folder = model.save(tmp_path / "model", optimizers=True)
    (path,) = folder.glob("*.safetensors")
    arrays, history, header = read_checkpoint(path)
    later = "density", "large_clumps"
    earlier = {k: v for k, v in arrays.items() if not any(name in k for name in later)}
    assert len(earlier) == len(arrays) - 3
    save_checkpoint(path, earlier, header["step"], history)
    loaded = sg.load(folder, pbmc_example())
    assert "candidates" not in loaded.generate(5).uns["scgan_nb"]
    assert not loaded.gan.averaged.large_clumps.frequencies.numpy().any()
    assert loaded.train(4, progress=False).gan.density_ratio.is_fitted


def test_clumps_and_thresholds_can_be_left_out():
    cells = pbmc_example()
    models = [
        sg.CscGAN(cells, labels_key="cell_type", **SMALL, **changes).train(2, progress=False)
        for changes in ({"critic_thresholds": [1, 3, 10]}, {"clumping": False})
    ]
    genes = cells.n_vars
    assert [model.gan.critic.hidden[0].weights.shape[0] for model in models] == [
        5 * genes,
        2 * genes,
    ]
    names = [set(model.gan.state_by_name()) for model in models]
    of_clumps = {
        f"{scope}/{name}"
        for scope in ("generator", "averaged")
        for name in ("clumps/clumping", "large_clumps/frequencies")
    }
    assert of_clumps == {name for name in names[0] - names[1] if "clump" in name}
    assert not any("clump" in name for name in names[1])


def test_label_profiles_and_gene_rates_can_be_left_out_and_are_saved(tmp_path):
    def new(**changes):
        model = sg.CscGAN(pbmc_example(), labels_key="cell_type", **SMALL, **changes)
        return model.train(2, progress=False)

    whole, bare = new(), new(label_profiles=False, gene_rates=False)
    names = [set(model.gan.weights_by_name()) for model in (whole, bare)]
    assert names[0] - names[1] == {
        f"{scope}/{name}"
        for scope in ("generator", "averaged")
        for name in ("label_profiles/table", "gene_rates/factor")
    }
    cells = [x.generate(30) for x in (whole, sg.load(whole.save(tmp_path / "model")))]
    assert (cells[0].X != cells[1].X).nnz == 0
    unconditional = sg.ScGAN(pbmc_example(), labels_key="cell_type", **SMALL)
    assert not {n for n in unconditional.gan.weights_by_name() if "profiles" in n or "rates" in n}


def test_a_rare_label_begins_with_its_marker_genes():
    cells = sg.datasets.pbmc3k()
    settings = SMALL | {"batch_size": 128}
    found = {}
    for kept in (True, False):
        model = sg.CscGAN(cells, labels_key="cell_type", label_profiles=kept, **settings)
        made = model.train(1, progress=False).generate({"Megakaryocytes": 50}, candidates=1)
        found[kept] = made[:, ["PPBP", "PF4"]].layers["counts"].toarray().mean(axis=0)
    assert (found[True] > 5).all() and (found[False] < 1).all(), found


def test_a_critic_that_forgets_has_smaller_weights_and_trains_exactly(tmp_path):
    def new(decay):
        return sg.CscGAN(pbmc_example(), labels_key="cell_type", critic_decay=decay, **SMALL)

    kept, forgets = (new(decay).train(20, progress=False) for decay in (0.0, 30.0))
    sizes = [np.linalg.norm(model.gan.critic.hidden[0].weights) for model in (kept, forgets)]
    assert sizes[1] < 0.9 * sizes[0]
    half = sg.load(new(30.0).train(10, progress=False).save(tmp_path / "half", optimizers=True))
    with pytest.raises(ValueError, match="critic_decay"):
        half.train(20, progress=False, critic_decay=0.0)
    half = sg.load(tmp_path / "half", pbmc_example()).train(20, progress=False)
    assert same(half, forgets)


def test_clumps_lower_the_number_of_ones_and_keep_library_sizes():
    model = sg.CscGAN(pbmc_example(), labels_key="cell_type", **SMALL).train(2, progress=False)
    ones = []
    for clumping in (0.0, 0.5):
        model.gan.averaged.clumping.assign(clumping)
        cells = model.generate(200, seed=1, candidates=1)
        counts = cells.layers["counts"].toarray()
        assert (counts.sum(axis=1) == cells.obs["n_counts"]).all()
        ones.append((counts == 1).mean())
    assert ones[1] < 0.9 * ones[0]


def test_large_clumps_are_drawn_and_keep_library_sizes(tmp_path):
    model = sg.CscGAN(pbmc_example(), labels_key="cell_type", **SMALL).train(2, progress=False)
    large, largest = model.gan.averaged.large_clumps, []
    for frequency in (0.0, 0.004):
        large.frequencies.assign([0, 0, 0, 0, frequency, 0, 0, 0])  # 40 to 47 counts
        cells = model.generate(300, seed=1, candidates=1)
        counts = cells.layers["counts"].toarray()
        assert (counts.sum(axis=1) == cells.obs["n_counts"]).all()
        rare = counts[:, counts.mean(axis=0) < 2]
        largest.append(((rare >= 40) & (rare < 52)).sum())
    assert largest[0] < 3 and largest[1] > 30
    loaded = sg.load(model.save(tmp_path / "model"))
    assert (loaded.generate(300, seed=1, candidates=1).layers["counts"] == counts).all()
    few, many = (model.generate({model.labels[0]: n}, seed=1) for n in (20, 600))
    assert (few.layers["counts"] != many[:20].layers["counts"]).nnz == 0
