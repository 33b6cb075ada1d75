"""Paths and small data that several tests share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


@pytest.fixture
def shared():
    """The folder of data and golden vectors beside a checkout; without it the test is skipped."""
    if not SHARED.exists():
        pytest.skip("no ../shared beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def chromium():
    """The path of a Chromium (`ci/browser`); the test is skipped where there is none."""
    pytest.importorskip("playwright.sync_api", reason="playwright is missing")
    command = [sys.executable, str(ROOT / "ci" / "browser")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    return done.stdout.strip()


@pytest.fixture
def browser(chromium):
    """A running Chromium. It ends with the test: while it runs, nothing else may use asyncio."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def shuffled_pbmc():
    """A function of a share: PBMC 3k in random order, with the genes seen in more of the cells.

    Labels are in `cluster`.
    """
    import numpy as np

    from scgan_nb.data.datasets import pbmc3k

    def make(least):
        cells = pbmc3k()
        order = np.random.default_rng(1).permutation(cells.n_obs)
        common = np.asarray((cells.X > 0).mean(axis=0)).ravel() > least
        cells = cells[order, common].copy()
        cells.obs["cluster"] = cells.obs["cell_type"]
        return cells

    return make


@pytest.fixture(scope="session")
def small_counts(tmp_path_factory):
    """An .h5ad of raw counts: 600 PBMCs with labels, the 200 genes with the most counts."""
    import numpy as np

    from scgan_nb.data.datasets import pbmc3k

    counts = pbmc3k()[:600].copy()
    most = np.argsort(-np.asarray(counts.X.sum(axis=0)).ravel())[:200]
    counts = counts[:, most].copy()
    path = tmp_path_factory.mktemp("data") / "pbmc_small.h5ad"
    counts.write_h5ad(path)
    return path


@pytest.fixture
def parameters(small_counts, tmp_path):
    """Writes a parameters.json with small sizes; returns (path, experiment folder).

    Keyword arguments update `training`.
    """
    import json

    def make(kind="cscGAN", **training):
        experiment = {
            "input_ds": {
                "clustering": {"res": 0.8},
                "filtering": {"min_cells": 3, "min_genes": 10},
                "raw_input": str(small_counts),
                "scale": "normalize_per_cell_LS_20000",
                "split": {
                    "balanced_split": True,
                    "split_seed": "default",
                    "test_cells": 0,
                    "valid_cells": 60,
                },
            },
            "model": {
                "type": kind,
                "latent_dim": 8,
                "output_LSN": 20000,
                "critic_layers": [32, 16],
                "gen_layers": [16, 32],
                "critic_cond_type": "proj",
                "gen_cond_type": "batchnorm",
                "lambd": 10,
            },
            "training": {
                "max_steps": 6,
                "learning_rate": {"decay": True, "alpha_0": 1e-4, "alpha_final": 1e-5},
                "optimizer": {"algorithm": "AMSGrad", "beta1": 0.5, "beta2": 0.9},
                "batch_size": 32,
                "critic_iters": 2,
                "checkpoint": None,
                "progress_freq": 2,
                "validation_freq": 0,
                "save_freq": 2,
                "summary_freq": 0,
                **training,
            },
        }
        path = tmp_path / "parameters.json"
        shared_part = {"experiments_dir": str(tmp_path / "experiments"), "GPU": [0]}
        content = {"exp_param": shared_part, "experiments": {"pbmc": experiment}}
        path.write_text(json.dumps(content))
        return path, tmp_path / "experiments" / "pbmc"

    return make
