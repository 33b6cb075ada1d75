"""Judging, against cells whose faults are known."""

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

TREES = 40


@pytest.fixture(scope="module")
def pbmc(shuffled_pbmc):
    return shuffled_pbmc(0.1)


# --- cells with known faults


@pytest.fixture(scope="module")
def real(pbmc):
    return pbmc[:1500].copy(), pbmc[1500:2700].copy()


def judged(cells, holdout, only, named=True, n=200, repeats=2, **options):
    "Metrics of `cells` for `holdout`; without names, the genes of `cells` are called 0, 1, 2, ..."
    from scgan_nb.evaluation.evaluate import compute_metrics

    if not named:
        cells = ad.AnnData(cells.X, obs=cells.obs)
    return compute_metrics(
        holdout,
        cells,
        only=only,
        fast=True,
        n=n,
        repeats=repeats,
        seed=0,
        same_gene_order=not named,
        **options,
    )


@pytest.mark.parametrize("named", [True, False], ids=["names", "no names"])
def test_faults_are_found(real, named):
    from scgan_nb.evaluation.baselines import independent_nb, resample

    train, holdout = real
    only = [
        "mmd",
        "energy",
        "lisi",
        "precision",
        "recall",
        "coverage",
        "correlation",
        "gene_wasserstein",
        "library_size",
    ]
    rng = np.random.default_rng(0)
    drawn = resample(train, 400, seed=0)
    thinned, deep = drawn.copy(), drawn.copy()
    thinned.X = sp.csr_matrix(rng.binomial(drawn.X.toarray().astype(int), 0.5).astype("float32"))
    deep.X = drawn.X * 2
    lost, near = (
        drawn[(drawn.obs["cluster"] != gone).to_numpy()].copy()
        for gone in ("B cells", "CD14+ Monocytes")
    )
    shuffled = drawn.copy()
    shuffled.X = sp.csr_matrix(rng.permuted(drawn.X.toarray(), axis=0))
    found = {
        name: judged(cells, holdout, only, named, repeats=4)
        for name, cells in (
            ("real", drawn),
            ("independent", independent_nb(train, 400, labels_key=None, seed=0)),
            ("deep", deep),
            ("lost", lost),
            ("near", near),
            ("shuffled", shuffled),
        )
    }
    score = lambda name, metric: found[name][metric].score

    # real cells are at the floor, everywhere
    assert {m: s for m in only if (s := score("real", m)) < 0.85} == {}
    assert all(
        m.positive_control_low <= m.value <= m.positive_control_high
        for m in (found["real"]["energy"], found["real"]["lisi"])
    )
    # genes that know nothing of each other: right one by one, wrong together
    assert (
        score("independent", "correlation") < 0.2 and score("independent", "gene_wasserstein") > 0.6
    )
    # twice the counts, or half the molecules: the depth tells; of the former, nothing else does
    assert score("deep", "library_size") < 0.6 and {m: score("deep", m) for m in only[:-1]} == {
        m: score("real", m) for m in only[:-1]
    }
    assert judged(thinned, holdout, ["library_size"], named)["library_size"].score < 0.5
    # a cell type is missing: what is there is right; recall and coverage name the missing one. With another type near by, whose wide
    # neighbourhoods reach into it, recall is easily content (here it keeps four fifths of its floor, and by its interval that could be chance), and coverage is not
    kept = lambda name, metric: {
        l: v["value"] / v["positive_control"]
        for l, v in found[name][metric].by_label.items()
        if v["n"] >= 10
    }
    for name, gone, metrics in (
        ("lost", "B cells", ("recall", "coverage")),
        ("near", "CD14+ Monocytes", ("coverage",)),
    ):
        assert (
            score(name, "precision") > 0.85
            and found[name]["coverage"].high < found[name]["coverage"].positive_control
        )
        for metric in metrics:
            others = kept(name, metric)
            assert others.pop(gone) < 0.4 and min(others.values()) > 0.6, (name, metric)
    gone = found["near"]["recall"].by_label["CD14+ Monocytes"]
    assert (
        gone["value"] > 0.7 * gone["positive_control"] and gone["high"] > gone["positive_control"]
    )
    # shuffled genes are the ceiling of these, but keep each gene's distribution
    assert (
        max(score("shuffled", m) for m in ("mmd", "precision", "correlation")) < 0.2
        and score("shuffled", "gene_wasserstein") > 0.85
    )


