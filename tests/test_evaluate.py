"""The evaluation, on cells whose faults are known.

Margins are several standard errors wide, so that no result depends on rounding or on a processor.
"""

import json

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

TREES = 40
ALARMS = ["memorisation_share", "membership_auroc", "near_duplicate_share", "nndr"]


@pytest.fixture(scope="module")
def pbmc(shuffled_pbmc):
    return shuffled_pbmc(0.1)


@pytest.fixture(scope="module")
def real(pbmc):
    return pbmc[:1500].copy(), pbmc[1500:2700].copy()


def evaluated(cells, holdout, only, named=True, n=200, repeats=2, seed=0, **options):
    """Metrics of `cells` for `holdout`; without names, the genes of `cells` are 0, 1, 2, ..."""
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
        seed=seed,
        same_gene_order=not named,
        **{"fit_on": "train"} | options,
    )


def is_near_positive_control(metric, factor=2):
    """Whether the value is within `factor` half widths of the positive control's interval.

    With four draws, a half width is about four standard errors of the difference.
    """
    half_width = (metric.positive_control_high - metric.positive_control_low) / 2
    return abs(metric.value - metric.positive_control) <= factor * half_width


def is_alarm(metric):
    """Whether the value's interval lies wholly on the wrong side of the positive control's."""
    if metric.good == "lower":
        return metric.low > metric.positive_control_high
    if metric.good == "higher":
        return metric.high < metric.positive_control_low
    return metric.low > 0.5 and metric.value > metric.positive_control_high


def remaining_share(metric, least=10):
    """Label -> value divided by positive control, for labels with at least `least` cells."""
    return {
        label: found["value"] / found["positive_control"]
        for label, found in metric.by_label.items()
        if found["n"] >= least
    }


# --- cells with known faults

FAULT_METRICS = [
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


@pytest.fixture(scope="module", params=[True, False], ids=["names", "no names"])
def faults(real, request):
    """Metrics of real cells and of cells with one fault each; with and without gene names."""
    from scgan_nb.evaluation.baselines import independent_nb, resample

    train, holdout = real
    drawn = resample(train, 400, seed=0)
    counts, rng = drawn.X.toarray(), np.random.default_rng(0)
    kinds = {name: drawn.copy() for name in ("real", "deep", "thinned", "shuffled")}
    kinds["deep"].X = drawn.X * 2
    kinds["thinned"].X = sp.csr_matrix(rng.binomial(counts.astype(int), 0.5).astype("float32"))
    kinds["shuffled"].X = sp.csr_matrix(rng.permuted(counts, axis=0))
    kinds["independent"] = independent_nb(train, 400, labels_key=None, seed=0)
    for name, lost in (("lost", "B cells"), ("near", "CD14+ Monocytes")):
        kinds[name] = drawn[(drawn.obs["cluster"] != lost).to_numpy()].copy()
    return {
        name: evaluated(cells, holdout, FAULT_METRICS, request.param, repeats=4)
        for name, cells in kinds.items()
    }


@pytest.mark.slow
def test_real_cells_are_near_the_positive_control(faults):
    assert {k: m.score for k, m in faults["real"].items() if not m.score > 0.85} == {}
    assert is_near_positive_control(faults["real"]["energy"], 1)
    # LISI 1.873, lower end of the control's interval 1.868, standard error 0.007: twice the width
    assert is_near_positive_control(faults["real"]["lisi"])


@pytest.mark.slow
def test_independent_genes_are_right_alone_and_wrong_together(faults):
    found = faults["independent"]
    assert found["correlation"].score < 0.2 and found["gene_wasserstein"].score > 0.6


@pytest.mark.slow
def test_depth_is_seen_by_library_size_only(faults):
    """Twice the counts change nothing else; half the molecules are seen as well."""
    deep, drawn = faults["deep"], faults["real"]
    assert deep["library_size"].score < 0.6 and faults["thinned"]["library_size"].score < 0.5
    assert all(deep[k].score == drawn[k].score for k in FAULT_METRICS if k != "library_size")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "lost", "metrics"),
    [("lost", "B cells", ["recall", "coverage"]), ("near", "CD14+ Monocytes", ["coverage"])],
)
def test_a_lost_cell_type_is_named(faults, name, lost, metrics):
    """What is generated is right, so precision is high; recall and coverage name the lost type.

    Monocytes of another type are near by, and their wide neighbourhoods recall the lost ones.
    """
    found = faults[name]
    assert found["precision"].score > 0.85
    assert found["coverage"].high < found["coverage"].positive_control
    for metric in metrics:
        others = remaining_share(found[metric])
        assert others.pop(lost) < 0.4 and min(others.values()) > 0.6, metric
    if "recall" not in metrics:
        # whether its interval reaches the control (0.967, 0.961, standard error 0.02) is chance
        assert remaining_share(found["recall"])[lost] > 0.7


