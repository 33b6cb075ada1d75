"""The protocols, recomputed from the papers' descriptions in plain NumPy and scikit-learn."""

import json
import warnings

import anndata as ad
import numpy as np
import pytest
from scipy.stats import rankdata, ranksums
from scipy.stats import t as student
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics import pairwise_distances, roc_auc_score
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

TREES = 40
NAMES = ("groundgan", "activa", "scdiffusion")


@pytest.fixture(scope="module")
def pbmc(shuffled_pbmc):
    return shuffled_pbmc(0.05)


@pytest.fixture(scope="module")
def two_sets(pbmc):
    """150 generated and 150 real cells, 600 genes.

    A protocol with n=150 uses all of them, so only what is random differs between rounds.
    """
    from scgan_nb.evaluation.baselines import gaussian_copula

    cells = pbmc[:, np.argsort(-np.asarray(pbmc.X.sum(axis=0)).ravel(), kind="stable")[:600]]
    return gaussian_copula(cells[:900], 150, seed=0, components=20), cells[900:1050].copy()


@pytest.fixture(scope="module")
def protocol(two_sets):
    from scgan_nb.evaluation.protocols.runner import run_protocol

    return lambda name, repeats=5: run_protocol(
        name, *real_first(two_sets), repeats=repeats, trees=TREES, seed=0
    )["metrics"]


def real_first(cells):
    generated, holdout, *train = cells
    return holdout, generated, *train


def scaled(cells, total):
    x = cells.X.toarray().astype(float)
    return x * total / x.sum(axis=1, keepdims=True)


def logged(two_sets):
    return [np.log1p(scaled(cells, 1e4)) for cells in two_sets]


def joint_components(x, y, k):
    "The first `k` principal components of both together."
    z = np.vstack([x, y])
    z = PCA(k, svd_solver="full").fit_transform(z)
    return z[: len(x)], z[len(x) :]


def squared(a, b):
    return pairwise_distances(a, b, metric="sqeuclidean")


def gaussians(a, b, squared_widths):
    return sum(np.exp(-squared(a, b) / s) for s in squared_widths)


def simpson(x, kind, perplexity=30):
    """Mean local inverse Simpson index: 3 * perplexity neighbours, bisection on beta.

    One of the neighbours is the cell itself, which is left out.
    """
    d = pairwise_distances(x)
    out = []
    for i, row in enumerate(d):
        near = np.argsort(row, kind="stable")[: 3 * perplexity]
        near = near[near != i]
        low, high, beta = -np.inf, np.inf, 1.0
        for _ in range(50):
            w = np.exp(-row[near] * beta)
            p = w / w.sum()
            gap = np.log(w.sum()) + beta * (row[near] * p).sum() - np.log(perplexity)
            if abs(gap) < 1e-5:
                break
            if gap > 0:
                low, beta = beta, beta * 2 if np.isinf(high) else (beta + high) / 2
            else:
                high, beta = beta, beta / 2 if np.isinf(low) else (beta + low) / 2
        out.append(1 / sum(p[kind[near] == c].sum() ** 2 for c in (0, 1)))
    return np.mean(out)


def forest(x, kind, fit, test, seed=77, **settings):
    model = RandomForestClassifier(TREES, random_state=seed, **settings).fit(x[fit], kind[fit])
    return roc_auc_score(kind[test], model.predict_proba(x[test])[:, 1])


def inside(metric, value, slack=0.0):
    return metric["low"] - slack <= value <= metric["high"] + slack


