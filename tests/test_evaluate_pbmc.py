"""The evaluation of PBMC 3k with all genes but the rarest: other real cells, and bad cells."""

import json
import os
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

pytestmark = pytest.mark.thorough
QUICK = {"labels_key": "cell_type", "fast": True, "n": 200, "fit_on": "train"}


def evaluated(holdout, cells, *train, **options):
    from scgan_nb.evaluation.evaluate import compute_metrics

    return compute_metrics(holdout, cells, *train, **QUICK | options)


@pytest.fixture(scope="module")
def pbmc():
    from scgan_nb.data.examples import pbmc_example

    cells = pbmc_example(2_700, None)
    return cells[:, np.asarray((cells.X > 0).mean(axis=0)).ravel() > 0.03].copy()


@pytest.fixture(scope="module")
def parts(pbmc):
    """Cells in the place of generated ones, held-out cells and training cells."""
    return pbmc[:250], pbmc[250:750], pbmc[750:1500].copy()


@pytest.fixture(scope="module")
def copied(parts):
    """The training cells with 10 % noise."""
    cells = parts[2].copy()
    noise = np.random.default_rng(0).uniform(0.9, 1.1, cells.X.data.shape)
    cells.X.data *= noise.astype("float32")
    return cells


@pytest.fixture(scope="module")
def real(parts):
    cells, holdout, train = parts
    return evaluated(holdout, cells, train, repeats=3)


def test_other_real_cells_are_like_real(real):
    from scgan_nb.evaluation.headline import QUESTIONS, headline
    from scgan_nb.evaluation.metric_table import METRICS

    for name in ("rf_auroc", "memorisation_share", "membership_auroc", "one_nn"):
        assert real[name].low <= 0.5 <= real[name].high, name
    assert real["de_slope"].low <= 1 <= real["de_slope"].high
    assert real["near_duplicate_share"].value < 0.03
    assert all(m.score is None or m.score > 0.8 for m in real.values())
    assert headline(real)["value"] > 95
    assert list(real) == list(METRICS) and sum(m.score is None for m in real.values()) <= 2
    assert {name for names in QUESTIONS.values() for name in names} <= set(METRICS)
    assert all(m.low <= m.value <= m.high for m in real.values() if m.value is not None)
    copies = abs(real["membership_auroc"].value - 0.5), 1 - real["nndr"].score
    assert max(copies) < 0.07


def test_details_of_labels_and_curves(real):
    tstr, slopes = real["tstr"], real["de_slope"].by_label
    assert "Megakaryocytes" in tstr.details["too_small"] and tstr.note.startswith("too few cells")
    assert set(tstr.by_label) == set(slopes) and abs(slopes["CD4 T cells"]["value"] - 1) < 0.2
    curve = real["rf_auroc"].details
    area = np.trapezoid(curve["tpr"], curve["fpr"])
    assert abs(area - real["rf_auroc"].value) < 0.03
    assert len(curve["tpr_positive_control"]) == len(curve["fpr"])
    stored = json.dumps({name: m.to_dict() for name, m in real.items()}, allow_nan=False)
    assert json.loads(stored)["ks"]["score"] == real["ks"].score


def test_forests_within_labels(real, pbmc):
    by_label = pd.DataFrame(real["rf_auroc"].by_label).T.astype(float)
    assert len(by_label) >= 3 and by_label["n"].between(30, 150).all()
    # 1 / sqrt(6 n) is the standard error of one area over n + n cells; these are means of three
    assert ((by_label["value"] - 0.5).abs() < 3 / np.sqrt(6 * by_label["n"])).all()
    large = by_label[by_label["n"] >= 60]
    assert len(large) >= 1
    assert (large["negative_control"] > large["positive_control"] + 0.2).all()
    small = set(real["rf_auroc"].details["too_small"])
    assert small | set(by_label.index) == set(pbmc.obs["cell_type"].unique())
    assert not real["centroid_cosine"].by_label


