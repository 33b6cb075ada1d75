"""Generated cells in the hands of people who work with AnnData: scanpy, concatenation, pictures."""

import inspect
import subprocess
import sys

import anndata as ad
import pytest
import scanpy as sc
from sklearn.metrics import adjusted_rand_score

import scgan_nb as sg
from scgan_nb.data.examples import pbmc_example
from scgan_nb.reporting.figures import new_figure

MARKERS = {"CD14+ Monocytes": "LYZ", "B cells": "CD74", "NK cells": "NKG7"}
SMALL = {"latent_dim": 16, "gen_layers": [32], "critic_layers": [32], "batch_size": 64}


@pytest.fixture(scope="module")
def real():
    cells = pbmc_example(800, 250)
    cells.obs["cluster"], cells.layers["counts"] = cells.obs["cell_type"], cells.X.copy()
    return cells


@pytest.fixture(scope="module")
def generated(real):
    "Cells of a model that has hardly been trained: enough for all that is not their quality."
    model = sg.CscGAN(real, labels_key="cluster", seed=0, **SMALL).train(10, progress=False)
    return model.generate(400, seed=1)


def analysed(cells: ad.AnnData) -> ad.AnnData:
    """The usual way through scanpy, from counts to clusters and genes that differ."""
    cells = cells.copy()
    cells.X = cells.layers["counts"].copy()
    sc.pp.normalize_total(cells, target_sum=1e4)
    sc.pp.log1p(cells)
    sc.pp.pca(cells, n_comps=20)
    sc.pp.neighbors(cells, random_state=0)
    sc.tl.leiden(cells, resolution=0.5, flavor="igraph", n_iterations=2, directed=False)
    sizes = cells.obs["cluster"].value_counts()
    sc.tl.rank_genes_groups(cells, "cluster", groups=[*sizes.index[sizes >= 10]])
    return cells


def first_genes(cells: ad.AnnData) -> dict:
    """The ten first genes of each label that was compared."""
    names = cells.uns["rank_genes_groups"]["names"]
    return {label: names[label][:10].tolist() for label in names.dtype.names}


@pytest.mark.slow
def test_scanpy_takes_generated_cells(generated):
    before = generated.copy()
    cells = analysed(generated)
    assert cells.obs["leiden"].notna().all() and cells.obsm["X_pca"].shape == (400, 20)
    found = first_genes(cells)
    assert len(found) >= 2 and all(set(own) <= set(generated.var_names) for own in found.values())
    assert (generated.X != before.X).nnz == 0


@pytest.mark.slow
def test_generated_cells_are_joined_with_real_ones(real, generated, tmp_path):
    both = ad.concat({"real": real, "generated": generated}, label="origin")
    assert both.shape == (1200, 250) and both.obs_names.is_unique
    assert list(both.var_names) == list(real.var_names)
    assert (both.layers["counts"][:800] != real.X).nnz == 0
    assert (both.layers["counts"][800:] != generated.layers["counts"]).nnz == 0
    assert set(both.obs["cluster"]) == set(real.obs["cell_type"])
    cells = analysed(both)
    halves = [cells[cells.obs["origin"] == name] for name in ("real", "generated")]
    true_labels, clusters = (halves[0].obs[key] for key in ("cluster", "leiden"))
    assert adjusted_rand_score(true_labels, clusters) > 0.4
    ax = sg.pl.embedding_plot(*halves, basis="X_pca")
    assert ax.get_xlabel() == "pca 1" and len(ax.collections[0].get_offsets()) == 1200
    path = sg.pl.save_figure(ax, tmp_path / "both.pdf")
    assert path.read_bytes().startswith(b"%PDF")
    cells.write_h5ad(tmp_path / "both.h5ad")
    again = ad.read_h5ad(tmp_path / "both.h5ad")
    assert (again.layers["counts"] != both.layers["counts"]).nnz == 0
    assert first_genes(again) == first_genes(cells)


@pytest.mark.thorough
def test_scanpy_finds_types_and_markers_in_generated_cells(real):
    model = sg.CscGAN(real, labels_key="cluster", seed=0).train(1000, progress=False)
    cells = analysed(model.generate(500, seed=1))
    found = first_genes(cells)
    assert all(marker in found[label] for label, marker in MARKERS.items()), found
    assert adjusted_rand_score(cells.obs["cluster"], cells.obs["leiden"]) > 0.4


@pytest.mark.slow
def test_pictures_take_axes_and_return_axes(real, generated):
    pl = sg.pl
    calls = {
        "embedding": lambda ax: pl.embedding_plot(real, generated, ax=ax),
        "zeros": lambda ax: pl.zeros_plot(real, generated, ax=ax),
        "mean_variance": lambda ax: pl.mean_variance_plot(real, generated, ax=ax),
        "composition": lambda ax: pl.composition_plot(
            (real.X, real.obs["cell_type"]), generated, ax=ax
        ),
        "curve": lambda ax: pl.curve_plot({"step": [1, 2], "distance": [3, 2]}, "distance", ax),
    }
    for name, draw in calls.items():
        ax = new_figure(4, 4).subplots()
        assert draw(ax) is ax, name
        assert draw(None)._repr_png_().startswith(b"\x89PNG"), name


# part of the interface that the figures in papers/ were made with: to be changed with them
EITHER = {"marker_plot": "Figure | Axes", "correlation_triangle_plot": "Figure | Axes"}


def test_a_picture_is_axes_or_a_figure():
    """A function that takes `ax` returns axes, the others return a figure."""
    functions = {name: f for name, f in vars(sg.pl).items() if name.endswith("_plot")}
    assert len(functions) >= 12
    for name, function in functions.items():
        signature = inspect.signature(function)
        wanted = "Axes" if "ax" in signature.parameters else "Figure"
        assert signature.return_annotation == EITHER.get(name, wanted), name


def test_pictures_are_there_without_the_cost_of_the_rest():
    code = (
        "import sys, time; start = time.process_time(); import scgan_nb; "
        "first = time.process_time() - start; pl = scgan_nb.pl; "
        "print(first, 'tensorflow' in sys.modules, callable(pl.embedding_plot))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, tensorflow, there = done.stdout.split()
    assert float(seconds) < 1 and (tensorflow, there) == ("False", "True")
