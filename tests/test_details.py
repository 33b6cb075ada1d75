"""Facts of single functions that no chapter asserts."""

import functools
import hashlib
import http.server
import tarfile
import threading

import numpy as np
import pytest
import scipy.sparse as sp

from scgan_nb.data.examples import error_message, pbmc_example, split_example

# --- data


def test_an_archive_is_read_once_from_its_server(tmp_path):
    from scgan_nb.data.datasets import read_dataset
    from scgan_nb.data.downloads import Source
    from scgan_nb.data.example_files import assert_same_counts, write_tenx_folder

    cells, served = pbmc_example(50, 100), []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            served.append(self.path)

    write_tenx_folder(tmp_path / "mex" / "hg19", cells, "genes", compressed=False)
    (tmp_path / "site").mkdir()
    archive = tmp_path / "site" / "corner.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "mex", "filtered_matrices_mex")
    where = functools.partial(Handler, directory=tmp_path / "site")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), where)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    checksum = "sha256:" + hashlib.sha256(archive.read_bytes()).hexdigest()
    offer = Source(f"http://127.0.0.1:{server.server_port}/corner.tar.gz", checksum)
    for _ in range(2):
        found = read_dataset(offer, tmp_path / "cache")
        assert_same_counts(found, cells)
        assert "gene_ids" in found.var
    server.shutdown()
    server.server_close()
    assert len(served) == 1
    assert sorted(p.suffix for p in (tmp_path / "cache").iterdir()) == [".gz", ".h5ad"]


def test_reasons_for_an_orientation():
    from scgan_nb.data.text_orientation import genes_first

    first, reason = genes_first(["ACTB", "CD3E"], ["cell_1", "cell_2"])
    assert first and "names of genes (ACTB)" in reason


def test_an_order_depends_on_its_seed_only():
    from scgan_nb.data.splitting import random_order

    assert (random_order(10) == random_order(10)).all()


def test_settings_by_name_reach_their_block():
    from scgan_nb.core.presets import experiment_of
    from scgan_nb.workflow.run_parameters import RunParameters, checked_value
    from scgan_nb.workflow.run_parameters import experiment_from_parameters as experiment_of_run

    experiment = experiment_of(raw_input="-", type="cscGAN", alpha_0=2e-4, res=0.3)
    assert experiment.training.learning_rate.alpha_0 == 2e-4
    assert experiment.input_ds.clustering.res == 0.3

    values = {"raw_input": "pbmc3k", "model": "scGAN", "preset": "minutes", "genes": 500}
    values |= {"seed": 3, "alpha_0": 1e-3, "labels_key": None, "settings": {"lambd": 5}}
    experiment = experiment_of_run(RunParameters(values, frozenset({"alpha_0"})))
    assert experiment.model.type == "scGAN" and experiment.model.lambd == 5
    assert experiment.input_ds.labels_key == "cell_type"
    assert experiment.input_ds.highly_variable_genes == 500
    assert experiment.training.seed == experiment.input_ds.split.seed == 3
    assert experiment.training.learning_rate.alpha_0 == 1e-3
    assert checked_value("cells_no", {"B": 5}, 1000) == {"B": 5}


# --- networks, training, generation


def test_variables_have_the_names_of_the_original():
    from scgan_nb.models.networks import Critic, Generator

    assert list(Critic(genes=9, layers=[4], clusters=2).variables_by_name()) == [
        "critic/layers_1/fully_connected/biases",
        "critic/layers_1/fully_connected/weights",
        "critic/layers_proj/proj_bias_m",
        "critic/layers_proj/proj_weights_m",
    ]
    generator = Generator(genes=9, latent_dim=4, layers=[4], clusters=3)
    assert "3 clusters" in error_message(generator, np.zeros((2, 4), "float32"))


def test_checkpoints_are_listed_by_step(tmp_path):
    from scgan_nb.core.parameters import ModelParams
    from scgan_nb.models.networks import build
    from scgan_nb.models.training_step import WGAN
    from scgan_nb.training.checkpoints import checkpoints, restore, save_checkpoint
    from scgan_nb.workflow.model_files import read_model

    for step in (0, 100, 9, 10):
        save_checkpoint(tmp_path / f"model-{step}.safetensors", {}, step)
    names = [path.name for path in checkpoints(tmp_path)]
    assert names == [f"model-{step}.safetensors" for step in (0, 9, 10, 100)]
    (tmp_path / "empty").mkdir()
    assert "holds no checkpoint" in error_message(read_model, tmp_path / "empty")

    def new_gan(kind):
        model = ModelParams(type=kind, latent_dim=8, gen_layers=[16], critic_layers=[16])
        return WGAN(*build(model, 30, 4, 0))

    arrays = {name: v.numpy() for name, v in new_gan("cscGAN").state_by_name().items()}
    message = error_message(restore, new_gan("scGAN").state_by_name(), arrays)
    assert "BN_offset of shape [4, 16], this model has [16]" in message
    assert "genes, clusters or layers differ" in message