@pytest.mark.slow
def test_groundgan_recomputed(two_sets, protocol):
    "Zinati et al. 2024, Table 1, and the program that came with it."
    found = protocol("groundgan", 4)
    x, y = (scaled(cells, 20_000) for cells in two_sets)
    a, b = x.mean(axis=0), y.mean(axis=0)
    assert found["euclid"]["value"] == pytest.approx(np.sqrt(((a - b) ** 2).sum()), rel=1e-3)
    assert found["cosine"]["value"] == pytest.approx(
        1 - (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()), rel=1e-3
    )

    rng, widths = np.random.default_rng(123), [1.0]
    for _ in range(19):
        drawn = y[rng.integers(len(y), size=len(y))]
        widths.append(np.median(np.sort(pairwise_distances(drawn), axis=1)[:, 1:25]))
    width = np.median(widths)

    def kernel(p, q):
        return 3 * gaussians(p, q, [s**2 for s in (width / 2, width, 2 * width)])

    value = kernel(x, x).mean() + kernel(y, y).mean() - 2 * kernel(x, y).mean()
    assert inside(found["mmd"], value) and found["mmd"]["high"] - found["mmd"]["low"] < 0.2 * value

    both, kind = np.vstack([y, x]), np.repeat([0, 1], len(x))
    areas = []
    for seed in range(3):
        fit, test = train_test_split(np.arange(300), test_size=0.3, random_state=100 + seed)
        pca = PCA(50, svd_solver="full").fit(both[fit])
        areas.append(forest(pca.transform(both), kind, fit, test))
    assert inside(found["rf_auroc"], np.mean(areas))
    mixed = []
    for seed in range(
        3
    ):  # a map hangs on the order of the cells, by rounding, more than on its seed
        order = np.random.default_rng(200 + seed).permutation(300)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mixed.append(
                simpson(TSNE(random_state=99 + seed).fit_transform(both[order]), kind[order])
            )
    assert inside(found["milisi"], np.mean(mixed), 0.01)


def test_activa_recomputed(two_sets, protocol):
    "Heydari et al. 2022, where it is known; joint components and our kernels where it is not."
    found, (x, y) = protocol("activa", 3), logged(two_sets)
    p, q = joint_components(x, y, 50)
    d = np.sqrt(squared(q, q))
    width = np.median(np.sort(d, axis=1)[:, 1:26])

    def kernel(s, t):
        return gaussians(s, t, [(f * width) ** 2 for f in (0.5, 1, 2)])

    others = ~np.eye(150, dtype=bool)
    assert found["mmd"]["value"] == pytest.approx(
        kernel(p, p)[others].mean() + kernel(q, q)[others].mean() - 2 * kernel(p, q).mean(),
        rel=1e-3,
    )

    labels = two_sets[1].obs["cluster"].astype(str).to_numpy()
    chosen = set()
    for label in [x for x in np.unique(labels) if (labels == x).sum() >= 3]:
        chosen |= set(
            np.argsort(
                -ranksums(y[labels == label], y[labels != label], axis=0).statistic, kind="stable"
            )[:5].tolist()
        )
    chosen = sorted(chosen)
    correlations = [np.nan_to_num(np.corrcoef(s[:, chosen].T)) for s in (x, y)]
    assert found["correlation_discrepancy"]["value"] == pytest.approx(
        np.abs(correlations[0] - correlations[1]).sum(axis=0).max(), rel=1e-3
    )

    z, kind = np.vstack([q, p]), np.repeat([0, 1], 150)
    folds = StratifiedKFold(5, shuffle=True, random_state=5).split(z, kind)
    area = np.mean([forest(z, kind, fit, test) for fit, test in folds])
    assert inside(found["rf_auroc"], area, 0.02)


def test_scdiffusion_recomputed(two_sets, protocol):
    "Luo et al. 2024, and the notebooks that came with the program."
    found, (x, y) = protocol("scdiffusion"), logged(two_sets)
    a, b = x.mean(axis=0), y.mean(axis=0)
    assert found["pearson"]["value"] == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-3)
    assert found["spearman"]["value"] == pytest.approx(
        np.corrcoef(rankdata(a), rankdata(b))[0, 1], abs=1e-3
    )

    p, q = joint_components(x, y, 50)
    z, n = np.vstack([p, q]), 300
    base = squared(z, z).sum() / (n * n - n)

    def kernel(s, t):
        return gaussians(s, t, [base * 2.0 ** (i - 2) for i in range(5)])

    assert found["mmd"]["value"] == pytest.approx(
        (kernel(p, p) + kernel(q, q) - kernel(p, q) - kernel(q, p)).mean(), rel=1e-3
    )

    kind = np.repeat([1, 0], 150)
    assert found["ilisi"]["value"] == pytest.approx(simpson(z[:, :20], kind) - 1, abs=2e-3)
    areas = []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(n)
        fit, test = train_test_split(order, test_size=0.25, random_state=1)
        areas.append(forest(z, kind, fit, test, max_depth=5, class_weight="balanced"))
    assert inside(found["rf_auroc"], np.mean(areas))

    labels = [cells.obs["cluster"].astype(str).to_numpy() for cells in two_sets]
    areas, rng = [], np.random.default_rng(8)
    for label in np.intersect1d(*labels):
        rows = [rng.permutation(np.flatnonzero(x == label)) for x in labels]
        m = min(map(len, rows))
        if m < 10:
            continue
        near, kinds = np.vstack([y[rows[1][:m]], x[rows[0][:m]]]), np.repeat([0, 1], m)
        fit, test = train_test_split(np.arange(2 * m), test_size=0.3, random_state=1)
        areas.append(
            roc_auc_score(
                kinds[test],
                KNeighborsClassifier(5).fit(near[fit], kinds[fit]).predict_proba(near[test])[:, 1],
            )
        )
    assert len(areas) >= 3 and inside(found["knn_auroc"], np.mean(areas))

    pca = PCA(50, svd_solver="full").fit(y)
    scale = StandardScaler().fit(pca.transform(y))
    model = LogisticRegression(C=0.1, max_iter=2000, class_weight="balanced").fit(
        scale.transform(pca.transform(y)), labels[1]
    )
    assert found["label_share"]["value"] == pytest.approx(
        (model.predict(scale.transform(pca.transform(x))) == labels[0]).mean(), abs=0.01
    )


