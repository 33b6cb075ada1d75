"""The files that `compare.html` compares, from several runs of `nbs/train.ipynb`.

    python papers/comparison/cells.py scGAN=runs/scGAN cscGAN=runs/cscGAN --out files

writes `train.h5ad` and `holdout.h5ad` (raw counts; all runs have the same split), and the cells of
the models and of the three baselines, 2,000 each.
"""

import argparse
from pathlib import Path

from scgan_nb.core.files import atomic_path
from scgan_nb.evaluation import baselines
from scgan_nb.workflow import experiments


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="NAME=FOLDER", help="out_dir of a run")
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--cells", type=int, default=2000, help="of each baseline (default 2000)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    runs = {name: Path(folder) for name, folder in (run.split("=", 1) for run in given.runs)}
    processed = [
        {s: cells[cells.obs["split"] == s].copy() for s in ("train", "valid")}
        for cells, _ in map(experiments.load_processed, runs.values())
    ]
    for name in ("train", "valid"):
        if not all(
            list(run[name].obs_names) == list(processed[0][name].obs_names) for run in processed
        ):
            raise SystemExit(
                f"the runs have different {name} cells; give all the same seed and valid_cells"
            )
    real = {name: baselines.counts_of(cells) for name, cells in processed[0].items()}
    files = {"train": real["train"], "holdout": real["valid"]} | {
        name: baselines.read_generated(run / "generated_cells.h5ad") for name, run in runs.items()
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
