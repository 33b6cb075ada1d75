"""Judging, against arithmetic written down a second time, and against cells whose faults are known.

The presets are recomputed here in plain NumPy, SciPy and scikit-learn from the papers' descriptions, without the package.
"""
import warnings

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import rankdata, ranksums
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics import pairwise_distances, roc_auc_score
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

TREES = 40


@pytest.fixture(scope="module")
def pbmc():
    "PBMC 3k in random order: the genes that more than 10 % of the cells show, labels in `cluster`."
    from scgan_nb.datasets import pbmc3k
    cells = pbmc3k()
    cells = cells[np.random.default_rng(1).permutation(cells.n_obs), np.asarray((cells.X > 0).mean(axis=0)).ravel() > .1].copy()
    cells.obs["cluster"] = cells.obs["cell_type"]
    return cells


# --- presets, recomputed

@pytest.fixture(scope="module")
def two_sides(pbmc):
    "150 generated and 150 real cells, 600 genes: a preset with n=150 uses all of them, so only what is random differs between rounds."
    from scgan_nb.baselines import gaussian_copula
    cells = pbmc[:, np.argsort(-np.asarray(pbmc.X.sum(axis=0)).ravel(), kind="stable")[:600]]
    return gaussian_copula(cells[:900], 150, seed=0, components=20), cells[900:1050].copy()


@pytest.fixture(scope="module")
def preset(two_sides):
    from scgan_nb.presets import run
    return lambda name, repeats=5: run(name, *two_sides, repeats=repeats, trees=TREES, seed=0)["metrics"]


def scaled(cells, total):
    x = cells.X.toarray().astype(float)
    return x * total / x.sum(axis=1, keepdims=True)


def logged(two_sides): return [np.log1p(scaled(cells, 1e4)) for cells in two_sides]


def joint_components(x, y, k):
    "The first `k` principal components of both together."
    z = np.vstack([x, y])
    z = PCA(k, svd_solver="full").fit_transform(z)
    return z[:len(x)], z[len(x):]


def squared(a, b): return pairwise_distances(a, b, metric="sqeuclidean")


def simpson(x, kind, perplexity=30):
    "Mean local inverse Simpson index, written out: 3 * perplexity neighbours (one of them the cell itself, which is left out), bisection on beta."
    d = pairwise_distances(x)
    out = []
    for i, row in enumerate(d):
        near = np.argsort(row, kind="stable")[:3 * perplexity]
        near = near[near != i]
        low, high, beta = -np.inf, np.inf, 1.
        for _ in range(50):
            w = np.exp(-row[near] * beta)
            p = w / w.sum()
            gap = np.log(w.sum()) + beta * (row[near] * p).sum() - np.log(perplexity)
            if abs(gap) < 1e-5: break
            if gap > 0: low, beta = beta, beta * 2 if np.isinf(high) else (beta + high) / 2
            else: high, beta = beta, beta / 2 if np.isinf(low) else (beta + low) / 2
        out.append(1 / sum(p[kind[near] == c].sum()**2 for c in (0, 1)))
    return np.mean(out)


def forest(x, kind, fit, test, seed=77, **settings):
    model = RandomForestClassifier(TREES, random_state=seed, **settings).fit(x[fit], kind[fit])
    return roc_auc_score(kind[test], model.predict_proba(x[test])[:, 1])


def inside(metric, value, slack=0.): return metric["low"] - slack <= value <= metric["high"] + slack


def test_groundgan_again(two_sides, preset):
    "Zinati et al. 2024, Table 1, and the program that came with it."
    found = preset("groundgan", 4)
    x, y = (scaled(cells, 20_000) for cells in two_sides)
    a, b = x.mean(axis=0), y.mean(axis=0)
    assert found["euclid"]["value"] == pytest.approx(np.sqrt(((a - b)**2).sum()), rel=1e-3)
    assert found["cosine"]["value"] == pytest.approx(1 - (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()), rel=1e-3)

    rng, widths = np.random.default_rng(123), [1.]
    for _ in range(19):
        drawn = y[rng.integers(len(y), size=len(y))]
        widths.append(np.median(np.sort(pairwise_distances(drawn), axis=1)[:, 1:25]))
    width = np.median(widths)
    kernel = lambda p, q: 3 * sum(np.exp(-squared(p, q) / s**2) for s in (width / 2, width, 2 * width))
    value = kernel(x, x).mean() + kernel(y, y).mean() - 2 * kernel(x, y).mean()
    assert inside(found["mmd"], value) and found["mmd"]["high"] - found["mmd"]["low"] < .2 * value

    both, kind = np.vstack([y, x]), np.repeat([0, 1], len(x))
    areas = []
    for seed in range(3):
        fit, test = train_test_split(np.arange(300), test_size=.3, random_state=100 + seed)
        pca = PCA(50, svd_solver="full").fit(both[fit])
        areas.append(forest(pca.transform(both), kind, fit, test))
    assert inside(found["rf_auroc"], np.mean(areas))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flat = TSNE(random_state=99).fit_transform(both)
    assert inside(found["milisi"], simpson(flat, kind), .01)


