"""Judging, against cells whose faults are known."""
import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

TREES = 40


@pytest.fixture(scope="module")
def pbmc():
    "PBMC 3k in random order: the genes that more than 10 % of the cells show, labels in `cluster`."
    from scgan_nb.datasets import pbmc3k
    cells = pbmc3k()
    cells = cells[np.random.default_rng(1).permutation(cells.n_obs), np.asarray((cells.X > 0).mean(axis=0)).ravel() > .1].copy()
    cells.obs["cluster"] = cells.obs["cell_type"]
    return cells


# --- cells with known faults

@pytest.fixture(scope="module")
def real(pbmc): return pbmc[:1500].copy(), pbmc[1500:2700].copy()


def judged(cells, holdout, only, named=True, n=200, repeats=2, **options):
    "Metrics of `cells` for `holdout`; without names, the genes of `cells` are called 0, 1, 2, ..."
    from scgan_nb.judging import judge
    if not named: cells = ad.AnnData(cells.X, obs=cells.obs)
    return judge(cells, holdout, only=only, fast=True, n=n, repeats=repeats, seed=0, same_gene_order=not named, **options)


@pytest.mark.parametrize("named", [True, False], ids=["names", "no names"])
def test_faults_are_found(real, named):
    from scgan_nb.baselines import independent_nb, resample
    train, holdout = real
    only = ["mmd", "precision", "recall", "coverage", "correlation", "gene_wasserstein", "library_size"]
    rng = np.random.default_rng(0)
    drawn = resample(train, 400, seed=0)
    thinned, deep = drawn.copy(), drawn.copy()
    thinned.X = sp.csr_matrix(rng.binomial(drawn.X.toarray().astype(int), .5).astype("float32"))
    deep.X = drawn.X * 2
    lost, near = (drawn[(drawn.obs["cluster"] != gone).to_numpy()].copy() for gone in ("B cells", "CD14+ Monocytes"))
    shuffled = drawn.copy()
    shuffled.X = sp.csr_matrix(rng.permuted(drawn.X.toarray(), axis=0))
    found = {name: judged(cells, holdout, only, named, repeats=4) for name, cells in
             (("real", drawn), ("independent", independent_nb(train, 400, labels_key=None, seed=0)), ("deep", deep), ("lost", lost), ("near", near), ("shuffled", shuffled))}
    score = lambda name, metric: found[name][metric].score

    # real cells are at the floor, everywhere
    assert {m: s for m in only if (s := score("real", m)) < .85} == {}
    # genes that know nothing of each other: right one by one, wrong together
    assert score("independent", "correlation") < .2 and score("independent", "gene_wasserstein") > .6
    # twice the counts, or half the molecules: the depth tells; of the former, nothing else does
    assert score("deep", "library_size") < .6 and {m: score("deep", m) for m in only[:-1]} == {m: score("real", m) for m in only[:-1]}
    assert judged(thinned, holdout, ["library_size"], named)["library_size"].score < .5
    # a cell type is missing: what is there is right; recall and coverage name the missing one. With another type near by, whose wide
    # neighbourhoods reach into it, recall is easily content (here it keeps most of its floor), and coverage is not
    kept = lambda name, metric: {l: v["value"] / v["floor"] for l, v in found[name][metric].by_label.items() if v["n"] >= 10}
    for name, gone, metrics in (("lost", "B cells", ("recall", "coverage")), ("near", "CD14+ Monocytes", ("coverage",))):
        assert score(name, "precision") > .85 and found[name]["coverage"].high < found[name]["coverage"].floor
        for metric in metrics:
            others = kept(name, metric)
            assert others.pop(gone) < .4 and min(others.values()) > .6, (name, metric)
    # shuffled genes are the ceiling of these, but keep each gene's distribution
    assert max(score("shuffled", m) for m in ("mmd", "precision", "correlation")) < .2 and score("shuffled", "gene_wasserstein") > .85


def test_a_forest_finds_fakes(real):
    "Independent genes within each label: the one fault that means, markers and most correlations do not show."
    from scgan_nb.baselines import gaussian_copula, independent_nb
    train, holdout = real
    found = {name: judged(make(train, 300, seed=0), holdout, ["rf_auroc"], n=100, trees=TREES)["rf_auroc"]
             for name, make in (("copula", gaussian_copula), ("independent", independent_nb))}
    assert found["copula"].floor < .6 and found["copula"].value < .7 and found["independent"].value > .8


def test_names_do_not_change_numbers(real):
    "Without names, genes are matched by position, and only on the caller's word."
    from scgan_nb.baselines import resample
    train, holdout = real
    cells = resample(train, 150, seed=2)
    only = ["mmd", "correlation", "zero_fraction"]
    with_names, without = (judged(cells, holdout, only, named, n=100) for named in (True, False))
    assert {k: m.to_dict() for k, m in with_names.items()} == {k: m.to_dict() for k, m in without.items()}
    with pytest.raises(ValueError, match="same_gene_order=True"): judged(ad.AnnData(cells.X, obs=cells.obs), holdout, only)