def test_cfgen_recomputed(two_sets, protocol):
    "Optimal transport as a linear programme, kernels written out, label by label."
    from scipy.optimize import linprog
    from scipy.sparse import hstack, identity, kron

    found, (x, y) = protocol("cfgen", 1), logged(two_sets)
    pca = PCA(30, svd_solver="full").fit(y)
    points = [pca.transform(part) for part in (x, y)]
    labels = [cells.obs["cluster"].astype(str).to_numpy() for cells in two_sets]
    rows = []
    for label in np.unique(labels[1]):
        p, q = (z[np.flatnonzero(own == label)] for z, own in zip(points, labels, strict=True))
        m = min(len(p), len(q))
        if m < 2:
            continue
        p, q = p[:m], q[:m]
        d2 = squared(q, p)
        marginals = hstack([kron(identity(m), np.ones((m, 1))), kron(np.ones((m, 1)), identity(m))])
        plans = [
            linprog(cost.ravel(), A_eq=marginals.T, b_eq=np.full(2 * m, 1 / m)).fun
            for cost in (np.sqrt(np.maximum(d2, 0)), d2)
        ]

        def kernel(a, b):
            return sum(np.exp(-squared(a, b) / (2 * s**2)) for s in (0.01, 0.1, 1, 10, 100)).mean()

        gap = q - p
        rows.append(
            {
                "w1": plans[0],
                "w2": np.sqrt(plans[1]),
                "mmd_linear": np.mean([gap[i] @ gap[i + 1] for i in range(m - 1)]),
                "mmd_rbf": kernel(p, p) + kernel(q, q) - 2 * kernel(p, q),
            }
        )
    assert len(rows) >= 3
    for name, summary in found.items():
        mean = np.mean([row[name] for row in rows])
        assert summary["value"] == pytest.approx(mean, rel=1e-3, abs=1e-3), name


def test_scdeepsim_recomputed(two_sets, protocol):
    found, (x, y) = protocol("scdeepsim", 3), logged(two_sets)
    moments = [(part.mean(axis=0), part.var(axis=0)) for part in (x, y)]
    for i, name in enumerate(("mean_correlation", "variance_correlation")):
        r = np.corrcoef(moments[0][i], moments[1][i])[0, 1]
        assert found[name]["value"] == pytest.approx(r, abs=1e-3)
    kind, areas = np.repeat([1, 0], 150), []
    for seed in (42, 43, 44):
        fit, test = train_test_split(np.arange(300), test_size=0.2, random_state=seed)
        areas.append(forest(np.vstack([x, y]), kind, fit, test))
    assert inside(found["rf_auroc"], np.mean(areas))


def test_three_neighbours_recomputed(two_sets, protocol):
    found, (x, y) = protocol("three_neighbours", 1), logged(two_sets)
    pca = PCA(50, svd_solver="full").fit(y)
    z, kind = np.vstack([pca.transform(y), pca.transform(x)]), np.repeat([0, 1], 150)
    distance = squared(z, z)
    np.fill_diagonal(distance, np.inf)
    right = (kind[np.argsort(distance, axis=1)[:, :3]].sum(axis=1) >= 2) == kind
    assert found["accuracy"]["value"] == pytest.approx(right.mean(), abs=1e-3)
    assert found["accuracy_real"]["value"] == pytest.approx(right[:150].mean(), abs=1e-3)
    assert found["accuracy_generated"]["value"] == pytest.approx(right[150:].mean(), abs=1e-3)


