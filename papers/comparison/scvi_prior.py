"""Cells from the prior of an scVI model, for a comparison.

scVI (Lopez et al. 2018, Nature Methods 15:1053) is an autoencoder that describes existing cells.
Its public interface samples only cells of the data it was given (posterior predictive samples). A
generator makes cells from noise. This script therefore uses scVI as a generative model. After
training,

    z ~ N(0, I),  library size ~ those of the training cells,  counts ~ the decoder's distribution,

with scVI's defaults (10 latent dimensions, one hidden layer of 128, zero-inflated negative
binomial, observed library sizes). The model gets no batch and no labels, so the generated cells
have no labels. Library sizes are drawn independently of z.

It needs scvi-tools, which brings PyTorch, and is best installed in an environment of its own:

    python -m venv scvi && scvi/bin/pip install "scvi-tools>=1.3"
    scvi/bin/python papers/comparison/scvi_prior.py --train train.h5ad --out scvi.h5ad

`--train` holds counts in X or layers["counts"]. The counts in `--out` are evaluated like others:

    from scgan_nb.evaluation.baselines import read_generated
    scgan_nb.evaluate(holdout, read_generated("scvi.h5ad"), train=train)
"""

import argparse
import os
from pathlib import Path


def read_counts(path):
    """AnnData of raw counts from .h5ad: layers["counts"] if there, else X."""
    import anndata
    import numpy as np
    import scipy.sparse as sp

    cells = anndata.read_h5ad(path)
    x = sp.csr_matrix(cells.layers.get("counts", cells.X), dtype=np.float32)
    if (x.data < 0).any() or (x.data % 1 != 0).any():
        raise SystemExit(
            f"{path}: the values are not counts (whole numbers, none negative); "
            "give raw counts in X or layers['counts']"
        )
    return anndata.AnnData(x, obs=cells.obs[[]].copy(), var=cells.var.copy())


def train(cells, epochs, seed):
    """A trained scVI model of all `cells`; `epochs` None for scVI's own rule."""
    import scvi

    scvi.settings.seed = seed
    scvi.model.SCVI.setup_anndata(cells)
    model = scvi.model.SCVI(cells)
    model.train(
        max_epochs=epochs, train_size=1.0, accelerator="auto", devices=1, enable_progress_bar=True
    )
    return model


def sample_prior(model, depths, seed, at_once=512):
    """Counts, CSR float32 [cells, genes], one cell for each library size in `depths`."""
    import numpy as np
    import scipy.sparse as sp
    import torch

    module = model.module.eval()
    torch.manual_seed(seed)
    rows = []
    with torch.no_grad():
        for start in range(0, len(depths), at_once):
            library = torch.log(torch.tensor(depths[start : start + at_once], dtype=torch.float32))[
                :, None
            ].to(module.device)
            z = torch.randn(len(library), module.n_latent, device=module.device)
            made = module.generative(z=z, library=library, batch_index=torch.zeros_like(library))
            rows.append(sp.csr_matrix(made["px"].sample().cpu().numpy().astype(np.float32)))
    return sp.vstack(rows, format="csr")


def main():
    parser = argparse.ArgumentParser(
        description="Train scVI on counts and draw cells from its prior."
    )
    parser.add_argument(
        "--train", required=True, help="training cells, .h5ad with counts in X or layers['counts']"
    )
    parser.add_argument(
        "--out", required=True, help="where the generated cells go, .h5ad with counts in X"
    )
    parser.add_argument("--cells", type=int, default=1000, help="cells to draw (default 1000)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of training and drawing (default 0)"
    )
    parser.add_argument(
        "--epochs",
        type=int,
        default=None,
        help="passes over the training cells (default: scVI's own rule)",
    )
    given = parser.parse_args()
    if given.cells < 1:
        parser.error("--cells must be at least 1")
    if given.epochs is not None and given.epochs < 1:
        parser.error("--epochs must be at least 1")
    if not Path(given.train).exists():
        parser.error(f"there is no file {given.train}")
    if Path(given.out).suffix != ".h5ad":
        parser.error("--out must end in .h5ad")

    import anndata
    import numpy as np
    import pandas as pd
    import scvi

    cells = read_counts(given.train)
    if not (np.asarray(cells.X.sum(axis=1)) > 0).all():
        raise SystemExit(f"{given.train}: some cells have no counts; drop them first")
    model = train(cells, given.epochs, given.seed)
    real = np.asarray(cells.X.sum(axis=1)).ravel()
    depths = np.random.default_rng(given.seed).choice(real, given.cells)
    made = anndata.AnnData(
        sample_prior(model, depths, given.seed),
        var=cells.var.copy(),
        obs=pd.DataFrame({"is_synthetic": True}, index=[f"scvi_{i}" for i in range(given.cells)]),
    )
    elbo = np.asarray(
        model.history["elbo_train" if "elbo_train" in model.history else "train_loss_epoch"]
    ).ravel()
    made.uns["scvi_prior"] = {
        "scvi_tools": scvi.__version__,
        "seed": given.seed,
        "epochs": len(elbo),
        "trained_on_cells": cells.n_obs,
        "last_training_loss": float(elbo[-1]),
        "latent": int(model.module.n_latent),
        "likelihood": str(model.module.gene_likelihood),
    }
    partial = Path(given.out).with_name(f".partial-{Path(given.out).name}")
    partial.parent.mkdir(parents=True, exist_ok=True)
    made.write_h5ad(partial, compression="gzip")
    os.replace(partial, given.out)
    print(
        f"{given.out}: {made.n_obs:,} cells x {made.n_vars:,} genes; real cells have "
        f"{real.mean():,.0f} counts on average, these {made.X.sum() / made.n_obs:,.0f}; "
        f"{len(elbo)} epochs"
    )


if __name__ == "__main__":
    main()