def test_independent_genes(parts, real):
    cells, holdout, train = parts
    x = np.random.default_rng(0).permuted(cells.X.toarray(), axis=0)
    independent = ad.AnnData(sp.csr_matrix(x), obs=cells.obs, var=cells.var)
    only = ["rf_auroc", "mmd", "correlation", "centroid_cosine", "label_agreement"]
    found = evaluated(holdout, independent, train, only=only, repeats=2, trees=30)
    assert found["rf_auroc"].value > 0.9 and found["mmd"].score < 0.3
    assert found["correlation"].score < 0.2 and found["label_agreement"].score < 0.5
    assert found["centroid_cosine"].score > 0.8  # means do not change
    within = pd.DataFrame(found["rf_auroc"].by_label).T.astype(float)
    assert (within["value"] > within["positive_control"] + 0.1).all()
    assert list(within.index) == list(real["rf_auroc"].by_label)


def test_a_lost_label(pbmc, parts):
    _, holdout, train = parts
    lost = pbmc.obs["cell_type"].value_counts().index[1]
    cells = pbmc[1500:2200]
    cells = cells[(cells.obs["cell_type"] != lost).to_numpy()]
    found = evaluated(holdout, cells, train, only=["recall", "precision", "coverage"])
    recall, coverage = found["recall"].by_label[lost], found["coverage"].by_label[lost]
    # 0.69 of 0.93, standard error 0.07
    assert recall["value"] < recall["positive_control"] - 0.05
    assert recall["high"] > recall["positive_control"]  # it could be chance
    assert coverage["value"] < 0.3 * coverage["positive_control"]  # this could not
    assert found["coverage"].high < found["coverage"].positive_control
    shares = {k: d["value"] for k, d in found["recall"].by_label.items() if d["n"] >= 10}
    assert min(shares, key=shares.get) == lost
    assert found["precision"].score > 0.85


def test_copies_of_all_training_cells(parts, copied):
    _, holdout, train = parts
    only = ["membership_auroc", "near_duplicate_share", "nndr"]
    found = evaluated(holdout, copied, train, only=only, repeats=2)
    assert found["membership_auroc"].value > 0.95 and found["near_duplicate_share"].value > 0.95
    assert found["nndr"].score < 0.5
    details = found["near_duplicate_share"].details
    assert details["found"] > 700 and len(details["pairs"]) == 20
    assert all(pair["generated"] == pair["train"] for pair in details["pairs"])


def test_memorisation_share_of_few_and_of_many_training_cells(parts, copied):
    """With 200 training cells all originals take part; with 750 a quarter of them does."""
    _, holdout, train = parts
    options = {"only": ["memorisation_share"]}
    few = evaluated(holdout, copied[:200], train[:200], **options)["memorisation_share"]
    many = evaluated(holdout, copied, train, **options, repeats=3)["memorisation_share"]
    assert few.value > 0.8 and few.low > 0.5 and few.score < 0.3
    assert 0.5 < many.value < few.value and many.score < 0.3
    assert abs(many.negative_control - 0.63) < 0.05


def test_blurred_cells_have_small_slopes(parts):
    cells, holdout, train = parts
    x = cells.X.toarray()
    blurred = ad.AnnData(0.6 * x + 0.4 * x.mean(axis=0), obs=cells.obs, var=cells.var)
    found = evaluated(holdout, blurred, train, only=["de_correlation", "de_slope"], repeats=2)
    assert found["de_slope"].value < 0.75
    assert found["de_slope"].score < 0.8 < found["de_correlation"].score