def test_standardised_variances_recomputed(pbmc):
    "A parabola for each gene by itself, and counts cut one by one."
    from scgan_nb.evaluation.protocols.common import standardised_variances

    counts = pbmc.X[:400].toarray().astype(float)
    counts = counts[:, (counts > 0).sum(axis=0) > 4][:, :500]
    mean, variance = counts.mean(axis=0), counts.var(axis=0, ddof=1)
    a, b = np.log10(mean), np.log10(variance)
    near, expected = int(0.3 * len(a)), []
    for gene in a:
        distance = np.abs(a - gene)
        reach = np.sort(distance)[near - 1]
        weight = np.clip(1 - (distance / reach) ** 3, 0, None) ** 3
        parabola = np.polyfit(a, b, 2, w=np.sqrt(weight))
        expected.append(10 ** np.polyval(parabola, gene))
    deviation = np.sqrt(expected)
    cut = np.minimum(counts, deviation * np.sqrt(len(counts)) + mean)
    scores = ((cut - mean) ** 2).sum(axis=0) / ((len(counts) - 1) * deviation**2)
    found = standardised_variances(counts)
    assert np.corrcoef(found, scores)[0, 1] > 0.999
    assert np.abs(found / scores - 1).max() < 0.05


@pytest.fixture(scope="module")
def three_sets(pbmc):
    "120 generated, held-out and training cells, of more genes than GRouNdGAN's rules look at."
    from scgan_nb.evaluation.baselines import gaussian_copula

    assert pbmc.n_vars > 1200
    return (
        gaussian_copula(pbmc[:900], 120, seed=0, components=20),
        pbmc[900:1020].copy(),
        pbmc[1020:1140].copy(),
    )


def variable(cells, most):
    """Columns of largest dispersion relative to genes of similar mean; dense counts.

    The dispersion is variance by mean, as in Zheng et al. 2017.
    """
    x = scaled(cells, np.median(np.asarray(cells.X.sum(axis=1))))
    mean, dispersion = x.mean(axis=0), x.var(axis=0, ddof=1) / x.mean(axis=0)
    edges = np.percentile(mean, np.arange(10, 105, 5))
    part, away = np.array([(edges < m).sum() for m in mean]), np.empty(len(mean))
    for p in np.unique(part):
        from_middle = dispersion[part == p] - np.median(dispersion[part == p])
        away[part == p] = from_middle / np.median(np.abs(from_middle))
    return np.sort(np.argsort(-away)[:most])


def test_groundgan_chooses_genes(three_sets):
    "Its 1,000 genes are chosen on the training cells, and counts scaled again over these."
    from scgan_nb.evaluation.protocols.runner import run_protocol

    generated, holdout, train = three_sets
    seen = np.asarray(train.X.sum(axis=0)).ravel() > 0
    generated, holdout, train = (cells[:, seen] for cells in (generated, holdout, train))
    found = run_protocol("groundgan", holdout, generated, train, repeats=1, trees=10)
    genes = variable(train, 1000)
    a, b = (scaled(cells[:, genes], 20_000).mean(axis=0) for cells in (generated, holdout))
    assert found["about"]["genes"] == 1000 < train.n_vars and not any(
        "genes, since" in d for d in found["differs"]
    )
    assert found["metrics"]["euclid"]["value"] == pytest.approx(
        np.sqrt(((a - b) ** 2).sum()), rel=1e-3
    )
    assert found["metrics"]["cosine"]["value"] == pytest.approx(
        1 - (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()), rel=1e-3
    )
    everything = [scaled(cells, 20_000).mean(axis=0) for cells in (generated, holdout)]
    assert (
        abs(
            np.sqrt(((everything[0] - everything[1]) ** 2).sum())
            / found["metrics"]["euclid"]["value"]
            - 1
        )
        > 0.01
    )  # the choice matters


