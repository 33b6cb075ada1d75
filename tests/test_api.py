"""The public face of the package, and the two model classes against the run notebooks."""

import ast
import inspect
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import scgan_nb as sg
from scgan_nb.core.presets import DEFAULT_PRESET, PRESETS, validation_cells
from scgan_nb.data.examples import error_message, pbmc_example
from scgan_nb.workflow.run_parameters import RunParameters, experiment_from_parameters

PACKAGE = Path(sg.__file__).parent
VECTORS = Path(__file__).parent / "vectors"
PUBLIC = {
    "read",
    "convert",
    "datasets",
    "ScGAN",
    "CscGAN",
    "load",
    "PRESETS",
    "evaluate",
    "compare",
    "pl",
    "__version__",
}
SMALL = {"latent_dim": 8, "gen_layers": [16], "critic_layers": [16], "batch_size": 32}


def fresh_python(code: str) -> str:
    """What `code` prints in a new process."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def same_weights(one, other) -> bool:
    other = other.gan.weights_by_name()
    return all(np.array_equal(v, other[name]) for name, v in one.gan.weights_by_name().items())


@pytest.fixture(scope="module")
def counts():
    return pbmc_example(300, 60)


@pytest.fixture(scope="module")
def trained(counts):
    model = sg.CscGAN(counts, labels_key="cell_type", **SMALL)
    return model.train(12, progress=False)


# --- public names


def test_public_names():
    assert set(dir(sg)) == PUBLIC == set(sg.__all__)
    for name in PUBLIC - {"__version__", "PRESETS"}:
        assert inspect.getdoc(getattr(sg, name)), f"{name} has no docstring"


def test_stub_has_the_public_names():
    """Type checkers read `__init__.pyi`; every name in it exists at its place."""
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text())
    found = {"__version__"}
    for node in ast.walk(stub):
        for alias in node.names if isinstance(node, ast.ImportFrom) else ():
            found.add(alias.asname)
            value = getattr(sg, alias.asname)
            if inspect.ismodule(value):
                assert value.__name__ == f"scgan_nb.{node.module}.{alias.name}"
            else:
                assert value is getattr(sys.modules[f"scgan_nb.{node.module}"], alias.name)
    assert found == PUBLIC
    assert (PACKAGE / "py.typed").exists()


@pytest.mark.parametrize(
    "first", ["scgan_nb", "scgan_nb.reporting.compare", "scgan_nb.data", "scgan_nb.evaluation"]
)
def test_names_do_not_depend_on_the_order_of_imports(first):
    code = (
        f"import {first}; import scgan_nb as sg; from inspect import isfunction, ismodule;"
        "print(isfunction(sg.compare), ismodule(sg.datasets), sg.datasets.pbmc3k().n_obs)"
    )
    assert fresh_python(code) == "True True 2700"


def test_import_is_light():
    code = (
        "import sys, time; start = time.perf_counter(); import scgan_nb;"
        "print(time.perf_counter() - start < 1);"
        "print([m for m in ('numpy', 'pandas', 'anndata', 'tensorflow') if m in sys.modules])"
    )
    assert fresh_python(code).split("\n") == ["True", "[]"]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'judge'"):
        sg.judge  # noqa: B018


# --- presets


@pytest.mark.parametrize("kind", [sg.ScGAN, sg.CscGAN])
def test_signature_shows_the_default_preset(kind):
    parameters = inspect.signature(kind).parameters
    shown = {name: parameters[name].default for name in PRESETS[DEFAULT_PRESET]}
    shown = {name: list(v) if isinstance(v, tuple) else v for name, v in shown.items()}
    assert shown == PRESETS["counts"]
    assert parameters["preset"].default == DEFAULT_PRESET == "counts"


def test_every_parameter_is_documented():
    doc = inspect.getdoc(sg.ScGAN)
    for name in inspect.signature(sg.ScGAN).parameters:
        assert name in doc, f"{name} is not described"


def test_a_given_value_wins_over_the_preset(counts):
    """Also where it equals the value that the signature shows."""
    model = sg.CscGAN(counts, labels_key="cell_type", preset="published", latent_dim=64)
    assert model.experiment.model.latent_dim == 64
    assert model.experiment.model.gen_layers == PRESETS["published"]["gen_layers"]
    assert model.experiment.training.max_steps == PRESETS["published"]["max_steps"]
    assert model.experiment.input_ds.split.valid_cells == validation_cells(300, None, "published")


def test_embedded_data_have_the_labels_of_the_run_notebooks(counts):
    run = RunParameters({"raw_input": "pbmc3k", "model": "cscGAN"})
    asked = experiment_from_parameters(run).input_ds
    model = sg.CscGAN(counts, **SMALL)
    used = model.experiment.input_ds
    assert used.labels_key == asked.labels_key == "cell_type"
    assert used.clustering.res is asked.clustering.res is None
    assert model.labels == list(counts.obs["cell_type"].cat.categories)
    clustered = sg.CscGAN(counts, res=0.15, **SMALL).experiment.input_ds
    assert clustered.labels_key is None and clustered.clustering.res == 0.15


def test_other_settings_are_accepted_by_name(counts):
    model = sg.CscGAN(counts, labels_key="cell_type", lambd=5, progress_freq=3, beta1=0.4)
    assert model.experiment.model.lambd == 5
    assert model.experiment.training.progress_freq == 3
    assert model.experiment.training.optimizer.beta1 == 0.4


# --- the classes and the run notebooks


def test_a_class_gives_the_model_of_the_run_notebooks(small_counts, tmp_path):
    """Same cells, genes, steps and seed: the same weights, bit for bit, and the same cells."""
    from scgan_nb.core.presets import experiment_of, with_preset
    from scgan_nb.workflow import experiments

    given = {"labels_key": "cell_type", "max_steps": 8, "summary_freq": 3, "label_balance": 0.5}
    seeds = dict.fromkeys(("split_seed", "clustering_seed", "training_seed"), 4)
    settings = with_preset(DEFAULT_PRESET, given | seeds | SMALL)
    settings["valid_cells"] = validation_cells(600)
    asked = experiment_of(raw_input=str(small_counts), type="cscGAN", **settings)
    done = experiments.process(tmp_path / "run", asked)
    by_notebook = experiments.train(tmp_path / "run", done, progress=False)

    by_class = sg.CscGAN(sg.read(small_counts), seed=4, **given, **SMALL).train(progress=False)
    assert same_weights(by_class, by_notebook)
    ours, theirs = by_class.generate(30, seed=2), by_notebook.generate(30, seed=2)
    assert (ours.X != theirs.X).nnz == 0
    assert (ours.layers["counts"] != theirs.layers["counts"]).nnz == 0

    # the folder has its data beside it, and goes on as the model in memory does
    loaded = sg.load(tmp_path / "run").train(12, progress=False)
    assert same_weights(loaded, by_class.train(12, progress=False))


# --- refusals


def test_an_untrained_model_says_so(counts, tmp_path):
    model = sg.CscGAN(counts, labels_key="cell_type", **SMALL)
    assert not model.is_trained and "not trained" in repr(model)
    for call in (lambda: model.generate(5), lambda: model.save(tmp_path / "model")):
        message = error_message(call)
        assert "not trained" in message and "train()" in message
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="max_steps.*at least 1"):
        model.train(0)
    assert not model.is_trained


def test_misuse_names_what_is_wrong(trained, counts):
    message = error_message(trained.cells, "validation")
    assert "'validation'" in message and "valid" in message and "train" in message
    with pytest.raises(TypeError, match="'alpha0'.*alpha_0"):
        trained.train(20, alpha0=1)
    with pytest.raises(TypeError, match="'latent_dims'.*latent_dim"):
        sg.CscGAN(counts, latent_dims=3)
    with pytest.raises(ValueError, match="'quick'.*counts.*minutes.*published"):
        sg.CscGAN(counts, preset="quick")
    with pytest.raises(ValueError, match="batch_size is 32 .*64"):
        trained.train(20, batch_size=64)
    assert trained.step == 12 and trained.experiment.training.batch_size == 32


def test_no_steps_left_is_a_warning(trained):
    with pytest.warns(UserWarning, match="12 steps are done"):
        trained.train(12, progress=False)


def test_a_folder_with_a_later_checkpoint_is_refused(trained, counts, tmp_path):
    trained.save(tmp_path / "job")
    model = sg.CscGAN(counts, labels_key="cell_type", **SMALL)
    message = error_message(model.train, 5, job=tmp_path / "job", progress=False)
    assert "model-12" in message and "load" in message


# --- loading


def test_a_loaded_model_goes_on_exactly(trained, counts, tmp_path):
    assert trained.is_trained and "12 steps" in repr(trained)
    folder = trained.save(tmp_path / "model", optimizers=True)
    one, other = sg.load(folder, counts), sg.load(folder, trained.processed)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        one.train(16, progress=False)
    assert same_weights(one, other.train(16, progress=False))
    assert one.history["step"].tolist() == [10, 12, 16]

    message = error_message(sg.load(folder).train, 16)
    assert "training data" in message and "adata" in message


def test_moments_that_were_not_saved_start_anew(trained, counts, tmp_path):
    model = sg.load(trained.save(tmp_path / "model"), counts)
    with pytest.warns(UserWarning, match="moments start anew"):
        model.train(13, progress=False)
    assert model.step == 13


def test_other_data_are_refused(trained, counts, tmp_path):
    folder = trained.save(tmp_path / "model")
    renamed = counts.copy()
    renamed.var_names = ["other", *counts.var_names[1:]]
    message = error_message(sg.load, folder, renamed)
    assert "not the cells" in message and "'other'" in message
    assert "not the cells" in error_message(sg.load, folder, counts[::-1].copy())


def test_a_class_refuses_the_other_kind(trained, counts, tmp_path):
    plain = sg.ScGAN(counts, labels_key="cell_type", **SMALL).train(2, progress=False)
    folder = plain.save(tmp_path / "model")
    assert "scGAN" in error_message(sg.CscGAN.load, folder)
    assert isinstance(sg.ScGAN.load(trained.save(tmp_path / "other")), sg.CscGAN)


def test_a_model_of_an_older_version():
    """A folder of schema 1 from before this interface: same cells, present names of metrics."""
    model = sg.load(VECTORS / "model_schema_1")
    with np.load(VECTORS / "model_schema_1" / "generated.npz", allow_pickle=False) as f:
        expected = {name: f[name] for name in f.files}
    cells = model.generate(12, seed=1)
    assert cells.obs["cluster"].astype(str).tolist() == expected["cluster"].tolist()
    np.testing.assert_allclose(cells.X.toarray(), expected["X"], rtol=1e-4, atol=0.1)
    depths = np.asarray(cells.layers["counts"].sum(axis=1)).ravel()
    assert depths.tolist() == expected["counts"].sum(axis=1).tolist()

    assert model.step == 20 and model.history["step"].tolist() == [10, 20]
    metrics = model.validation_history
    assert {"mmd", "mmd_positive_control", "recall_positive_control/B cells"} <= set(metrics)
    assert not [name for name in metrics if "floor" in name]


def test_monitored_training_writes_present_names(counts):
    from scgan_nb.workflow.callbacks import Monitor

    model = sg.CscGAN(counts, labels_key="cell_type", valid_cells=60, **SMALL)
    model.train(4, on_validation=[Monitor(model)], validation_freq=2, progress=False)
    assert model.validation_history["step"].tolist() == [2, 4]
    assert {"score", "rf_auroc", "rf_auroc_positive_control"} <= set(model.validation_history)