def test_summaries_have_the_tags_of_the_original(tmp_path):
    import tensorflow as tf
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from scgan_nb.core.parameters import ModelParams
    from scgan_nb.models.losses import draw
    from scgan_nb.models.networks import build
    from scgan_nb.models.training_step import WGAN
    from scgan_nb.training.summaries import write_summaries

    model = ModelParams(type="scGAN", latent_dim=8, gen_layers=[16], critic_layers=[16])
    gan, draws = WGAN(*build(model, 30, 0)), draw(0, "critic", 0, 32, 8)
    real = tf.constant(np.random.default_rng(0).poisson(2.0, (32, 30)), tf.float32)
    updates = gan.critic_update(real, None, draws, 1e-4), gan.generator_update(draws, 1e-4)
    writer = tf.summary.create_file_writer(str(tmp_path))
    write_summaries(writer, gan, updates, real, 1e-4, 6)
    writer.close()
    tags = set(EventAccumulator(str(tmp_path)).Reload().Tags()["tensors"])
    assert tags >= {"critic_loss", "gen_loss", "Penalty", "learning_rate"}
    assert tags >= {"Distance_fake", "Distance_real"}
    assert tags >= {"single_cell_fake/mean", "single_cell_real/histogram"}
    assert "critic/layers_1/fully_connected/weights/values" in tags
    assert "generator/generator_layers_1/fully_connected/weights/gradients" in tags


def test_a_metric_that_starts_late_has_gaps_before(tmp_path):
    """Scores go on after a stop, and a metric that was added later is NaN at the first ones."""
    from scgan_nb.core.parameters import ModelParams, TrainingParams
    from scgan_nb.data.batches import MemoryBatches
    from scgan_nb.models.networks import build
    from scgan_nb.models.training_step import WGAN
    from scgan_nb.training.trainer import Trainer

    model = ModelParams(type="scGAN", latent_dim=4, gen_layers=[8], critic_layers=[8])
    settings = {"batch_size": 8, "critic_iters": 1, "validation_freq": 2, "summary_freq": 0}
    x = sp.csr_matrix(np.random.default_rng(0).poisson(2.0, (40, 20)), dtype="float32")

    def score(trainer):
        return {"score": -abs(trainer.step - 4)}

    def new_trainer(on_validation, **changes):
        own = TrainingParams(**settings | {"max_steps": 12} | changes)
        batches = MemoryBatches(x, np.zeros(40, "int32"), batch_size=8)
        gan = WGAN(*build(model, 20, 0, 0))
        return Trainer(gan, batches, own, None, tmp_path / "job", [on_validation])

    new_trainer(score, early_stop=2).run(progress=False)
    again = new_trainer(lambda trainer: score(trainer) | {"recall": 0.5})
    again.resume(tmp_path / "job")
    again.run(progress=False)
    assert again.history["validation/score"] == [-2, 0, -2, -4, -6, -8]
    expected = [np.nan] * 4 + [0.5] * 2
    assert np.array_equal(again.history["validation/recall"], expected, equal_nan=True)


def test_counts_have_the_noise_of_rounding_only():
    """Genes expected above one molecule: their counts vary as much as rounding does."""
    from scgan_nb.generation.count_sampling import draw_counts

    cell = sp.random(1, 200, 0.5, "csr", random_state=0)
    cell.data = (40 * np.ceil(cell.data * 25) + 13.7).astype("float32")
    exact = cell.toarray()[0] * 5_000 / cell.sum()
    draws = [draw_counts(cell, np.array([5_000]), np.random.default_rng(i)) for i in range(400)]
    counts = np.array([draw.toarray()[0] for draw in draws])
    assert (exact[exact > 0] > 1).all() and np.abs(counts - exact).max() < 1
    # four standard errors of the mean of 400 roundings, and of their variance (0.01)
    assert np.abs(counts.mean(axis=0) - exact).max() < 4 * 0.5 / np.sqrt(400)
    assert np.allclose(counts.var(axis=0), (exact % 1) * (1 - exact % 1), atol=0.04)