def test_training_cells_are_the_control(three_sets):
    """As many training cells as held-out ones, so that nothing about their numbers is random."""
    from scgan_nb.evaluation.protocols.runner import run_protocol

    _, holdout, train = three_sets
    x, y = logged((train, holdout))
    p, q = joint_components(x, y, 50)
    z, n = np.vstack([p, q]), 240
    base = squared(z, z).sum() / (n * n - n)

    def kernel(s, t):
        return gaussians(s, t, [base * 2.0 ** (i - 2) for i in range(5)])

    found = run_protocol("scdiffusion", *real_first(three_sets), repeats=2, trees=10)["metrics"]
    assert found["mmd"]["control"] == pytest.approx(
        kernel(p, p).mean() + kernel(q, q).mean() - 2 * kernel(p, q).mean(), rel=1e-3
    )
    assert found["ilisi"]["control"] == pytest.approx(
        simpson(z[:, :20], np.repeat([1, 0], 120)) - 1, abs=2e-3
    )
    assert found["pearson"]["control"] == pytest.approx(
        np.corrcoef(x.mean(axis=0), y.mean(axis=0))[0, 1], abs=1e-3
    )
    assert all(
        found[m]["low"] == found[m]["value"] == found[m]["high"]
        for m in ("spearman", "pearson", "mmd", "ilisi", "label_share")
    )
    assert found["rf_auroc"]["low"] < found["rf_auroc"]["value"] < found["rf_auroc"]["high"]


def test_activa_makes_one_cross_validation(three_sets):
    """As published, if all cells take part; if cells are drawn, as many as were asked for."""
    from scgan_nb.evaluation.protocols.runner import run_protocol

    generated, holdout, train = three_sets
    one, drawn = (
        run_protocol("activa", holdout, generated[:100], train, repeats=3, n=n, trees=TREES)
        if n
        else run_protocol("activa", *real_first(three_sets), repeats=3, trees=TREES)
        for n in (None, 60)
    )
    area = one["metrics"]["rf_auroc"]
    assert one["about"]["repeats"] == 1 and any(
        "One cross-validation, for all cells take part" in d for d in one["differs"]
    )
    assert (
        area["high"] - area["value"]
        == pytest.approx(student.ppf(0.975, 4) * area["spread"] * np.sqrt(1 + 1 / 5))
        and area["control"] is not None
    )
    assert (
        drawn["about"]["repeats"] == 3
        and drawn["about"]["n"] == 60
        and any("60 of 100 cells" in d for d in drawn["differs"])
    )
    assert (
        drawn["metrics"]["mmd"]["low"]
        < drawn["metrics"]["mmd"]["value"]
        < drawn["metrics"]["mmd"]["high"]
        and drawn["metrics"]["rf_auroc"]["spread"] > 0
    )
    # the spread is that of five folds: seeds and signs of components are others here
    x, y = logged((generated, holdout))
    z, kind = np.vstack(joint_components(x, y, 50)[::-1]), np.repeat([0, 1], 120)
    spreads = [
        np.std(
            [
                forest(z, kind, *rows)
                for rows in StratifiedKFold(5, shuffle=True, random_state=s).split(z, kind)
            ],
            ddof=1,
        )
        for s in range(12)
    ]
    # a spread of five numbers has a standard error of a third; it is compared with twelve others
    assert 0.8 * min(spreads) < area["spread"] < 1.25 * max(spreads)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_processes_do_not_change_bytes(name, three_sets):
    """Forests of 300 trees and 240 cells, in one and two processes; and aligned cells."""
    from scgan_nb.evaluation.alignment import align
    from scgan_nb.evaluation.protocols.runner import run_protocol

    options = dict(repeats=3, trees=300, seed=1)
    alone, together = (
        run_protocol(name, *real_first(three_sets), n_jobs=1, **options),
        run_protocol(name, align(*real_first(three_sets)), n_jobs=2, **options),
    )
    assert json.dumps(alone) == json.dumps(together)


@pytest.mark.parametrize("name", NAMES)
def test_names_do_not_change_numbers(name, shared):
    "Mouse cortex without gene names, and with made-up ones."
    from scgan_nb.evaluation.protocols.runner import run_protocol

    path = shared / "data" / "zeisel_cortex_4000_raw.h5ad"
    if not path.exists():
        pytest.skip("no mouse cortex beside this checkout")
    cells = ad.read_h5ad(path)
    rng = np.random.default_rng(0)
    cells = cells[
        rng.permutation(cells.n_obs)[:210], np.sort(rng.permutation(cells.n_vars)[:1200])
    ].copy()
    numbers = []
    for names in ([f"gene_{i}" for i in range(1200)], [str(i) for i in range(1200)]):
        part = cells.copy()
        part.var_names = names
        numbers.append(
            run_protocol(
                name,
                part[60:120],
                part[:60],
                part[120:],
                labels_key="cell_type",
                repeats=2,
                trees=20,
            )
        )
    assert json.dumps(numbers[0]) == json.dumps(numbers[1]) and len(numbers[0]["metrics"]) >= 3
    assert (
        numbers[0]["about"]["genes"] == (1000 if name == "groundgan" else 1200)
        and 0.3 < numbers[0]["metrics"]["rf_auroc"]["value"] < 0.7
    )