def test_cells_of_constant_depth(parts):
    """Depths are not evaluated; the same seed gives the same numbers."""
    cells, holdout, _ = parts
    depths = np.asarray(cells.X.sum(axis=1)).ravel()
    x = sp.csr_matrix(sp.diags(20_000 / depths) @ cells.X, dtype="float32")
    constant = ad.AnnData(x, obs=cells.obs, var=cells.var)
    only = ["library_size", "genes_per_cell", "mmd", "zero_fraction", "rf_auroc"]
    only += ["sliced_wasserstein", "tstr", "label_share", "memorisation_share"]
    options = {"repeats": 2, "only": only, "seed": 3, "trees": 20, "n": 100}
    one, two = (evaluated(holdout, constant, **options) for _ in range(2))
    first, second = ({name: m.to_dict() for name, m in found.items()} for found in (one, two))
    assert json.dumps(first) == json.dumps(second)
    assert one["library_size"].note == one["genes_per_cell"].note
    assert "constant by design" in one["library_size"].note
    assert "20,000" in one["library_size"].note
    assert "no training cells" in one["memorisation_share"].note


def test_baselines_of_half_the_training_cells():
    from scgan_nb.data.examples import pbmc_example
    from scgan_nb.evaluation.baselines import resample
    from scgan_nb.evaluation.evaluate import compute_metrics

    cells = pbmc_example(2_700, None)
    cells = cells[:, np.asarray((cells.X > 0).mean(axis=0)).ravel() > 0.08].copy()
    train, holdout = cells[:1800].copy(), cells[1800:].copy()
    only = ["rf_auroc", "mmd", "precision", "recall", "coverage", "correlation"]
    only += ["gene_wasserstein", "label_agreement", "library_size"]
    options = QUICK | {"n": 150, "repeats": 2, "only": only}
    found = compute_metrics(holdout, resample(train, 900, seed=0), **options)
    scores = [m.score for m in found.values() if m.score is not None]
    # two draws: some controls spread too far for a score
    assert min(scores) > 0.75 and len(scores) >= 7


def _data_set(name):
    """Cells with labels in obs["cell_type"]: PBMC 3k, or Zeisel or Paul where they are there."""
    from scgan_nb.data.datasets import pbmc3k

    if name == "pbmc":
        return pbmc3k()
    folder = Path(os.environ.get("SCGAN_NB_TEST_DATA", "tests/data"))
    path = folder / {"zeisel": "zeisel_cortex_4000_raw.h5ad", "paul": "paul15_raw.h5ad"}[name]
    if not path.exists():
        pytest.skip(f"{path.name} is not there")
    return ad.read_h5ad(path)


NAMED_BY = {
    "label dropped": {"missing_labels", "label_share", "label_mix", "coverage"},
    "gene silenced": {"worst_gene"},
    "depth doubled": {"library_size"},
    "variance halved": {"worst_gene", "gene_variance", "mean_variance"},
    # a label whose cells all carry another one has no cell
    "labels given away": {"missing_labels", "label_share", "label_agreement"},
    "copies": {"nndr", "near_duplicate_share", "membership_auroc"},
    "markers lost": {"lost_markers"},
}


# Nearly real cells lose little with 300 cells a side. With 650 they get 84 to 85 on PBMC 3k and 95
# on Paul; the more cells, the lower.
CELLS_A_SIDE = {"pbmc": 450, "zeisel": 450, "paul": 600}