@pytest.mark.slow
def test_shuffled_genes_are_the_negative_control(faults):
    """They keep each gene's distribution."""
    found = faults["shuffled"]
    assert max(found[k].score for k in ("mmd", "correlation")) < 0.2
    # expected 0; standard error 0.15, for the precision of shuffled cells depends on few hubs
    assert found["precision"].score < 0.5
    assert found["gene_wasserstein"].score > 0.85


# --- forests


@pytest.mark.slow
def test_a_forest_finds_independent_genes_within_labels(real):
    """A fault that means, markers and most correlations do not show."""
    from scgan_nb.evaluation.baselines import gaussian_copula, independent_nb

    train, holdout = real
    copula, independent = (
        evaluated(make(train, 300, seed=0), holdout, ["rf_auroc"], n=150, repeats=4, trees=TREES)
        for make in (gaussian_copula, independent_nb)
    )
    copula, independent = copula["rf_auroc"], independent["rf_auroc"]
    # standard errors 0.01 to 0.02; with 100 cells and two draws they were 0.03
    assert copula.positive_control < 0.6 and copula.value < 0.7
    assert independent.value > 0.8 and independent.value > copula.value + 0.15


@pytest.mark.slow
def test_a_forest_recognises_repeated_cells(real):
    """Real cells drawn once are like others, for those drawn with replacement it has seen some.

    Of 60 cells, each drawn about four times, it has seen copies of all.
    """
    from scgan_nb.evaluation.baselines import resample

    train, holdout = real
    orders = [np.random.default_rng(seed).permutation(train.n_obs)[:400] for seed in range(2)]
    kinds = {
        "once": [train[order] for order in orders],
        "again": [resample(train, 400, seed=seed) for seed in range(2)],
        "often": [resample(train[:60], 250, seed=0)],
    }
    options = {"repeats": 4, "trees": TREES, "labels_key": None}
    found = {
        kind: [evaluated(x, holdout, ["rf_auroc"], **options)["rf_auroc"] for x in cells]
        for kind, cells in kinds.items()
    }
    for metric in found["once"] + found["again"]:
        assert is_near_positive_control(metric, 1)
    # standard errors: 0.035 of a score, 0.018 of a mean of two areas
    assert all(metric.score > 0.85 for metric in found["once"])
    once, again, often = (np.mean([m.value for m in of_kind]) for of_kind in found.values())
    assert max(0.5, once) < again < 0.62
    assert often > once + 0.15


@pytest.mark.slow
def test_a_fault_in_one_label_is_found_there(pbmc):
    """Shuffled genes of B cells: the forest of all cells hardly sees it, that of B cells does."""
    from scgan_nb.evaluation.evaluate import compute_metrics

    cells = pbmc[1500:].copy()
    x, is_b = cells.X.toarray(), (cells.obs["cluster"] == "B cells").to_numpy()
    x[is_b] = np.random.default_rng(0).permuted(x[is_b], axis=0)
    cells.X = sp.csr_matrix(x)
    only, options = ["rf_auroc", "precision"], {"n": 200, "repeats": 3, "trees": 100}
    options["fit_on"] = "train"
    found = compute_metrics(pbmc[:1000], cells, pbmc[1000:1500], only=only, **options)
    forest, by_label = found["rf_auroc"], dict(found["rf_auroc"].by_label)
    spoilt = by_label.pop("B cells")
    assert spoilt["value"] > 0.7 and spoilt["value"] > spoilt["positive_control"] + 0.2
    # standard error of the mean of three areas 0.02
    assert abs(forest.value - 0.5) < 0.1 and len(by_label) >= 3
    for found in by_label.values():
        assert found["low"] <= found["value"] <= found["high"] and 30 <= found["n"] <= 150
        # 1 / sqrt(6 n) is the standard error of one area over n + n cells; this is a mean of three
        assert abs(found["value"] - 0.5) < 3 / np.sqrt(6 * found["n"])
    small = set(cells.obs["cluster"]) - set(by_label) - {"B cells"}
    assert set(forest.details["too_small"]) == small and forest.details["trees"] == 100