def test_all_genes_of_a_profile_get_a_molecule():
    from scgan_nb.core.parameters import InputDs
    from scgan_nb.data.labels import plan_labels
    from scgan_nb.data.preprocessing import preprocess
    from scgan_nb.generation.count_sampling import draw_counts, draw_depths
    from scgan_nb.generation.sampling import (
        collect_training_metadata,
        label_names,
        sample_profiles,
        shares_of,
    )
    from scgan_nb.models.networks import Generator

    settings = InputDs(raw_input="pbmc3k", labels_key="cell_type", split={"valid_cells": 50})
    processed, _ = preprocess(pbmc_example(800, 200), settings)
    metadata = collect_training_metadata(processed)
    names, shares = label_names(metadata), shares_of(metadata)
    generator = Generator(genes=200, latent_dim=8, layers=[16, 32], clusters=len(names), seed=0)
    plan = plan_labels(600, names, shares)
    profiles = sp.vstack(list(sample_profiles(generator, plan, seed=1)))
    depths = draw_depths(metadata, plan)
    counts = draw_counts(profiles, depths, np.random.default_rng(0))
    assert np.array_equal(np.asarray(counts.sum(axis=1)).ravel(), depths)
    enough, genes = np.diff(profiles.indptr) <= depths, np.diff(counts.indptr)
    assert enough.mean() > 0.9
    assert np.array_equal(genes[enough], np.diff(profiles.indptr)[enough])
    assert counts.multiply(profiles > 0).sum() == counts.sum()


@pytest.mark.slow
def test_each_label_has_its_own_control():
    import scgan_nb as sg
    from scgan_nb.workflow.callbacks import Monitor

    model = sg.CscGAN(pbmc_example(600, 60), labels_key="cell_type", valid_cells=200)
    monitor = Monitor(model)
    model.train(4, on_validation=[monitor], validation_freq=2, progress=False)
    found, control = model.validation_history, monitor.positive_control
    labels = model.cells("valid").obs["cluster"].value_counts()
    probed = {f"recall/{label}" for label in labels.index[labels > 2]}
    assert probed <= set(found)
    for name in ["recall", *probed]:
        column = name.replace("recall", "recall_positive_control", 1)
        assert 0 <= control[name] <= 1 and (found[column] == control[name]).all()


# --- evaluation


def test_small_cases_of_the_protocols():
    from scgan_nb.evaluation.protocols.activa import correlation_discrepancy
    from scgan_nb.evaluation.protocols.common import biased_mmd, summarise_rounds

    same = summarise_rounds([0.1, 0.1, 0.1], [])
    assert same == {"value": 0.1, "low": 0.1, "high": 0.1, "control": None}
    assert biased_mmd(np.eye(3), np.eye(3), [1.0, 2.0], 3) == 0
    x = np.array([[0.0, 0], [1, 1], [2, 2]])
    assert correlation_discrepancy(x, x) == 0


# --- reports


def test_every_metric_has_words():
    from scgan_nb.evaluation.metric_table import METRICS
    from scgan_nb.evaluation.results import Metric
    from scgan_nb.reporting.words import WORDS, direction, sample_and_space

    assert set(WORDS) == set(METRICS)
    assert [direction(Metric("x", good=good)) for good in ("lower", 0.5)] == ["lower", "0.5"]
    metric = Metric("x", n=1000, space="log1p")
    assert sample_and_space(metric) == "1,000 cells a side; log expression"


def test_entries_of_labels():
    from scgan_nb.evaluation.results import Metric
    from scgan_nb.reporting.report import Report

    tstr = Metric("tstr", 0.9, 0.95, 0.1, good="higher", n=100, space="PCs")
    tstr.by_label = {"B": {"value": 0.8, "positive_control": 0.9, "n": 20}}
    tstr.details = {"too_small": ["rare"]}
    report = Report({"tstr": tstr})
    expected = {"value": 0.8, "positive_control": 0.9, "negative_control": None, "low": None}
    expected |= {"high": None, "n": 20, "space": "PCs", "seed": 0, "good": "higher"}
    assert report.labels()["B"]["tstr"] == expected
    assert report.to_dict()["too_small"] == {"tstr": ["rare"]}


