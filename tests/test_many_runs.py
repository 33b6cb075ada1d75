"""Many runs and the sweep: failures, results from before, interruptions, missing libraries."""

import json
import sys
from pathlib import Path

import anndata as ad
import nbformat
import optuna
import pandas as pd
import pytest

from scgan_nb.core.parameter_files import read_parameters
from scgan_nb.workflow import cli, runs, sweep
from scgan_nb.workflow.experiment_folders import lock_folder

TINY = {
    "gen_layers": [16],
    "critic_layers": [16],
    "batch_size": 32,
    "max_steps": 4,
    "validation_freq": 2,
    "valid_cells": 100,
    "highly_variable_genes": None,
    "labels_key": "cell_type",
}


@pytest.fixture
def notebook(tmp_path):
    """A notebook with the parameters `data` and `seed`."""
    cell = nbformat.v4.new_code_cell('data = ""\nseed = 0', metadata={"tags": ["parameters"]})
    nb = nbformat.v4.new_notebook(cells=[cell])
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "python3", "language": "python"}
    path = tmp_path / "quick.ipynb"
    nbformat.write(nb, path)
    return path


@pytest.fixture
def calls(monkeypatch):
    """Runs without a kernel: (data, seed) of each call. The data "bad" fail."""
    made = []

    def instead(run, folder, gpu):
        data, seed = Path(str(run.parameters["data"])).name, run.parameters["seed"]
        made.append((data, seed))
        if data == "bad":
            return "OSError: the disk is full"
        (folder / "out").mkdir()
        (folder / "out" / "numbers.json").write_text(json.dumps({"headline": 10 * seed}))
        return ""

    monkeypatch.setattr(runs, "_papermill", instead)
    return made


def many(notebook, *words, seeds=3):
    out = notebook.parent / "out"
    return cli.main(["runs", str(notebook), "--out", str(out), "--seeds", str(seeds), *words])


def test_only_what_is_new_or_changed_runs_again(notebook, calls):
    data = notebook.parent / "cells.csv"
    data.write_text("1,2")
    words = ["--vary", "data", str(data), "pbmc3k", "--jobs", "2"]
    assert many(notebook, *words) == 0 and len(calls) == 6
    table = pd.read_csv(notebook.parent / "out" / "table.csv")
    assert list(table["median"]) == [10, 10] and list(table["n"]) == [3, 3]
    assert many(notebook, *words, seeds=4) == 0
    assert sorted(calls[6:]) == [("cells.csv", 3), ("pbmc3k", 3)]
    data.write_text("1,3")
    assert many(notebook, *words, seeds=4) == 0
    assert [name for name, _ in calls[8:]] == ["cells.csv"] * 4


def test_a_run_that_fails_does_not_stop_the_others(notebook, calls, capsys):
    words = ["--vary", "data", "bad", "good", "--retries", "2"]
    assert many(notebook, *words, seeds=1) == 1
    assert calls.count(("bad", 0)) == 3 and calls.count(("good", 0)) == 1
    said = capsys.readouterr().err
    assert "the disk is full" in said and "data=bad" in said
    table = pd.read_csv(notebook.parent / "out" / "runs.csv").set_index("data")
    assert table["headline"].isna().to_dict() == {"bad": True, "good": False}
    assert "disk is full" in (notebook.parent / "out" / "table.html").read_text()


@pytest.mark.parametrize("command", ["runs", "sweep"])
def test_one_sentence_says_what_to_install(command, notebook, monkeypatch, capsys, tmp_path):
    for name in ("distributed", "optuna"):
        monkeypatch.setitem(sys.modules, name, None)
    if command == "runs":
        assert many(notebook) == 1
    else:
        with pytest.raises(RuntimeError) as error:
            sweep.run_sweep(sweep.Sweep(tmp_path / "sweep"), None)
        print(error.value, file=sys.stderr)
    assert "scgan_nb[scale]" in capsys.readouterr().err


def test_sweep_tries_again_what_a_killed_process_has_left(tmp_path):
    settings = sweep.Sweep(tmp_path, trials=3, space={"latent_dim": [4, 8, 16, 32]})
    left = sweep.open_study(settings).ask()
    wanted = sweep.suggest(left, settings.space)
    tried = []

    def objective(given, report):
        tried.append(given)
        report(1, 0.0)
        if len(tried) == 2:
            raise FloatingPointError("diverged")
        return float(given["latent_dim"])

    study = sweep.run_sweep(settings, objective)
    assert tried[0] == wanted and len(tried) == 3
    assert [t.state.name for t in study.trials] == ["FAIL", "COMPLETE", "PRUNED", "COMPLETE"]
    other = sweep.Sweep(tmp_path, space={"latent_dim": [4]})
    with pytest.raises(ValueError, match="another"):
        sweep.run_sweep(other, objective)
    with lock_folder(tmp_path), pytest.raises(BlockingIOError):
        sweep.run_sweep(settings, objective)


def journal(out):
    """The storage of a sweep's study."""
    from optuna.storages import JournalStorage, journal

    return JournalStorage(journal.JournalFileBackend(str(out / "study.journal")))


@pytest.mark.thorough
def test_a_real_sweep_ends_with_parameters_that_train(small_counts, tmp_path):
    counts = ad.read_h5ad(small_counts)
    counts.write_h5ad(tmp_path / "counts.h5ad")
    out, space = tmp_path / "sweep", tmp_path / "space.json"
    space.write_text(json.dumps({"alpha_0": {"low": 1e-4, "high": 1e-3}, "latent_dim": [4, 8]}))
    words = ["sweep", str(tmp_path / "counts.h5ad"), "--out", str(out), "--space", str(space)]
    words += [word for k, v in TINY.items() for word in ("-p", k, json.dumps(v).strip('"'))]
    assert cli.main([*words, "--trials", "1"]) == 0
    assert cli.main([*words, "--trials", "2"]) == 0
    assert cli.main([*words, "-p", "critic_iters", "3"]) == 1  # other trials than those before
    study = optuna.load_study(study_name="scgan_nb", storage=journal(out))
    assert [list(trial.intermediate_values) for trial in study.trials] == [[2, 4], [2, 4]]
    best, parameters = study.best_trial.user_attrs["settings"], out / "parameters.json"
    assert json.loads((out / "best.json").read_text()) == best
    experiment = read_parameters(parameters).experiments["best"]
    assert experiment.model.latent_dim == best["latent_dim"]
    assert cli.main(["--param", str(parameters), "--process", "--train"]) == 0
    assert (out / "best" / "job").is_dir()


@pytest.mark.thorough
def test_real_runs_of_train(small_counts, tmp_path):
    words = ["runs", "train", "--out", str(tmp_path / "out"), "--seeds", "2"]
    given = {k: v for k, v in TINY.items() if k not in ("highly_variable_genes", "validation_freq")}
    given |= {"raw_input": str(small_counts), "cells_no": 50, "genes": 100}
    words += [word for k, v in given.items() for word in ("-p", k, json.dumps(v).strip('"'))]
    assert cli.main(words) == 0
    table = pd.read_csv(tmp_path / "out" / "table.csv").set_index("number")
    assert table.loc["headline", "n"] == 2 and {"mmd", "rf_auroc"} <= set(table.index)