# --- controls


@pytest.mark.slow
def test_the_positive_control_is_where_real_cells_fall(shuffled_pbmc):
    """On average over ten divisions of the cells into three sets."""
    only, gaps, inside = ["mmd", "energy", "label_mix", "lisi"], [], []
    part = shuffled_pbmc(0.03)[:, ::5].copy()
    for seed in range(10):
        order = np.random.default_rng([7, seed]).permutation(part.n_obs)
        third, holdout, train = (part[order[i:j]] for i, j in ((0, 900), (900, 1800), (1800, 2200)))
        found = evaluated(third, holdout, only, train=train, repeats=3, seed=seed)
        gaps.append([found[k].value - found[k].positive_control for k in only])
        inside += [is_near_positive_control(found[k], 1) for k in only]
    gaps = np.array(gaps)
    error = gaps.std(axis=0, ddof=1) / np.sqrt(len(gaps))
    # four gaps with 9 degrees of freedom: chance exceeds 2.5 standard errors in 12 % of trials,
    # and 4 in 1 %
    assert (np.abs(gaps.mean(axis=0)) < 4 * error).all()
    assert np.mean(inside) > 0.9


def test_names_do_not_change_numbers(real):
    """Without names, genes are matched by position, if the caller states the order."""
    from scgan_nb.evaluation.baselines import resample

    train, holdout = real
    cells = resample(train, 150, seed=2)
    only = ["mmd", "correlation", "zero_fraction"]
    with_names, without = (
        {k: m.to_dict() for k, m in evaluated(cells, holdout, only, named, n=100).items()}
        for named in (True, False)
    )
    assert with_names == without
    with pytest.raises(ValueError, match="same_gene_order=True"):
        evaluated(ad.AnnData(cells.X, obs=cells.obs), holdout, only)


def test_a_rare_label_without_cells(real):
    """Its share lies within chance; that it has no cell at all does not, and the page names it."""
    import scgan_nb
    from scgan_nb.evaluation.headline import main_fault
    from scgan_nb.reporting.report_page import fault_words

    train, holdout = real
    dropped = holdout.obs["cluster"].value_counts().loc[lambda sizes: sizes >= 60].index[-1]
    cells = train[train.obs["cluster"] != dropped]
    only = ["label_share", "missing_labels", "label_agreement"]
    options = {"n": 300, "repeats": 3, "labels_key": "cluster", "pictures": False, "only": only}
    clean, faulty = (
        scgan_nb.evaluate(holdout, x, progress=False, **options) for x in (train, cells)
    )
    assert clean.metrics["missing_labels"].value == 0 and main_fault(clean.metrics) is None
    assert not is_alarm(faulty.metrics["label_share"])
    assert main_fault(faulty.metrics) == "missing_labels"
    assert fault_words(faulty)["which"] == f"Missing: {dropped}."


def test_a_rare_label_without_its_marker_genes(real):
    """The metrics of the other cells are as before; the page names the label and its genes."""
    import scgan_nb
    from scgan_nb.evaluation.headline import main_fault
    from scgan_nb.reporting.report_page import fault_words

    train, holdout = real
    cells = train.copy()
    rare = (cells.obs["cluster"] == "NK cells").to_numpy()
    genes = [name for name in ("NKG7", "GNLY", "GZMB", "PRF1", "CTSW") if name in cells.var_names]
    columns = cells.var_names.get_indexer(genes)
    x = cells.X.toarray()
    x[np.ix_(rare, columns)] = 0
    cells.X = sp.csr_matrix(x)
    options = {"n": 300, "repeats": 3, "labels_key": "cluster", "pictures": False}
    options["only"] = ["lost_markers", "label_share", "label_agreement"]
    clean, faulty = (
        scgan_nb.evaluate(holdout, x, train=train, progress=False, **options)
        for x in (train, cells)
    )
    assert len(genes) >= 2 and main_fault(clean.metrics) is None
    assert clean.metrics["lost_markers"].details["lost"] == []
    assert main_fault(faulty.metrics) == "lost_markers"
    assert fault_words(faulty)["which"].startswith(f"Lost: NK cells ({len(genes)} of ")
    assert set(faulty.metrics["lost_markers"].details["lost"][0]["genes"]) == set(genes)
    assert faulty.metrics["lost_markers"].by_label["NK cells"]["value"] > 0