@pytest.fixture(scope="module")
def kinds_of_cells():
    """Training and held-out cells, and three kinds: real, a copula, independent genes."""
    from scgan_nb.data.examples import pbmc_example
    from scgan_nb.evaluation.baselines import gaussian_copula, independent_nb

    cells = pbmc_example(2_700, None)
    cells = cells[:, np.asarray((cells.X > 0).mean(axis=0)).ravel() > 0.05].copy()
    cells.obs["cluster"] = cells.obs["cell_type"]
    train, holdout, fresh = (cells[i:j].copy() for i, j in ((0, 1500), (1500, 2000), (2000, 2500)))
    kinds = {
        "real": fresh,
        "copula": gaussian_copula(train, 300, seed=0),
        "independent": independent_nb(train, 300, labels_key=None, seed=0),
    }
    return train, holdout, kinds


@pytest.fixture(scope="module")
def three_kinds(kinds_of_cells):
    """Protocol, kind -> result."""
    from scgan_nb.evaluation.protocols.runner import run_protocol

    train, holdout, kinds = kinds_of_cells
    quick = {"repeats": 2, "n": 120, "trees": TREES, "seed": 0}
    return {
        (name, kind): run_protocol(name, holdout, cells, train, **quick)
        for name in NAMES
        for kind, cells in kinds.items()
    }


def value_of(found, metric):
    return found["metrics"][metric]["value"]


@pytest.mark.thorough
def test_groundgan_tells_real_from_independent(three_kinds):
    real, independent = (three_kinds["groundgan", kind] for kind in ("real", "independent"))
    for metric in ("cosine", "euclid", "mmd"):
        assert value_of(real, metric) < 2 * real["metrics"][metric]["control"]
    # 36 + 36 test cells, mean of two: standard error 0.05 of 0.5 and 0.025 of 0.93
    assert value_of(independent, "rf_auroc") > 0.85 > 0.65 > value_of(real, "rf_auroc")
    assert value_of(independent, "milisi") < value_of(real, "milisi") - 0.1
    assert real["about"]["genes"] == 1000


@pytest.mark.thorough
def test_activa_tells_real_from_independent(three_kinds):
    real, independent = (three_kinds["activa", kind] for kind in ("real", "independent"))
    assert value_of(independent, "rf_auroc") > 0.9 > 0.65 > value_of(real, "rf_auroc")
    discrepancy = "correlation_discrepancy"
    assert value_of(independent, discrepancy) > 2 * value_of(real, discrepancy)
    assert abs(value_of(real, "mmd")) < 0.02 < value_of(independent, "mmd")


@pytest.mark.thorough
def test_scdiffusion_tells_real_from_independent(three_kinds):
    """Its correlations of means do not."""
    real, independent = (three_kinds["scdiffusion", kind] for kind in ("real", "independent"))
    control = {name: m["control"] for name, m in real["metrics"].items()}
    assert abs(value_of(real, "spearman") - control["spearman"]) < 0.03
    assert abs(value_of(independent, "pearson") - control["pearson"]) < 0.01
    assert value_of(independent, "rf_auroc") > 0.9 and value_of(real, "rf_auroc") < 0.7
    assert value_of(real, "ilisi") > value_of(independent, "ilisi") + 0.2
    assert value_of(real, "label_share") > 0.85
    assert "label_share" not in independent["metrics"]


@pytest.mark.thorough
def test_published_metrics_are_computed(three_kinds):
    from scgan_nb.evaluation.protocols.published import PUBLISHED

    published = {row["metric"] for name in NAMES for row in PUBLISHED[name]}
    assert published - {"mmd"} <= {m for run in three_kinds.values() for m in run["metrics"]}
    differs = three_kinds["groundgan", "copula"]["differs"]
    assert any("120 cells a set" in text for text in differs)
    assert any("40 trees" in text for text in differs)