@pytest.fixture(scope="module", params=list(CELLS_A_SIDE))
def ordered(request):
    """Name of a set, and metrics of generators and faults; held out is half of its cells."""
    from scgan_nb.evaluation.baselines import gaussian_copula, independent_nb
    from scgan_nb.evaluation.evaluate import compute_metrics_of
    from scgan_nb.evaluation.faults import FAULTS, nearly_real, planted
    from scgan_nb.evaluation.headline import QUESTIONS

    cells, key = _data_set(request.param), "cell_type"
    cells.X = sp.csr_matrix(cells.X, dtype="float32")
    totals = np.asarray(cells.X.sum(axis=0)).ravel()
    cells = cells[:, np.sort(np.argsort(-totals)[:600])].copy()
    order = np.random.default_rng(0).permutation(cells.n_obs)
    parts = np.split(order, [cells.n_obs // 4, 3 * cells.n_obs // 4])
    other, holdout, train = (cells[rows].copy() for rows in parts)
    generators = {
        "real": other,
        "near": nearly_real(other, key),
        "copula": gaussian_copula(train, other.n_obs, key),
        "independent": independent_nb(train, other.n_obs, key),
    } | {fault: planted(other, fault, key, train) for fault in FAULTS}
    names = [name for metrics in QUESTIONS.values() for name in metrics]
    options = {"repeats": 4, "trees": 50, "within_labels": False, "only": names, "fit_on": "train"}
    options["n"] = CELLS_A_SIDE[request.param]
    return request.param, compute_metrics_of(holdout, generators, train, key, **options)


def _headlines(found):
    from scgan_nb.evaluation.headline import headline

    return {kind: headline(metrics)["value"] for kind, metrics in found.items()}


def test_the_headline_orders_generators(ordered):
    """Real cells, nearly real ones, and two generators that are wrong in many ways."""
    from scgan_nb.evaluation.headline import main_fault, weakest_metric

    name, found = ordered
    score = _headlines(found)
    assert score["real"] >= 97 and main_fault(found["real"]) is None, (name, score)
    assert weakest_metric(found["real"]) is not None
    assert 85 <= score["near"] < 97, (name, score)
    assert max(score["copula"], score["independent"]) < 75, (name, score)
    assert max(score["copula"], score["independent"]) < score["near"] - 10, (name, score)


def test_every_planted_fault_costs_and_is_named_first(ordered):
    from scgan_nb.evaluation.headline import main_fault

    name, found = ordered
    score = _headlines(found)
    assert all(score[fault] <= score["real"] - 10 for fault in NAMED_BY), (name, score)
    fault = {kind: main_fault(metrics) for kind, metrics in found.items()}
    assert all(fault[kind] in named for kind, named in NAMED_BY.items()), (name, fault)


def test_clean_cells_are_never_accused_and_a_memoriser_at_5_percent_is_caught():
    """Twenty splits of PBMC 3k, 900 cells a part, the 1,000 most abundant genes.

    The memoriser hands out real cells of which one in twenty is a training cell, as it is or with
    a fifth of its molecules lost. Accused is what the report's first screen accuses: a sign of
    copies, or one of the metrics on copies as the main fault.
    """
    from types import SimpleNamespace

    from scgan_nb.data.datasets import pbmc3k
    from scgan_nb.evaluation.evaluate import compute_metrics_of
    from scgan_nb.evaluation.headline import QUESTIONS, main_fault
    from scgan_nb.reporting.report_page import signs_of_copies

    cells = pbmc3k()
    totals = np.asarray(cells.X.sum(axis=0)).ravel()
    cells = cells[:, np.sort(np.argsort(-totals)[:1000])].copy()
    options = QUICK | {"n": 300, "only": QUESTIONS["new"], "fit_on": "holdout"}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        parts = np.array_split(rng.permutation(cells.n_obs), 3)
        clean, holdout, train = (cells[np.sort(rows)].copy() for rows in parts)
        rows = rng.choice(train.n_obs, clean.n_obs // 20, replace=False)
        copies = train.X[rows].toarray().astype(int)
        generators = {"clean": clean}
        for name, x in {"copies": copies, "thinned": rng.binomial(copies, 0.8)}.items():
            generators[name] = clean.copy()
            rest = clean.X[len(rows) :]
            generators[name].X = sp.vstack([sp.csr_matrix(x), rest], "csr").astype("float32")
        found = compute_metrics_of(holdout, generators, train, seed=seed, **options)
        for name, metrics in found.items():
            signs = signs_of_copies(SimpleNamespace(metrics=metrics))
            accused = bool(signs) or main_fault(metrics) is not None
            assert accused == (name != "clean"), (seed, name, signs)