@pytest.mark.slow
def test_labels_in_the_order_of_another_mix(real):
    """Few cells of the most common label: apart as they come, near real cells in the real mix."""
    train, holdout = real
    kinds = {"CD4 T cells": 90, "CD14+ Monocytes": 200, "B cells": 200}
    labels = train.obs["cluster"]
    rows = np.concatenate([np.flatnonzero(labels == name)[:n] for name, n in kinds.items()])
    holdout = holdout[holdout.obs["cluster"].isin(kinds)]
    only = ["mmd", "energy", "label_share", "label_mix"]
    as_is, matched = (
        evaluated(train[rows], holdout, only, n=100, repeats=16, match_labels=match)
        for match in (False, True)
    )
    assert all(is_alarm(as_is[k]) for k in ("label_share", "energy"))
    assert all(is_near_positive_control(matched[k], 1) for k in ("mmd", "energy"))
    notes = {matched[k].note for k in ("label_share", "label_mix")}
    assert len(notes) == 1 and "real label mix" in notes.pop()


@pytest.mark.slow
def test_processes_do_not_change_numbers(real, monkeypatch):
    """One process and two; and the details of the forest."""
    from scgan_nb.evaluation import parallel

    monkeypatch.setattr(parallel, "ENOUGH_WORK", 0)
    train, holdout = real
    options = {"repeats": 2, "n": 100, "trees": TREES, "labels_key": None}
    alone, together = (
        evaluated(train[:200], holdout, ["rf_auroc", "mmd"], n_jobs=jobs, **options)
        for jobs in (1, 2)
    )
    for name, metric in alone.items():
        assert json.dumps(metric.to_dict()) == json.dumps(together[name].to_dict())
    curve, area = alone["rf_auroc"].details, alone["rf_auroc"].value
    assert len(curve["fpr"]) == len(curve["tpr"]) == len(curve["tpr_positive_control"])
    assert abs(np.trapezoid(curve["tpr"], curve["fpr"]) - area) < 0.03


# --- copies of training cells


@pytest.mark.slow
@pytest.mark.parametrize("fit_on", ["train", "holdout"])
def test_copies_are_found_with_few_held_out_cells(pbmc, fit_on):
    """Each comparison holds fewer than half of the training cells.

    Most copies do not meet their original there, and are as bad as can be all the same. Other
    real cells are near the positive control.
    """
    from scgan_nb.evaluation.baselines import gaussian_copula, resample

    train, holdout = pbmc[:1000], pbmc[1000:1900]
    options = {"n": None, "repeats": 5, "train": train, "fit_on": fit_on}
    copies, copula = (
        evaluated(make(train, 600, seed=0), holdout, ALARMS, **options)
        for make in (resample, gaussian_copula)
    )
    other_real = evaluated(pbmc[1900:2500], holdout, ALARMS, **options)
    assert all(is_alarm(m) for m in copies.values())
    # the memorisation share is expected at its negative control: score 0, standard error 0.08
    share = copies["memorisation_share"].score
    assert share < 0.25 and all(m.score < 0.2 for k, m in copies.items() if k in ALARMS[1:])
    assert 0.5 < copies["memorisation_share"].negative_control < 0.7
    assert 0.5 < copies["membership_auroc"].negative_control < 0.8
    # a copula fitted to few cells is somewhat nearer to them, far less than copies are
    share, largest = copula["memorisation_share"].value, copies["memorisation_share"].value
    assert share < largest - 0.03 and other_real["memorisation_share"].score > 0.5
    assert not any(is_alarm(m) for m in other_real.values())
    for found in (copula, other_real):
        assert found["membership_auroc"].score > 0.8  # at least 0.87, standard error 0.025
        assert found["near_duplicate_share"].score > 0.95 < found["nndr"].score
    released = {"generated": 600, "real": 600 if fit_on == "train" else 300}
    assert copies["membership_auroc"].details["released"] == released


