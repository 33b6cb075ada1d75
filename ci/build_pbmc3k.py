"""Make scgan_nb/resources/pbmc3k.h5ad, the PBMC 3k cells inside the package.

    python ci/build_pbmc3k.py SOURCE.h5ad [TARGET.h5ad]

SOURCE holds the raw counts of all 2,700 cells x 32,738 genes; `desc/datasets/pbmc.h5ad` in the
package desc 2.1.1 on PyPI is one such file. Nothing is downloaded. Two parts: the counts (genes
seen in at least 3 cells, in the smallest types), and the labels, which are this project's own:
cells are clustered, and each cluster gets the name of the cell type whose published marker genes
it shows most.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

# Marker genes of blood cells as found in textbooks of immunology and in Zheng et al. 2017
# (Nat Commun 8:14049); after the bar, genes that tell the type from its nearest relative.
MARKERS = {
    "CD4 T cells": "IL7R CCR7 CD3D | CD8A CD8B NKG7",
    "CD14+ Monocytes": "CD14 LYZ S100A8 | FCGR3A FCER1A",
    "B cells": "CD79A MS4A1 CD79B | CD3D",
    "CD8 T cells": "CD8A CD8B CD3D | IL7R CCR7",
    "NK cells": "GNLY NKG7 KLRD1 | CD3D CD8A",
    "FCGR3A+ Monocytes": "FCGR3A MS4A7 LST1 | CD14 NKG7",
    "Dendritic cells": "FCER1A CST3 CLEC10A | CD14 FCGR3A",
    "Megakaryocytes": "PPBP PF4 GNG11 | CD3D",
}


def cluster(adata, resolution: float, seed: int):
    """Leiden clusters: log of 10,000 per cell, 2,000 variable genes, 40 PCs, 15 neighbours."""
    import scanpy as sc

    a = adata.copy()
    a.X = a.X.astype(np.float64)
    sc.pp.normalize_total(a, target_sum=1e4)
    sc.pp.log1p(a)
    sc.pp.highly_variable_genes(a, n_top_genes=2000)
    b = a[:, a.var.highly_variable].copy()
    sc.pp.scale(b, max_value=10)
    sc.pp.pca(b, n_comps=40, svd_solver="arpack", random_state=seed)
    sc.pp.neighbors(b, n_neighbors=15, n_pcs=40, random_state=seed)
    sc.tl.leiden(
        b,
        resolution=resolution,
        flavor="igraph",
        n_iterations=-1,
        directed=False,
        random_state=seed,
    )
    return a, b.obs["leiden"]


def name(logged, clusters) -> pd.DataFrame:
    """Score of each type in each cluster: mean of its markers minus mean of the genes against it.

    A gene's expression in a cluster is its mean there, as a share of its mean in the cluster that
    shows it most, so that all genes weigh the same.
    """
    genes = sorted({g for words in MARKERS.values() for g in words.replace("|", " ").split()})
    means = (
        pd.DataFrame(logged[:, genes].X.toarray(), columns=genes)
        .groupby(clusters.to_numpy())
        .mean()
    )
    means = means / means.max()
    scores = {}
    for kind, words in MARKERS.items():
        good, bad = (half.split() for half in words.split("|"))
        scores[kind] = means[good].mean(axis=1) - means[bad].mean(axis=1)
    return pd.DataFrame(scores)


def build(source, resolution: float = 2.0, seed: int = 0, report=print):
    """AnnData: X CSR uint16 counts, obs["cell_type"], var["gene_ids"]."""
    import anndata as ad

    raw = ad.read_h5ad(source)
    X = sp.csr_matrix(raw.X)
    X.eliminate_zeros()
    X.sort_indices()
    assert (
        raw.shape == (2700, 32738)
        and (X.data == np.round(X.data)).all()
        and X.data.min() > 0
        and X.data.max() < 2**16
    )
    keep = np.asarray((X > 0).sum(axis=0)).ravel() >= 3
    counts = X[:, keep].astype(np.uint16)
    names = ad.utils.make_index_unique(pd.Index(raw.var_names.astype(str)))[keep]
    adata = ad.AnnData(
        counts,
        obs=pd.DataFrame(index=raw.obs_names.astype(str)),
        var=pd.DataFrame(
            {"gene_ids": raw.var["gene_ids"].astype(str).to_numpy()[keep]}, index=names
        ),
    )
    adata.obs.index.name = adata.var.index.name = None
    logged, clusters = cluster(adata, resolution, seed)
    scores = name(logged, clusters)
    table = pd.DataFrame(
        {
            "cells": clusters.value_counts().reindex(scores.index),
            "type": scores.idxmax(axis=1),
            "score": scores.max(axis=1),
            "runner-up": scores.apply(lambda r: r.nlargest(2).index[1], axis=1),
            "its score": scores.apply(lambda r: r.nlargest(2).iloc[1], axis=1),
        }
    )
    report(table.round(2).to_string())
    kinds = clusters.map(scores.idxmax(axis=1).to_dict()).astype(str)
    adata.obs["cell_type"] = pd.Categorical(kinds, categories=list(MARKERS))
    assert (adata.obs["cell_type"].value_counts() > 0).all(), (
        "a cell type has no cells; look at the table above"
    )
    return adata


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("source", type=Path)
    p.add_argument(
        "target",
        type=Path,
        nargs="?",
        default=Path(__file__).parents[1] / "scgan_nb" / "resources" / "pbmc3k.h5ad",
    )
    args = p.parse_args()
    adata = build(args.source)
    import h5py
    from anndata.io import write_elem

    from scgan_nb.core.files import atomic_path, fingerprint

    with (
        atomic_path(args.target) as tmp,
        h5py.File(tmp, "w") as f,
    ):  # an .h5ad; `shuffle` saves a fifth and write_h5ad does not offer it
        write_elem(
            f, "/", adata, dataset_kwargs=dict(compression="gzip", compression_opts=9, shuffle=True)
        )
    print(
        adata,
        adata.obs["cell_type"].value_counts().to_string(),
        f"fingerprint {fingerprint(adata)}",
        f"{args.target}: {args.target.stat().st_size / 1e6:.1f} MB",
        sep="\n",
    )


if __name__ == "__main__":
    main()