def test_notes_on_what_was_opened():
    from scgan_nb.reporting.inputs import label_columns, open_cells

    cells = pbmc_example(700, 300)
    note = open_cells(cells, most=500, what="generated cells").notes
    assert len(note) == 1 and "700 generated cells 500" in note[0] and "seed 0" in note[0]
    logs = cells[:50].copy()
    logs.layers["counts"] = logs.X.copy()
    logs.X = logs.X.log1p()
    assert "layer counts" in open_cells(logs).notes[0]
    both = {"labels_key": "cell_type", "real_labels_key": "cell_type"}
    assert label_columns(cells, cells) == both


def test_names_and_genes_of_compared_generators():
    from scgan_nb.reporting.compare import compare, names_of

    assert names_of(["a/x.h5ad", "b/y.h5ad"]) == ["x", "y"]
    assert names_of(["a/cells.h5ad", "b/cells.h5ad"]) == ["a/cells", "b/cells"]
    holdout, cells = split_example(60, 60)
    pair = {"a": cells, "b": cells[:, :1].copy()}
    assert "fewer than two genes in common" in error_message(compare, holdout, pair)


def test_compared_metrics_have_a_table_of_labels():
    from scgan_nb.reporting.compare import compare

    holdout, *parts = split_example(300, 120, 120)
    only = ["mmd", "correlation", "coverage", "label_agreement", "genes_per_cell"]
    quick = {"n": 60, "repeats": 2, "fast": True, "pictures": False, "progress": False}
    page = compare(holdout, dict(zip("ab", parts, strict=True)), only=only, **quick).html()
    assert page.count("label by label") == 2
    assert "Coverage, label by label" in page and "Label agreement, label by label" in page


# --- papers, benchmarks


def test_intervals_and_signatures_of_figures():
    from scgan_nb.workflow.figures import mean_interval, show_interval
    from scgan_nb.workflow.papers import heading, signature_of

    expected = (2, 2 - 2.484, 2 + 2.484)
    assert np.allclose(mean_interval([1.0, 2.0, 3.0]), expected, atol=1e-3)
    assert show_interval(0.8123, 0.78, 0.84) == "0.812 (0.78 to 0.84)"
    text = "# Figure 9\n\n> Cells are\n> round.\n\nPublished: a radius of 1."
    notebook = {"cells": [{"cell_type": "markdown", "source": text}]}
    claim = {"title": "Figure 9", "claim": "Cells are round.", "published": "a radius of 1."}
    assert heading(notebook) == claim
    assert "= 'demo'" in signature_of("workflow.figures.Figure")


def test_measuring_in_turns():
    from scgan_nb.benchmarks.measuring import simulated_cells, time_in_turns

    measured = time_in_turns({"short": lambda: None, "other": lambda: None}, 3)
    assert [len(times["all"]) for times in measured.values()] == [3, 3]
    for shape in ((500, 20_000), (300, 1_000)):
        assert simulated_cells(*shape).shape == shape


def test_classifiers_of_counts_need_counts_on_both_sides():
    """Normalised cells with a layer of counts, and without it."""
    from scgan_nb.data.examples import split_example
    from scgan_nb.evaluation.evaluate import compute_metrics

    holdout, generated = split_example(120, 60, genes=100)
    depths = np.asarray(holdout.X.sum(axis=1)).ravel()
    for cells in (holdout, generated):
        cells.layers["counts"] = cells.X.copy()
        x = cells.X.toarray()
        cells.X = 1e4 * x / x.sum(axis=1, keepdims=True)
    generated.layers["counts"] = 2 * generated.layers["counts"]
    generated = generated[:, ::-1].copy()  # counts follow the genes
    names = ["rf_auroc_genes", "rf_auroc_counts", "library_size"]
    options = {"labels_key": "cell_type", "only": names, "repeats": 2, "trees": 20}
    found = compute_metrics(holdout, generated, **options)
    assert found["rf_auroc_counts"].value > 0.9 > 0.7 > found["rf_auroc_genes"].value
    assert [found[k].details.get("measured_on") for k in names[:2]] == ["profiles", "counts"]
    del holdout.layers["counts"]
    without = compute_metrics(holdout, generated, **options)
    assert "integer counts" in without["rf_auroc_counts"].note
    assert without["rf_auroc_genes"].value == found["rf_auroc_genes"].value
    holdout.obs["n_counts"] = depths  # from which the counts can be made
    again = compute_metrics(holdout, generated, **options)
    for name in names:
        assert again[name].to_dict() == found[name].to_dict()
    generated.obs["n_counts"] = np.asarray(generated.layers["counts"].sum(axis=1)).ravel()
    del generated.layers["counts"]
    again = compute_metrics(holdout, generated, **options)
    assert again["rf_auroc_counts"].value == found["rf_auroc_counts"].value