@pytest.mark.thorough
@pytest.mark.parametrize("fit_on", ["train", "holdout"])
def test_copies_are_copies_with_few_held_out_cells(pbmc, fit_on):
    """Twice as many training cells as held-out ones: most copies do not meet their original.

    The width of an interval of five draws varies by a third, so that the end of the interval of
    the memorisation share is near 0.5 by chance. The means are compared instead: 0.58 for copies,
    0.52 for a copula and 0.51 for other real cells, each with a standard error of 0.008.
    """
    from scgan_nb.evaluation.baselines import gaussian_copula, resample

    train, holdout = pbmc[:1800], pbmc[1800:]
    options = {"n": None, "repeats": 5, "train": train, "fit_on": fit_on}
    copies, copula = (
        evaluated(make(train, 600, seed=0), holdout, ALARMS, **options)
        for make in (resample, gaussian_copula)
    )
    clean = evaluated(holdout[:300], holdout[300:], ALARMS, **options)
    assert 0.5 < copies["memorisation_share"].negative_control < 0.7
    assert 0.5 < copies["membership_auroc"].negative_control < 0.8
    assert copies["memorisation_share"].value > 0.55
    for name in ALARMS[1:]:
        assert copies[name].score < 0.2 and is_alarm(copies[name])
    for found in (copula, clean):
        assert found["memorisation_share"].value < 0.55
        assert not any(is_alarm(m) for name, m in found.items() if name in ALARMS[1:])
        assert found["near_duplicate_share"].score > 0.95 < found["nndr"].score
    # standard error 0.1: copies differ from other cells by 0.07, a mean is known to 0.005
    assert copula["membership_auroc"].score > 0.6
    # 300 released cells are too few for a score: the controls are too near to each other
    few = clean["membership_auroc"]
    assert few.score is None and abs(few.value - few.positive_control) < 0.03
    assert not is_alarm(clean["memorisation_share"])
    assert all(m.score is None or m.score > 0.5 for m in clean.values())
    released = {"generated": 600, "real": 600 if fit_on == "train" else 300}
    assert copies["membership_auroc"].details["released"] == released


def test_donors_of_copied_cells_are_named(pbmc):
    """Two donors whose cells are copied, and one whose cells are not; pairs name the rows."""
    train, holdout = pbmc[:600].copy(), pbmc[600:1100].copy()
    train.obs["donor"] = np.array(["a", "b", "c"])[np.arange(600) % 3]
    holdout.obs["donor"] = np.array(["x", "y"])[np.arange(500) % 2]
    copies = train[(train.obs["donor"] != "c").to_numpy()].copy()
    copies.X.data *= np.random.default_rng(0).uniform(0.9, 1.1, copies.X.nnz).astype("float32")
    only = ["membership_auroc", "near_duplicate_share"]
    found = evaluated(copies, holdout, only, train=train, donor_key="donor")
    details = found["membership_auroc"].details
    assert min(details["by_donor"][d] for d in "ab") > 0.95 > 0.7 > details["by_donor"]["c"]
    assert details["donor_auroc"] > 0.6
    pairs = found["near_duplicate_share"].details["pairs"]
    rows = np.flatnonzero(train.obs["donor"] != "c")
    assert len(pairs) == 20 and all(rows[p["generated"]] == p["train"] for p in pairs)
    assert details["calibrated_auroc"] is None  # two donors are too few to set one apart
    holdout.obs["donor"] = np.array(["x", "y", "z"])[np.arange(500) % 3]
    only = ["membership_auroc"]
    found = evaluated(copies, holdout, only, train=train, donor_key="donor")
    details = found["membership_auroc"].details
    assert details["calibrated_auroc"] > 0.8 and details["donor_auroc"] > 0.6
    del holdout.obs["donor"]
    with pytest.raises(ValueError, match="held-out cells have no donors 'donor'"):
        evaluated(copies, holdout, only, train=train, donor_key="donor")


@pytest.mark.slow
def test_a_memoriser_of_mouse_cortex(shared):
    """Zeisel et al. 2015: another species, another technique, no gene names.

    Training cells with noise are found, other real cells are not.
    """
    path = shared / "data" / "zeisel_cortex_4000_raw.h5ad"
    if not path.exists():
        pytest.skip(f"no {path.name}")
    cells = ad.read_h5ad(path)
    order = np.random.default_rng(0).permutation(cells.n_obs)[:2100]
    genes = np.argsort(-np.asarray(cells.X.sum(axis=0)).ravel(), kind="stable")[:1000]
    cells = cells[order, genes].copy()
    train, holdout, clean = cells[:1000], cells[1000:1700], cells[1700:]
    noisy = train[:400].copy()
    noisy.X.data *= np.random.default_rng(1).uniform(0.9, 1.1, noisy.X.nnz).astype("float32")
    caught, spared = (
        evaluated(x, holdout, ALARMS, n=300, repeats=4, train=train, labels_key="cell_type")
        for x in (noisy, clean)
    )
    assert all(is_alarm(m) and m.score < 0.3 for m in caught.values())
    assert not any(is_alarm(m) for m in spared.values())
    assert all(m.score is None or m.score > 0.5 for m in spared.values())
