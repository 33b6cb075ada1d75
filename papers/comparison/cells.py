"""The files that `compare.html` compares: several trainings of our models, and three baselines.

    python papers/comparison/cells.py --out files --seeds 0 1 2

writes `train.h5ad` and `holdout.h5ad` (counts of PBMC 3k, one split), cells of each model and seed
("cscGAN 0.h5ad"), and those of the baselines. Files that are there are not made again.
"""

import argparse
from pathlib import Path

from scgan_nb import datasets
from scgan_nb.core.files import atomic_path
from scgan_nb.evaluation import baselines
from scgan_nb.workflow.api import CscGAN, ScGAN

MODELS = {
    "cscGAN": (CscGAN, "counts"),
    "scGAN": (ScGAN, "counts"),
    "cscGAN, marouf2020": (CscGAN, "minutes"),
}
SAME = {"split_seed": 0, "highly_variable_genes": 1000, "valid_cells": 900, "validation_freq": 0}


def untrained(name, seed):
    """A model of PBMC 3k; all have the same split and genes."""
    kind, preset = MODELS[name]
    return kind(datasets.pbmc3k(), preset=preset, training_seed=seed, **SAME)


def write(path, cells):
    with atomic_path(path) as temporary:
        cells.write_h5ad(temporary, compression="gzip")
    print(f"{path.name}: {cells.n_obs:,} cells x {cells.n_vars:,} genes", flush=True)


def real_cells(name):
    """Counts of training and held-out cells as a model has them."""
    model = untrained(name, 0)
    return {part: baselines.counts_of(model.cells(part)) for part in ("train", "valid")}


def require_same_split():
    """Real cells of all models; exits if they differ."""
    every = [real_cells(name) for name in MODELS]
    for part, cells in every[0].items():
        if any(list(other[part].obs_names) != list(cells.obs_names) for other in every):
            raise SystemExit(f"the models have different {part} cells")
    return every[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the trainings")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--cells", type=int, default=2000, help="of each generator (default 2000)")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    real = require_same_split()
    train, n = real["train"], given.cells
    makers = {
        "train": lambda: train,
        "holdout": lambda: real["valid"],
        "Gaussian copula": lambda: baselines.gaussian_copula(train, n, "cluster", seed=0),
        "independent NB": lambda: baselines.independent_nb(train, n, "cluster", seed=0),
        "resampled training cells": lambda: baselines.resample(train, n, seed=0),
    }
    for seed in given.seeds:
        for name in given.models:
            makers[f"{name} {seed}"] = lambda name=name, seed=seed: (
                untrained(name, seed).train(progress=False).generate(n, seed=0)
            )
    for name, make in makers.items():
        if not (path := given.out / f"{name}.h5ad").exists():
            write(path, make())


if __name__ == "__main__":
    main()
