"""The files that `compare.html` compares, from two runs of `nbs/train.ipynb`, one a model.

    python papers/comparison/cells.py runs/scGAN runs/cscGAN files

writes `train.h5ad` and `holdout.h5ad` (raw counts; both runs have the same split), and the cells of
both models and of the three baselines, 2,000 each.
"""

import argparse
from pathlib import Path

from scgan_nb.core.files import atomic_path
from scgan_nb.evaluation import baselines
from scgan_nb.workflow import experiments

MODELS = ("scGAN", "cscGAN")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for kind in MODELS:
        parser.add_argument(kind, type=Path, help=f"out_dir of train.ipynb with model = {kind!r}")
    parser.add_argument("out", type=Path, help="folder for the files")
    parser.add_argument("--cells", type=int, default=2000, help="of each baseline (default 2000)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    runs = {kind: getattr(given, kind) for kind in MODELS}
    processed = [
        {s: cells[cells.obs["split"] == s].copy() for s in ("train", "valid")}
        for cells, _ in map(experiments.load_processed, runs.values())
    ]
    for name in ("train", "valid"):
        if not all(
            list(run[name].obs_names) == list(processed[0][name].obs_names) for run in processed
        ):
            raise SystemExit(
                f"the two runs have different {name} cells; give both the same seed and valid_cells"
            )
    real = {name: baselines.counts_of(cells) for name, cells in processed[0].items()}
    files = {"train": real["train"], "holdout": real["valid"]} | {
        kind: baselines.read_generated(run / "generated_cells.h5ad") for kind, run in runs.items()
    }
    files |= {
        "Gaussian copula": baselines.gaussian_copula(
            real["train"], given.cells, "cluster", given.seed
        ),
        "independent NB": baselines.independent_nb(
            real["train"], given.cells, "cluster", given.seed
        ),
        "resampled training cells": baselines.resample(real["train"], given.cells, given.seed),
    }
    given.out.mkdir(parents=True, exist_ok=True)
    for name, cells in files.items():
        with atomic_path(given.out / f"{name}.h5ad") as temporary:
            cells.write_h5ad(temporary, compression="gzip")
        print(f"{name}.h5ad: {cells.n_obs:,} cells x {cells.n_vars:,} genes")


if __name__ == "__main__":
    main()