def test_activa_again(two_sides, preset):
    "Heydari et al. 2022, where it is known; joint components and our kernels where it is not."
    found, (x, y) = preset("activa", 3), logged(two_sides)
    p, q = joint_components(x, y, 50)
    d = np.sqrt(squared(q, q))
    width = np.median(np.sort(d, axis=1)[:, 1:26])
    kernel = lambda s, t: sum(np.exp(-squared(s, t) / (f * width)**2) for f in (.5, 1, 2))
    others = ~np.eye(150, dtype=bool)
    assert found["mmd"]["value"] == pytest.approx(kernel(p, p)[others].mean() + kernel(q, q)[others].mean() - 2 * kernel(p, q).mean(), rel=1e-3)

    labels = two_sides[1].obs["cluster"].astype(str).to_numpy()
    chosen = set()
    for label in [l for l in np.unique(labels) if (labels == l).sum() >= 3]:
        chosen |= set(np.argsort(-ranksums(y[labels == label], y[labels != label], axis=0).statistic, kind="stable")[:5].tolist())
    chosen = sorted(chosen)
    correlations = [np.nan_to_num(np.corrcoef(s[:, chosen].T)) for s in (x, y)]
    assert found["correlation_discrepancy"]["value"] == pytest.approx(np.abs(correlations[0] - correlations[1]).sum(axis=0).max(), rel=1e-3)

    z, kind = np.vstack([q, p]), np.repeat([0, 1], 150)
    folds = StratifiedKFold(5, shuffle=True, random_state=5).split(z, kind)
    assert inside(found["rf_auroc"], np.mean([forest(z, kind, fit, test) for fit, test in folds]), .02)


def test_scdiffusion_again(two_sides, preset):
    "Luo et al. 2024, and the notebooks that came with the program."
    found, (x, y) = preset("scdiffusion"), logged(two_sides)
    a, b = x.mean(axis=0), y.mean(axis=0)
    assert found["pearson"]["value"] == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-3)
    assert found["spearman"]["value"] == pytest.approx(np.corrcoef(rankdata(a), rankdata(b))[0, 1], abs=1e-3)

    p, q = joint_components(x, y, 50)
    z, n = np.vstack([p, q]), 300
    base = squared(z, z).sum() / (n * n - n)
    kernel = lambda s, t: sum(np.exp(-squared(s, t) / (base * 2.**(i - 2))) for i in range(5))
    assert found["mmd"]["value"] == pytest.approx((kernel(p, p) + kernel(q, q) - kernel(p, q) - kernel(q, p)).mean(), rel=1e-3)

    kind = np.repeat([1, 0], 150)
    assert found["ilisi"]["value"] == pytest.approx(simpson(z[:, :20], kind) - 1, abs=2e-3)
    areas = []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(n)
        fit, test = train_test_split(order, test_size=.25, random_state=1)
        areas.append(forest(z, kind, fit, test, max_depth=5, class_weight="balanced"))
    assert inside(found["rf_auroc"], np.mean(areas))

    labels = [cells.obs["cluster"].astype(str).to_numpy() for cells in two_sides]
    areas, rng = [], np.random.default_rng(8)
    for label in np.intersect1d(*labels):
        rows = [rng.permutation(np.flatnonzero(l == label)) for l in labels]
        m = min(map(len, rows))
        if m < 10: continue
        near, side = np.vstack([y[rows[1][:m]], x[rows[0][:m]]]), np.repeat([0, 1], m)
        fit, test = train_test_split(np.arange(2 * m), test_size=.3, random_state=1)
        areas.append(roc_auc_score(side[test], KNeighborsClassifier(5).fit(near[fit], side[fit]).predict_proba(near[test])[:, 1]))
    assert len(areas) >= 3 and inside(found["knn_auroc"], np.mean(areas))

    pca = PCA(50, svd_solver="full").fit(y)
    scale = StandardScaler().fit(pca.transform(y))
    model = LogisticRegression(C=.1, max_iter=2000, class_weight="balanced").fit(scale.transform(pca.transform(y)), labels[1])
    assert found["label_share"]["value"] == pytest.approx((model.predict(scale.transform(pca.transform(x))) == labels[0]).mean(), abs=.01)


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
