"""The command line: flags, exit statuses, and the experiment folder that it makes."""

import json
import subprocess
import sys

import pytest

from scgan_nb.core.parameter_files import read_experiment
from scgan_nb.workflow import cli
from scgan_nb.workflow.experiment_folders import load_processed, lock_folder
from scgan_nb.workflow.experiments import open_or_process

ORIGINAL_FLAGS = [
    "--param",
    "--process",
    "--train",
    "--generate",
    "--cells_no",
    "--model_path",
    "--save_path",
]


@pytest.fixture
def trained(parameters):
    """A trained experiment: (parameters file, its content, folder)."""
    param, folder = parameters()
    assert cli.main(["--param", str(param), "--process", "--train"]) == 0
    return param, json.loads(param.read_text()), folder


def retrain(param, content, *flags, **training):
    """Train with changed settings; the exit status."""
    (experiment,) = content["experiments"].values()
    experiment["training"] |= training
    param.write_text(json.dumps(content))
    return cli.main(["--param", str(param), "--train", *flags])


def test_help_is_light_and_lists_the_flags_of_the_original():
    code = (
        "import sys; from scgan_nb.workflow.cli import main\n"
        "try:\n    main(['--help'])\n"
        "finally:\n    print({'tensorflow', 'scanpy', 'anndata', 'pydantic'} & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert said.rstrip().endswith("set()")
    assert all(flag in said for flag in ORIGINAL_FLAGS)
    assert all(f"scgan_nb {name}" in said for name in cli.COMMANDS)


def test_cells_no_takes_numbers_and_labels():
    given = cli.make_parser().parse_args(["--generate", "--cells_no", "1000", "500", "0", "200"])
    assert cli.parse_cells_no(given.cells_no) == ["1000", "500", "0", "200"]
    assert cli.parse_cells_no(["B=5", "CD14+ Mono=0"]) == {"B": "5", "CD14+ Mono": "0"}
    with pytest.raises(ValueError, match="--cells_no"):
        cli.parse_cells_no(["5", "B=1"])


@pytest.mark.parametrize("words", [[], ["--train"], ["--generate", "--model_path", "x"]])
def test_flags_that_need_others(words, capsys):
    with pytest.raises(SystemExit):
        cli.main(words)
    assert "need" in capsys.readouterr().err or not words


def test_protocol_and_its_former_name(capsys, monkeypatch):
    from scgan_nb.reporting.evaluate import evaluate as original

    found = {}

    class Page:
        headline, weakest, weakest_words = 50.0, "mmd", "MMD²"

        def save(self, path):
            return path

    def evaluate(holdout, generated, **options):
        found.update(options, holdout=holdout, generated=generated)
        return Page()

    monkeypatch.setattr(sys.modules[original.__module__], "evaluate", evaluate)
    words = ["evaluate", "made.h5ad", "real.h5ad", "--out", "page"]
    assert cli.main([*words, "--protocol", "activa", "--preset", "groundgan"]) == 0
    assert found["protocols"] == ["activa", "groundgan"]
    assert (found["holdout"], found["generated"]) == ("real.h5ad", "made.h5ad")
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "--help"])
    said = capsys.readouterr().out
    assert "--protocol" in said and "--preset" not in said
    assert said.index("GENERATED") < said.index("HOLDOUT")


def test_the_folder_is_that_of_the_original(parameters):
    """File names, keys of parameters.json and features of a record, as the original reads them."""
    import tensorflow as tf

    param, folder = parameters()
    assert cli.main(["--param", str(param), "--process"]) == 0
    records = {path.name for path in (folder / "TF_records").glob("*.tfrecords")}
    files = [f"train-{n}.tfrecords" for n in range(10)]
    assert records == {*files, "validate.tfrecords", "test.tfrecords"}
    assert (folder / "pbmc_small.h5ad").exists()

    content = json.loads((folder / "parameters.json").read_text())
    asked = json.loads(param.read_text())["experiments"]["pbmc"]
    assert set(content) == {"input_ds", "model", "training", "preprocessed"}
    assert all(set(content[block]) == set(asked[block]) for block in asked)

    example = tf.train.Example()
    dataset = tf.data.TFRecordDataset(str(folder / "TF_records" / files[0]), "GZIP")
    example.ParseFromString(next(iter(dataset)).numpy())
    names = {"indices", "values", "barcode", "genes_no", "count_no", "cluster_int", "cluster_1hot"}
    assert set(example.features.feature) == names


def test_changed_settings_are_refused_and_not_recorded(trained, capsys):
    param, content, folder = trained
    before = (folder / "parameters.json").read_bytes()
    assert retrain(param, content, batch_size=16) == 1
    said = capsys.readouterr().err
    assert "batch_size = 32, not 16" in said and "--restart" in said
    assert (folder / "parameters.json").read_bytes() == before

    assert retrain(param, content, "--restart") == 0
    assert read_experiment(folder).training.batch_size == 16
    assert (folder / "job.old-1" / "model-6.safetensors").exists()


def test_settings_that_may_change(trained):
    param, content, folder = trained
    assert retrain(param, content, max_steps=8, save_freq=3, summary_freq=4, in_memory_gb=0) == 0
    assert (folder / "job" / "model-8.safetensors").exists()
    assert read_experiment(folder).training.max_steps == 8
    assert retrain(param, content, max_steps=7) == 0  # nothing to do, and nothing recorded
    assert read_experiment(folder).training.max_steps == 8


def test_two_trainings_in_one_folder(trained, capsys):
    param, content, folder = trained
    with lock_folder(folder):
        assert retrain(param, content, max_steps=8) == 1
    said = capsys.readouterr().err
    assert str(folder) in said and "another process" in said
    assert not (folder / "job" / "model-8.safetensors").exists()


def test_a_changed_input_file_is_noticed(parameters, small_counts, tmp_path):
    import anndata as ad

    counts = ad.read_h5ad(small_counts)
    own = tmp_path / "own.h5ad"
    counts.write_h5ad(own)
    param, folder = parameters()
    content = json.loads(param.read_text())
    content["experiments"]["pbmc"]["input_ds"]["raw_input"] = str(own)
    param.write_text(json.dumps(content))
    assert cli.main(["--param", str(param), "--process"]) == 0
    cells, experiment = load_processed(folder)
    assert open_or_process(folder, experiment).preprocessed.total_count == cells.n_obs

    moved = tmp_path / "moved.h5ad"
    own.rename(moved)
    changed = experiment.input_ds.model_copy(update={"raw_input": str(moved)})
    renamed = experiment.model_copy(update={"input_ds": changed})
    assert open_or_process(folder, renamed).input_ds.raw_input == str(own)  # the same content

    counts[::-1].write_h5ad(own)
    with pytest.raises(FileExistsError, match="another content"):
        open_or_process(folder, experiment)
    own.unlink()
    open_or_process(folder, experiment)  # the folder works without it