def test_processed_cells_are_judged_on_counts():
    """Held-out cells of a model are scaled; their counts come from `n_counts`, exactly."""
    from scgan_nb.data.preprocessing import InputDs, preprocess
    from scgan_nb.evaluation.detection import integer_counts
    from scgan_nb.evaluation.evaluate import compute_metrics
    from scgan_nb.evaluation.spaces import as_cells

    raw = pbmc_example(300, 200)
    settings = InputDs(raw_input="pbmc", labels_key="cell_type", split={"valid_cells": 100})
    cells, _ = preprocess(raw, settings)
    same = raw[cells.obs_names, cells.var_names]
    assert abs(integer_counts(cells, as_cells(cells)) - same.X).max() == 0
    some = cells[:, ::3].copy()  # genes left out after scaling, in another order
    some = some[:, ::-1].copy()
    assert abs(integer_counts(some, as_cells(some)) - same[:, some.var_names].X).max() == 0
    valid = cells[(cells.obs["split"] == "valid").to_numpy()].copy()
    train = same[(cells.obs["split"] == "train").to_numpy()]
    names = ["strongest_auroc", "rf_auroc_counts", "hgb_auroc_counts", "library_size"]
    options = {"only": names, "repeats": 2, "trees": 10, "n_jobs": 1, "labels_key": None}
    found = compute_metrics(valid, train, **options)
    assert all(found[name].value is not None for name in names)
    assert found["strongest_auroc"].details["measured_on"] == "counts and profiles"


def test_the_strongest_classifier_is_chosen_among_counts_and_profiles():
    """Doubled counts have real profiles; the positive control makes the same choice."""
    from scgan_nb.data.examples import split_example
    from scgan_nb.evaluation.detectors import DETECTORS, PROFILE_DETECTORS
    from scgan_nb.evaluation.evaluate import compute_metrics
    from scgan_nb.reporting.report_page import _strongest_sentence

    holdout, generated = split_example(240, 120, genes=150)
    generated.X = 2 * generated.X
    names = ["strongest_auroc", *DETECTORS]
    options = {"labels_key": "cell_type", "only": names, "repeats": 3, "trees": 20, "n_jobs": 1}
    found = compute_metrics(holdout, generated, **options)
    strongest = found["strongest_auroc"]
    alone = strongest.details["alone"]
    assert strongest.value == alone["counts"]["value"] > 0.9 > 0.65 > alone["profiles"]["value"]
    assert strongest.details["classifier"] in ("rf_auroc_counts", "hgb_auroc_counts")
    means = [found[name].positive_control for name in DETECTORS]
    assert strongest.positive_control >= max(means)
    controls = [part["positive_control"] for part in alone.values()]
    assert strongest.positive_control >= max(controls) and max(controls) >= max(means)
    assert strongest.details["measured_on"] == "counts and profiles"
    sentence = _strongest_sentence(strongest)
    assert "of counts and profiles" in sentence and "on counts" in sentence
    depths = np.asarray(generated.X.sum(axis=1)).ravel()
    constant = generated.copy()  # as a library-size layer leaves them
    constant.X = constant.X.multiply(20_000 / depths[:, None]).tocsr()
    constant.layers["counts"] = constant.X.copy()
    constant.layers["counts"].data = np.rint(constant.X.data)
    profiles = compute_metrics(holdout, constant, **options)["strongest_auroc"].details
    assert set(profiles["areas"]) == set(PROFILE_DETECTORS) and "counts" not in profiles["alone"]
    assert profiles["measured_on"] == "profiles"


def test_files_of_one_name_are_trainings(tmp_path, monkeypatch):
    from scgan_nb.reporting.compare import named_files, runs_of

    monkeypatch.chdir(tmp_path)
    files = named_files(["gan=a/cells.h5ad", "gan=b/cells.h5ad", "c/cells.h5ad"])
    assert files == {"gan": ["a/cells.h5ad", "b/cells.h5ad"], "c/cells": "c/cells.h5ad"}
    assert runs_of(files) == {"gan": ["gan, training 1", "gan, training 2"]}
    (tmp_path / "k=3.h5ad").touch()  # a file may have an equals sign in its name
    assert named_files(["k=3.h5ad", "x.h5ad"]) == {"k=3": "k=3.h5ad", "x": "x.h5ad"}
    with pytest.raises(ValueError, match="twice"):
        named_files(["gan=a.h5ad", "gan=a.h5ad"])
