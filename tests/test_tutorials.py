"""The tutorials run, at a small scale, and write what they promise."""

from pathlib import Path

import matplotlib
import pytest

import notebooks

TUTORIALS = notebooks.find("nbs/tutorials")
QUICK = {"only": ["mmd", "memorisation_share"], "repeats": 2, "n_jobs": 1, "pictures": False}
SMALL = {
    "your_own_data": {"n_cells": 300, "genes": 60, "max_steps": 3, "evaluation": QUICK},
    "augmenting_a_rare_label": {
        "n_cells": 600,
        "genes": 60,
        "max_steps": 3,
        "repeats": 1,
        "trees": 10,
    },
    "from_the_original": {"n_cells": 300, "max_steps": 3, "layers": [16]},
    "how_long": {
        "n_cells": 600,
        "genes": 60,
        "max_steps": 4,
        "validation_freq": 2,
        "valid_cells": 180,
        "small_cells": 100,
        "metrics": ["mmd", "memorisation_share"],
    },
    "judging_other_cells": {"n_cells": 400, "n_genes": 60, "evaluation": QUICK},
    "covariates": {"n_cells": 400, "genes": 60, "changed": 10, "max_steps": 3, "per_donor": 20},
    "mathematics": {"n_cells": 300, "genes": 60, "max_steps": 3, "draws": 2_000},
    "sharing_a_model": {"n_cells": 300, "genes": 60, "max_steps": 3, "evaluation": QUICK},
    "synthetic_truth": {
        "n_cells": 400,
        "genes": 60,
        "max_steps": 3,
        "test_cells": 100,
        "size": 80,
        "shares": [0.05],
        "large_size": 100,
        "large_shares": [0.05],
        "repeats": 1,
    },
}
WRITTEN = {
    "your_own_data": ["labels.csv", "generated_cells.h5ad", "report.html", "model/model.json"],
    "augmenting_a_rare_label": ["scores.csv"],
    "from_the_original": ["pbmc/parameters.json", "pbmc/TF_records", "cells.h5ad"],
    "how_long": ["curves.csv"],
    "judging_other_cells": ["copula.h5ad", "report.html", "compare.html"],
    "covariates": ["labels.csv", "unseen_combination.h5ad", "changes.csv"],
    "mathematics": ["numbers.csv"],
    "sharing_a_model": ["pbmc_model/model.json", "report.html", "elsewhere"],
    "synthetic_truth": ["clusterings.csv"],
}


def code_with(nb: dict, given: dict) -> list[str]:
    """The code cells of a notebook, with values set after its `parameters` cell."""
    cells = []
    for _, cell in notebooks.code_cells(nb):
        cells.append(notebooks.source(cell))
        if notebooks.has_tag(cell, "parameters"):
            cells.append("\n".join(f"{name} = {v!r}" for name, v in given.items()))
    return cells


def test_each_tutorial_is_run():
    assert {path.stem for path in TUTORIALS} == set(SMALL) == set(WRITTEN)


@pytest.mark.slow
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")
def test_tutorial_runs(path: Path, tmp_path, monkeypatch):
    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    nb = notebooks.read(path)
    assert set(SMALL[path.stem]) <= set(notebooks.default_parameters(nb))
    namespace: dict = {}
    for code in code_with(nb, SMALL[path.stem]):
        exec(compile(code, path.name, "exec"), namespace)
    matplotlib.pyplot.close("all")
    out = tmp_path / namespace["out_dir"]
    assert [name for name in WRITTEN[path.stem] if not (out / name).exists()] == []