def test_a_forest_finds_fakes(real):
    "Independent genes within each label: the one fault that means, markers and most correlations do not show."
    from scgan_nb.evaluation.baselines import gaussian_copula, independent_nb

    train, holdout = real
    found = {
        name: judged(make(train, 300, seed=0), holdout, ["rf_auroc"], n=100, trees=TREES)[
            "rf_auroc"
        ]
        for name, make in (("copula", gaussian_copula), ("independent", independent_nb))
    }
    assert (
        found["copula"].positive_control < 0.6
        and found["copula"].value < 0.7
        and found["independent"].value > 0.8
    )


def test_a_forest_knows_repeated_cells(real):
    "Drawn once each, real cells are at the floor. Drawn with replacement some come twice, and a forest that has seen the one recognises the other."
    from scgan_nb.evaluation.baselines import resample

    train, holdout = real
    once, again = (
        [
            judged(make(s), holdout, ["rf_auroc"], repeats=4, trees=TREES, labels_key=None)[
                "rf_auroc"
            ]
            for s in range(2)
        ]
        for make in (
            lambda s: train[np.random.default_rng(s).permutation(train.n_obs)[:400]],
            lambda s: resample(train, 400, seed=s),
        )
    )
    assert all(
        m.positive_control_low <= m.value <= m.positive_control_high and m.score > 0.9 for m in once
    )
    assert all(
        m.positive_control_low <= m.value <= m.positive_control_high and 0.5 < m.value < 0.6
        for m in again
    )


def test_names_do_not_change_numbers(real):
    "Without names, genes are matched by position, and only on the caller's word."
    from scgan_nb.evaluation.baselines import resample

    train, holdout = real
    cells = resample(train, 150, seed=2)
    only = ["mmd", "correlation", "zero_fraction"]
    with_names, without = (judged(cells, holdout, only, named, n=100) for named in (True, False))
    assert {k: m.to_dict() for k, m in with_names.items()} == {
        k: m.to_dict() for k, m in without.items()
    }
    with pytest.raises(ValueError, match="same_gene_order=True"):
        judged(ad.AnnData(cells.X, obs=cells.obs), holdout, only)


ALARMS = ["memorisation_share", "membership_auroc", "near_duplicate_share", "nndr"]


def accused(found):
    "Alarms whose interval lies wholly on the wrong side of what real cells get."
    return {
        k
        for k, m in found.items()
        if {
            "lower": m.low > m.positive_control_high,
            "higher": m.high < m.positive_control_low,
        }.get(m.good, m.low > 0.5 and m.value > m.positive_control_high)
    }


@pytest.mark.parametrize("fit_on", ["train", "holdout"])
def test_copies_are_copies_with_few_held_out_cells(pbmc, fit_on):
    "Twice as many training cells as held-out ones: most copies meet nobody on an even ground, and are as bad as can be all the same."
    from scgan_nb.evaluation.baselines import gaussian_copula, resample

    train, holdout = pbmc[:1800], pbmc[1800:]
    copies, copula = (
        judged(
            make(train, 600, seed=0), holdout, ALARMS, n=None, repeats=5, train=train, fit_on=fit_on
        )
        for make in (resample, gaussian_copula)
    )
    clean = judged(
        holdout[:300], holdout[300:], ALARMS, n=None, repeats=5, train=train, fit_on=fit_on
    )
    assert (
        0.5 < copies["memorisation_share"].negative_control < 0.7
        and 0.5 < copies["membership_auroc"].negative_control < 0.8
    )
    assert {k: m.score for k, m in copies.items() if not m.score < 0.2} == {} and accused(
        copies
    ) == set(ALARMS)
    for found in (copula, clean):
        assert accused(found) == set() and all(
            m.score is None or m.score > 0.5 for m in found.values()
        )
        assert (
            found["membership_auroc"].score > 0.8
            and found["near_duplicate_share"].score > 0.95
            and found["nndr"].score > 0.95
        )
    assert copies["membership_auroc"].details["released"] == {
        "generated": 600,
        "real": 600 if fit_on == "train" else 300,
    }


