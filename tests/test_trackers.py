"""MLflow and Weights & Biases get the losses, metrics and pictures of a training."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import scgan_nb as sg
from scgan_nb.data.examples import pbmc_example
from scgan_nb.training.trackers import MLflowTracker, WandbTracker

EVERY = {"progress_freq": 2, "validation_freq": 4, "summary_freq": 0}


class FakeMLflow:
    """What `MLflowTracker` uses of MLflow; refuses names that MLflow refuses."""

    def __init__(self):
        self.params, self.metrics, self.artifacts = {}, [], []

    def log_params(self, params):
        assert not any(set(name) & set("+()") for name in params)
        self.params |= params

    def log_metrics(self, metrics, step):
        assert not any(set(name) & set("+:()") for name in metrics)
        self.metrics += [(step, name, value) for name, value in metrics.items()]

    def log_artifact(self, path, folder):
        self.artifacts.append((Path(path).name, folder))


class FakeConfig(dict):
    def update(self, settings, allow_val_change):
        super().update(settings)


class FakeRun:
    """A run of Weights & Biases, which refuses steps that go back."""

    def __init__(self):
        self.sent, self.config = [], FakeConfig()

    def log(self, numbers, step):
        assert not self.sent or step >= self.sent[-1][0]
        self.sent.append((step, numbers))


def small_model():
    cells = pbmc_example(200, 60)
    sizes = {"latent_dim": 8, "gen_layers": [16], "critic_layers": [16], "valid_cells": 40}
    return sg.CscGAN(cells, labels_key="cell_type", seed=0, **sizes)


def picture_in(folder):
    def draw(trainer):
        path = folder / f"step_{trainer.step}.png"
        path.write_bytes(b"")
        return path

    return draw


def recall_of(trainer):
    return {"mmd": 1.0 / trainer.step, "recall/CD14+ Monocytes": 0.5}


def train(model, tracker, folder):
    functions = [tracker, recall_of, picture_in(folder)]  # the order does not matter
    model.train(10, on_validation=functions, progress=False, **EVERY)


def test_mlflow_gets_everything_once(tmp_path, monkeypatch):
    mlflow, model = FakeMLflow(), small_model()
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    train(model, MLflowTracker(model.experiment.model_dump()), tmp_path)
    losses = [(step, value) for step, name, value in mlflow.metrics if name == "critic_loss"]
    history = model.history
    assert losses == list(zip(history["step"], history["critic_loss"], strict=True))
    assert history["step"].tolist() == [2, 4, 6, 8, 10]
    found = {(step, name): value for step, name, value in mlflow.metrics if "validation" in name}
    assert found[4, "validation/mmd"] == 0.25 and found[8, "validation/mmd"] == 0.125
    assert (8, "validation/recall/CD14_ Monocytes") in found and len(found) == 4
    assert mlflow.artifacts == [("step_4.png", "pictures"), ("step_8.png", "pictures")]
    assert mlflow.params["model.latent_dim"] == "8"


def test_wandb_gets_steps_in_order(tmp_path, monkeypatch):
    run = FakeRun()
    wandb = SimpleNamespace(run=None, init=lambda: run, Image=lambda path: f"image of {path}")
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    model = small_model()
    train(model, WandbTracker(model.experiment.model_dump()), tmp_path)
    sent = [(step, name) for step, numbers in run.sent for name in numbers]
    assert [step for step, name in sent if name == "distance"] == [2, 4, 6, 8, 10]
    assert [step for step, name in sent if name == "pictures"] == [4, 8]
    assert run.config["model.latent_dim"] == 8


def test_a_tracker_changes_no_weight(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", FakeMLflow())
    with_one, without = small_model(), small_model()
    with_one.train(4, on_validation=[MLflowTracker()], progress=False, **EVERY)
    without.train(4, progress=False, **EVERY)
    states = with_one.gan.state_by_name(), without.gan.state_by_name()
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(("tracker", "name"), [(MLflowTracker, "mlflow"), (WandbTracker, "wandb")])
def test_a_missing_package_is_named(tracker, name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=f"pip install {name}"):
        tracker()