def test_a_fault_in_one_label_is_found_there(pbmc):
    "B cells whose genes do not know of each other, among real cells: the forest of all cells sees nothing, that of B cells does."
    cells = pbmc[1500:].copy()
    x, b = cells.X.toarray(), (cells.obs["cluster"] == "B cells").to_numpy()
    x[b] = np.random.default_rng(0).permuted(x[b], axis=0)
    cells.X = sp.csr_matrix(x)
    from scgan_nb.evaluation.evaluate import compute_metrics

    found = compute_metrics(
        pbmc[:1000],
        cells,
        pbmc[1000:1500],
        only=["rf_auroc", "precision"],
        n=200,
        repeats=3,
        trees=100,
        seed=0,
    )
    by_label = found["rf_auroc"].by_label
    spoilt = by_label.pop("B cells")
    assert (
        spoilt["value"] > 0.7
        and spoilt["value"] > spoilt["positive_control"] + 0.2
        and abs(found["rf_auroc"].value - 0.5) < 0.06
    )
    assert len(by_label) >= 3 and all(
        d["low"] <= d["value"] <= d["high"] and 30 <= d["n"] <= 150 for d in by_label.values()
    )
    assert all(
        abs(d["value"] - 0.5) < 3 / np.sqrt(6 * d["n"]) for d in by_label.values()
    )  # three standard errors of a guess
    assert (
        set(found["rf_auroc"].details["too_small"])
        == set(cells.obs["cluster"]) - set(by_label) - {"B cells"}
        and found["rf_auroc"].details["trees"] == 100
    )


def test_labels_in_the_order_of_another_mix(real):
    "Cells ordered in equal numbers of each label: apart as they come, at the floor in the real mix."
    train, holdout = real
    kinds = ["CD4 T cells", "CD14+ Monocytes", "B cells", "CD8 T cells"]
    rows = np.concatenate([np.flatnonzero(train.obs["cluster"] == l)[:100] for l in kinds])
    holdout, only = (
        holdout[holdout.obs["cluster"].isin(kinds)],
        ["mmd", "energy", "label_share", "label_mix"],
    )
    as_is, matched = (
        judged(train[rows], holdout, only, n=150, repeats=4, match_labels=m) for m in (False, True)
    )
    assert (
        as_is["label_share"].value > as_is["label_share"].positive_control_high
        and as_is["energy"].value > as_is["energy"].positive_control_high
    )
    assert all(
        matched[k].positive_control_low <= matched[k].value <= matched[k].positive_control_high
        for k in ("mmd", "energy")
    )
    assert (
        "real label mix" in matched["label_share"].note
        and matched["label_share"].note == matched["label_mix"].note
    )


def test_a_memoriser_of_mouse_cortex(shared):
    "Zeisel et al. 2015: another species, another protocol, no gene names. Training cells with noise are caught, other real cells are not."
    path = shared / "data" / "zeisel_cortex_4000_raw.h5ad"
    if not path.exists():
        pytest.skip(f"no {path.name}")
    cells = ad.read_h5ad(path)
    order = np.random.default_rng(0).permutation(cells.n_obs)
    cells = cells[
        order[:2100], np.argsort(-np.asarray(cells.X.sum(axis=0)).ravel(), kind="stable")[:1000]
    ].copy()
    train, holdout, clean = cells[:1000], cells[1000:1700], cells[1700:]
    noisy = train[:400].copy()
    noisy.X.data *= np.random.default_rng(1).uniform(0.9, 1.1, noisy.X.nnz).astype("float32")
    caught, spared = (
        judged(x, holdout, ALARMS, n=300, repeats=4, train=train, labels_key="cell_type")
        for x in (noisy, clean)
    )
    assert accused(caught) == set(ALARMS) and all(m.score < 0.3 for m in caught.values())
    assert accused(spared) == set() and all(
        m.score is None or m.score > 0.5 for m in spared.values()
    )
