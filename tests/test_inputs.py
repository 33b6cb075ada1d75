"""Inputs as other programs and people make them: each is read right, or refused with the facts.

The table has small inputs of every kind, made in code. `read` and the command line are tried on
all of them; a few go through a process of their own.
"""

import gzip
import importlib.util
import io
import json
import re
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp

from scgan_nb.core.presets import experiment_of
from scgan_nb.data.readers import files_read, read
from scgan_nb.data.validation import ReadError
from scgan_nb.reporting.inputs import open_cells
from scgan_nb.workflow.cli import main
from scgan_nb.workflow.experiment_folders import content_sha256

GENES = ["ACTB", "CD3E", "GAPDH", "LYZ", "MS4A1", "NKG7"]
IDS = [f"ENSG0000000000{i}" for i in range(6)]
CELLS = [f"AAACATACAACC{a}{b}-1" for a in "AC" for b in "GTA"][:5]
X = np.array(
    [
        [3, 0, 1, 9, 0, 2],
        [0, 4, 2, 0, 0, 7],
        [1, 0, 0, 0, 5, 0],
        [2, 2, 8, 1, 0, 0],
        [0, 6, 0, 3, 1, 12],
    ]
)


@dataclass
class Case:
    """An input: what writes it, the options of `read`, and what is expected.

    `facts`: words of the refusal; None if it is read. `notes`: words of the warnings.
    """

    name: str
    write: callable
    options: dict = field(default_factory=dict)
    facts: tuple | None = None
    notes: tuple = ()
    cells: list = field(default_factory=lambda: CELLS)
    genes: list = field(default_factory=lambda: GENES)
    x: np.ndarray = field(default_factory=lambda: X)
    obs: tuple = ()
    kind: str = ""

    @property
    def outcome(self):
        """In words, for tables."""
        return "refused" if self.facts else "read with a warning" if self.notes else "read right"


CASES: list[Case] = []
KINDS = []  # the last one is that of the cases that follow


def case(name, write, *facts, **kw):
    assert name not in {c.name for c in CASES}, name
    CASES.append(Case(name, write, facts=facts or None, kind=KINDS[-1], **kw))


# --- text tables

KINDS.append("text table")


def frame(x=X, cells=CELLS, genes=GENES):
    return pd.DataFrame(x, index=cells, columns=genes)


def text(file, content, encoding="utf-8"):
    def write(folder):
        data = content.encode(encoding) if isinstance(content, str) else content
        (folder / file).write_bytes(data)
        return folder / file

    return write


def lines(sep=",", end="", header_end="", corner="gene", quote="", decimal=None, genes=GENES, x=X):
    """A table with genes in rows; `corner` None: the first line is one field short."""

    def quoted(name):
        return f"{quote}{name}{quote}"

    def number(value):
        return str(value) if decimal is None else f"{value}{decimal}0"

    head = [quoted(name) for name in CELLS]
    rows = [sep.join(([] if corner is None else [quoted(corner)]) + head) + header_end]
    for gene, values in zip(genes, np.transpose(x), strict=True):
        rows.append(sep.join([quoted(gene), *map(number, values)]) + end)
    return "\n".join(rows) + "\n"


SEPARATORS = {"tab": "\t", "comma": ",", "semicolon": ";", "space": " "}
for kind, sep in SEPARATORS.items():
    case(f"table, {kind}", text("t.txt", lines(sep)))
    case(f"table of R, {kind}", text("t.txt", lines(sep, corner=None)))
    case(f"table of R, quoted, {kind}", text("t.txt", lines(sep, corner=None, quote='"')))
    case(f"table, quoted, {kind}", text("t.csv", lines(sep, quote='"')))
    case(f"table, separator at line ends, {kind}", text("t.csv", lines(sep, end=sep)))
    case(
        f"table, separator at all ends, {kind}",
        text("t.csv", lines(sep, end=sep, header_end=sep)),
    )
    case(
        f"table of R, separator at line ends, {kind}",
        text("t.csv", lines(sep, end=sep, corner=None)),
    )
    case(
        f"table of R, separator at all ends, {kind}",
        text("t.csv", lines(sep, end=sep, header_end=sep, corner=None)),
    )
case("table, gzip", text("t.csv.gz", gzip.compress(lines().encode())))
case("table, gzip without the suffix", text("t.csv", gzip.compress(lines().encode())))
case("table, Windows lines", text("t.csv", lines().replace("\n", "\r\n")))
case("table, comments", text("t.tsv", "# by hand\n# twice\n" + lines("\t")))
case("table, Excel", text("t.csv", "sep=;\n" + lines(";")))
case("table, Excel, quoted", text("t.csv", '"sep=,"\n' + lines(",")))
case("table, decimal comma", text("t.csv", lines(";", decimal=",")))
case("table, decimal comma, tabs", text("t.tsv", lines("\t", decimal=",")))
case("table, decimal point", text("t.csv", lines(",", decimal=".")))
case(
    "table, a late decimal comma",
    text("t.csv", lines(";").replace(";12\n", ";12,0\n")),
)
case(
    "table, thousands",
    text("t.csv", lines(";").replace(";12\n", ";1.234.567\n").replace(";0;7", ";0;1,234")),
    "separators of thousands",
    "write them without",
)
for encoding in ("utf-8-sig", "utf-16", "utf-32"):
    case(f"table, {encoding}", text("t.csv", lines(), encoding))
case("table, utf-16 without a mark", text("t.csv", lines(), "utf-16-le"))
case(
    "table, Latin-1",
    text("t.csv", lines(genes=["µORF", *GENES[1:]]), "latin-1"),
    genes=["µORF", *GENES[1:]],
    notes=("not in UTF-8",),
)
case("table, no text", text("t.csv", bytes(range(256)) * 20), "is not text")
case("table, cells in rows", text("t.csv", frame().to_csv()), notes=("took cells as rows",))
case("table, genes in rows", text("t.csv", frame().T.to_csv()), notes=("took genes as rows",))
case(
    "table, blank gene kept",
    text("t.csv", lines(genes=["NA", *GENES[1:]])),
    genes=["NA", *GENES[1:]],
)
case(
    "table, repeated gene",
    text("t.csv", lines(genes=[*GENES[:5], "LYZ"])),
    genes=[*GENES[:5], "LYZ-1"],
)

META = frame().assign(
    nCount_RNA=X.sum(1),
    nFeature_RNA=(X > 0).sum(1),
    **{"percent.mt": [0.5, 1.25, 0, 2, 3.5]},
    seurat_clusters=[0, 1, 0, 2, 1],
)
case(
    "annotations as columns",
    text("t.csv", META.to_csv()),
    notes=("nCount_RNA",),
    obs=("nCount_RNA", "percent.mt", "seurat_clusters"),
)
case(
    "annotations as rows",
    text("t.csv", META.T.to_csv()),
    notes=("nCount_RNA",),
    obs=("nFeature_RNA", "percent.mt"),
)
case(
    "annotations of scanpy",
    text(
        "t.csv",
        frame()
        .assign(n_genes_by_counts=1, total_counts=X.sum(1), pct_counts_mt=0.1, leiden=list("00112"))
        .to_csv(),
    ),
    obs=("leiden", "pct_counts_mt"),
    notes=("n_genes_by_counts",),
)
case(
    "annotations as text",
    text("t.csv", frame().assign(cell_type=list("TTBBN"), Donor="d1").to_csv()),
    obs=("cell_type", "Donor"),
    notes=("cell_type",),
)
case(
    "annotations in front",
    text("t.csv", META[META.columns[::-1]].to_csv()),
    genes=GENES[::-1],
    x=X[:, ::-1],
    notes=("seurat_clusters",),
)
case(
    "annotations of genes",
    text(
        "t.tsv",
        "# Program:featureCounts\n"
        + frame()
        .T.assign(Chr="1;1", Start=5, End=9, Strand="+", Length=900)[
            ["Chr", "Start", "End", "Strand", "Length", *CELLS]
        ]
        .rename_axis("Geneid")
        .to_csv(sep="\t"),
    ),
    notes=("Chr",),
)
case(
    "gene names as a column",
    text("t.csv", frame(genes=IDS).T.assign(gene_name=GENES).rename_axis("gene_id").to_csv()),
    genes=IDS,
    notes=("gene_name",),
)
case(
    "text in an unknown column",
    text("t.csv", frame().assign(remark="x").to_csv()),
    "text among its numbers",
    "remark",
    "remove this column",
)
case(
    "text further down",
    text("t.csv", lines().replace(",12", ",twelve")),
    "text among its numbers",
    "twelve",
)
case("a gap", text("t.csv", lines().replace(",12", ",")), "no number in row NKG7", CELLS[4])
case("a line too short", text("t.csv", lines().replace(",7,0,0,12", "")), "no number in row NKG7")
case("a line too long", text("t.csv", lines().replace(",12", ",12,3")), "NKG7", "more fields")
case("a line much too long", text("t.csv", lines().replace(",12", ",12,3,4,5")), "no regular table")
case(
    "a column without a name", text("t.csv", lines().replace(CELLS[2], "")), "no name for column 4"
)
case("no heading", text("t.csv", "".join(lines().splitlines(True)[1:])), "starts with numbers")
case("one line", text("t.csv", "gene,c1\n"), "one line only")
case("one column", text("t.csv", "gene\nACTB\n"), "one column only")
case("nothing but a comment", text("t.csv", "# nothing\n"), "no lines of data")
case("empty file", text("t.csv", ""), "is an empty file")
case("web page", text("t.csv", "<!DOCTYPE html><html>log in</html>"), "is a web page")
case("unknown suffix", text("t.docx", "x"), "suffix that is not known", ".h5ad")
case("missing file", lambda folder: folder / "no.csv", "there is no")
case("archive under another name", text("t.csv", b"PK\x03\x04" + bytes(30)), "archive", "unpack")
case("cut short gzip", text("t.csv.gz", gzip.compress(lines().encode())[:60]), "cut short")

# orientation
WELLS = ["A01", "A02", "B07", "C11", "P24"]
FLY = [f"FBgn000000{i}" for i in range(6)]
RHAPSODY = [f"{gene}|NM_00000{i}.2|Reference_end" for i, gene in enumerate(GENES)]
for kind, cells, genes in (
    ("FlyBase and wells", WELLS, FLY),
    ("worms and runs", [f"SRR100{i}" for i in range(5)], [f"WBGene0000000{i}" for i in range(6)]),
    ("plants and cells", [f"cell_{i}" for i in range(5)], [f"AT1G0101{i}" for i in range(6)]),
    ("mouse and plates", [f"p1_{w}" for w in WELLS], [g.title() for g in GENES]),
    ("ids and samples", [f"sample{i}" for i in range(5)], IDS),
    ("yeast", [f"c{i}" for i in range(5)], [f"YAL00{i}C" for i in range(6)]),
    ("Rhapsody targeted", ["23", "7", "1021", "55", "9"], RHAPSODY),
):
    for where, table in (("rows", frame(X, cells, genes)), ("columns", frame(X, cells, genes).T)):
        case(f"{kind}, cells in {where}", text("t.csv", table.to_csv()), cells=cells, genes=genes)
ANY = (list("vwxyz"), [f"{a}{a}" for a in "klmnop"])
case(
    "names that do not tell",
    text("t.csv", frame(X, *ANY).to_csv()),
    "set transpose to true",
    "vwxyz"[0],
)
case(
    "transpose=False",
    text("t.csv", frame(X, *ANY).to_csv()),
    options={"transpose": False},
    cells=ANY[0],
    genes=ANY[1],
)
case(
    "transpose=True",
    text("t.csv", frame(X, *ANY).T.to_csv()),
    options={"transpose": True},
    cells=ANY[0],
    genes=ANY[1],
)
case(
    "a heading tells",
    text("t.csv", frame(X, *ANY).rename_axis("Cell_Index").to_csv()),
    cells=ANY[0],
    genes=ANY[1],
)
case(
    "a heading contradicts",
    text("t.csv", frame().rename_axis("gene").to_csv()),
    "transpose",
    "look otherwise",
)
case(
    "Rhapsody RSEC",
    text(
        "s_RSEC_MolsPerCell.csv",
        "## BD\n#####\n"
        + frame(
            np.c_[X, X[:, :1]], [str(i) for i in range(5)], [*RHAPSODY, "CD3:SK7|CD3E|AHS0033|pAbO"]
        )
        .rename_axis("Cell_Index")
        .to_csv(),
    ),
    cells=[str(i) for i in range(5)],
    genes=RHAPSODY,
    notes=("antibodies",),
)

# what is no gene, in text
for kind, names in (
    ("htseq", ["__no_feature", "__ambiguous", "__alignment_not_unique"]),
    ("STAR", ["N_unmapped", "N_multimapping", "N_noFeature"]),
    ("TotalSeq", ["CD3_TotalSeqB", "CD19-TotalSeqC"]),
    ("hashtags", ["HTO_1", "HTO-2"]),
    ("spike-ins", ["ERCC-00002", "ERCC-00108"]),
):
    more = np.c_[X, np.full((5, len(names)), 1000)]
    case(
        f"rows of {kind}",
        text("t.tsv", frame(more, CELLS, [*GENES, *names]).T.to_csv(sep="\t")),
        notes=(names[0],),
    )
case(
    "only hashtags",
    text("t.csv", frame(X, CELLS, [f"HTO_{i}" for i in range(6)]).to_csv()),
    "no genes",
    options={"transpose": False},
)
case(
    "dates for genes",
    text("t.csv", lines(genes=["2-Sep", "Mar-01", *GENES[2:]])),
    notes=("look like dates", "2-Sep"),
    genes=["2-Sep", "Mar-01", *GENES[2:]],
)
case(
    "powers for genes",
    text("t.csv", lines(genes=["2.31E+19", *GENES[1:]])),
    notes=("2.31E+19",),
    genes=["2.31E+19", *GENES[1:]],
)

# as spreadsheets and scripts leave them
case("table, blank lines at the end", text("t.csv", lines() + "\n\n\n"))
case("table, CR lines", text("t.csv", lines().replace("\n", "\r")))
case("table, spaces around fields", text("t.csv", lines().replace(",", ", ")))
case("table, names with spaces behind", text("t.tsv", lines("\t", genes=["ACTB ", *GENES[1:]])))
case(
    "table, all fields quoted",
    text("t.csv", re.sub(r"[^,\n]+", r'"\g<0>"', lines())),
)
case("table, numbers with signs", text("t.csv", lines().replace(",12\n", ",+12\n")))
case(
    "table, scientific notation",
    text("t.csv", lines().replace(",12\n", ",1e+05\n")),
    x=np.where(X == 12, 100_000, X),
)
for kind, number in (("underscores", "1_000"), ("other digits", "١٢"), ("hexadecimal", "0x0C")):
    case(
        f"table, {kind}",
        text("t.csv", lines().replace(",12\n", f",{number}\n")),
        "text among its numbers",
    )
for kind, number in (("quoted", '"1,012"'), ("space", "1 012")):
    case(
        f"table, thousands, {kind}",
        text("t.csv", lines().replace(",12\n", f",{number}\n")),
        "separators of thousands",
    )
case("table, Unnamed: 0", text("t.csv", lines(corner="Unnamed: 0")))
case("Drop-seq", text("s.dge.txt.gz", gzip.compress(lines("\t", corner="GENE").encode())))
case(
    "table, repeated cell",
    text("t.csv", lines().replace(CELLS[1], CELLS[0])),
    cells=[CELLS[0], f"{CELLS[0]}-1", *CELLS[2:]],
    notes=("not unique", CELLS[0]),
)
case(
    "one cell without a heading",
    text("t.tsv", "".join(f"{gene}\t{n}\n" for gene, n in zip(GENES, X[0], strict=True))),
    "starts with numbers",
)
case(
    "a total among the cells",
    text("t.csv", frame().T.assign(everything=X.sum(0)).to_csv()),
    cells=[*CELLS, "everything"],
    x=np.vstack([X, X.sum(0)]),
    notes=("everything is the sum of all other cells",),
)
case(
    "age and donor as columns",
    text("t.csv", frame().assign(age=[61, 61, 55, 55, 40], donor_id=[1, 1, 2, 2, 3]).to_csv()),
    obs=("age", "donor_id"),
    notes=("annotations",),
)
case(
    "genes of Drosophila that are words",
    text("t.csv", frame().rename(columns={GENES[0]: "run", GENES[1]: "Rep"}).to_csv()),
    genes=["run", "Rep", *GENES[2:]],
)
case(
    "age as a row",
    text("t.csv", frame().assign(age=[61, 61, 55, 55, 40]).T.to_csv()),
    obs=("age",),
    notes=("age",),
)

# triplets
TRIPLETS = [(GENES[j], CELLS[i], X[i, j]) for i, j in zip(*np.nonzero(X), strict=True)]
TRIPLET_CELLS = list(dict.fromkeys(c for _, c, _ in TRIPLETS))
TRIPLET_GENES = list(dict.fromkeys(g for g, _, _ in TRIPLETS))
ORDER = [GENES.index(g) for g in TRIPLET_GENES]
for kind, head in (("heading", ["gene", "cell", "count"]), ("no heading", None)):
    content = pd.DataFrame(TRIPLETS, columns=head).to_csv(
        index=False, sep="\t", header=head is not None
    )
    case(f"triplets, {kind}", text("t.tsv", content), genes=TRIPLET_GENES, x=X[:, ORDER])


# --- values

KINDS.append("values that are no counts")


def values(change, **options):
    return text("t.csv", frame(change(X.astype(float))).to_csv())


case("logarithms", values(np.log1p), "log-transformed", "ACTB")
case(
    "logarithms of normalised",
    values(lambda x: np.log1p(1e4 * x / x.sum(1, keepdims=True))),
    "log-transformed",
)
case("log2", values(lambda x: np.log2(1.7 * x + 1)), "log2-transformed")
case("CPM", values(lambda x: 1e6 * x / x.sum(1, keepdims=True)), "normalised")
case(
    "CPM, round",
    values(lambda x: 1e6 * x / x.sum(1, keepdims=True)),
    "normalised",
    "rounding",
    options={"round": True},
)
case("logarithms, round", values(np.log1p), "log-transformed", "rounding", options={"round": True})
case(
    "rounded CPM",
    values(lambda x: np.rint(1e6 * x / x.sum(1, keepdims=True))),
    notes=("same total",),
    x=np.rint(1e6 * X / X.sum(1, keepdims=True)),
)
case("only 0 and 1", values(lambda x: 1.0 * (x > 0)), notes=("0 or 1",), x=1 * (X > 0))
EM = X + np.where(X == 2, 0.37, 0) + np.where(X == 3, -0.21, 0)
case("estimated counts", values(lambda x: EM), "fractions", "set round to true", "6 of")
case(
    "estimated counts, round",
    values(lambda x: EM),
    options={"round": True},
    notes=("6 values were rounded",),
)
case("ambient RNA removed", values(lambda x: x * 0.91 + 0.033 * (x > 4)), "set round to true")
case(
    "a few negatives",
    values(lambda x: x - 2.0 * ((x == 1) & (np.arange(6) == 2))),
    "-1",
    "set clip to true",
    "1 of",
)
case(
    "a few negatives, clip",
    values(lambda x: x - 2.0 * ((x == 1) & (np.arange(6) == 2))),
    options={"clip": True},
    notes=("1 negative values",),
    x=np.where((X == 1) & (np.arange(6) == 2), 0, X),
)
NEGATIVE_EM = np.where((X == 1) & (np.arange(6) == 2), -0.25, EM)
case("negatives and fractions", values(lambda x: NEGATIVE_EM), "set clip and round to true")
case(
    "negatives and fractions, both",
    values(lambda x: NEGATIVE_EM),
    options={"clip": True, "round": True},
    x=np.where((X == 1) & (np.arange(6) == 2), 0, X),
)
case("scaled", values(lambda x: x - x.mean(0)), "scaled or centred")
case(
    "scaled, clip and round",
    values(lambda x: x - x.mean(0)),
    "too many to clip",
    options={"clip": True, "round": True},
)
case("a fraction late", values(lambda x: np.where(x == 12, 11.999, x)), "11.999", "round")
case("nearly whole", values(lambda x: np.where(x == 3, 3.0000002, x)), "3.0000002")
case("all zero", values(lambda x: 0 * x), "values are zero")
case("more than 2**24", values(lambda x: np.where(x == 12, 2.0**24 + 1, x)), "16,777,216", "NKG7")
case(
    "just below 2**24",
    values(lambda x: np.where(x == 12, 2.0**24 - 1, x)),
    x=np.where(X == 12, 2**24 - 1, X),
)
case("infinite", values(lambda x: np.where(x == 12, np.inf, x)), "inf", "gaps")


# --- AnnData

KINDS.append("AnnData file")


def adata(x=X, dtype=np.float32, **var):
    return ad.AnnData(
        sp.csr_matrix(np.asarray(x, dtype=dtype)),
        obs=pd.DataFrame({"cell_type": list("TTBBN")}, index=CELLS),
        var=pd.DataFrame({"gene_ids": IDS, **var}, index=GENES),
    )


def written(make, file="c.h5ad", after=None):
    def write(folder):
        path = folder / file
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cells = make()
            cells.write_zarr(path) if ".zarr" in file else cells.write_h5ad(path)
        return after(path) if after else path

    return write


def with_layers(x=None, raw=None, **layers):
    cells = adata(X if x is None else x)
    if raw is not None:
        cells.raw = adata(raw)
    for name, values in layers.items():
        cells.layers[name] = sp.csr_matrix(np.asarray(values, np.float32))
    return cells


def extra_types(column, *types):
    cells = adata()
    cells.var[column] = list(types)
    return cells


def packed(path):
    out = path.with_name(path.name + ".gz")
    out.write_bytes(gzip.compress(path.read_bytes()))
    return out


def zipped(path):
    return shutil.make_archive(path, "zip", path)


def changed_h5(change):
    def after(path):
        with h5py.File(path, "a") as file:
            change(file)
        return path

    return after


RNA, AB = "Gene Expression", "Antibody Capture"
LOG = np.log1p(X)
for file in ("c.h5ad", "c.zarr", "c.h5"):
    case(f"AnnData, {file}", written(adata, file))
    case(
        f"antibodies and guides, {file}",
        written(
            lambda: extra_types(
                "feature_types", RNA, RNA, AB, RNA, "CRISPR Guide Capture", "Peaks"
            ),
            file,
        ),
        genes=[GENES[i] for i in (0, 1, 3)],
        x=X[:, [0, 1, 3]],
        notes=(AB, "Peaks"),
    )
case(
    "types in any column",
    written(lambda: extra_types("kind", RNA, RNA, AB, RNA, RNA, RNA)),
    genes=[*GENES[:2], *GENES[3:]],
    x=np.delete(X, 2, 1),
    notes=(AB,),
)
case(
    "modality",
    written(lambda: extra_types("modality", RNA, "Peaks", RNA, RNA, RNA, RNA)),
    genes=[GENES[0], *GENES[2:]],
    x=np.delete(X, 1, 1),
    notes=("Peaks",),
)
case(
    "a blank type",
    written(lambda: extra_types("feature_types", RNA, "", RNA, "", RNA, AB)),
    genes=GENES[:5],
    x=X[:, :5],
    notes=(AB,),
)
case("biotypes", written(lambda: extra_types("feature_type", *["protein_coding", "lncRNA"] * 3)))
case(
    "only antibodies",
    written(lambda: extra_types("feature_types", *[AB] * 6)),
    "Gene Expression",
    AB,
)
case("layer counts", written(lambda: with_layers(LOG, counts=X)))
case(
    "layer of another name",
    written(lambda: with_layers(LOG, molecules=X)),
    "log-transformed",
    "layer='molecules'",
)
case("layer chosen", written(lambda: with_layers(LOG, molecules=X)), options={"layer": "molecules"})
case("counts in raw", written(lambda: with_layers(LOG, raw=X)), "log-transformed", "layer='raw'")
case("counts in raw, zarr", written(lambda: with_layers(LOG, raw=X), "c.zarr"), "layer='raw'")
case("raw chosen", written(lambda: with_layers(LOG, raw=X)), options={"layer": "raw"})
case("no counts anywhere", written(lambda: with_layers(LOG, raw=LOG)), "log-transformed")
case("unknown layer", written(adata), "no layer 'spliced'", "X", options={"layer": "spliced"})
case("gzip", written(adata, after=packed))
case(
    "gzip of antibodies",
    written(lambda: extra_types("feature_types", RNA, RNA, AB, RNA, RNA, RNA), after=packed),
    genes=[*GENES[:2], *GENES[3:]],
    x=np.delete(X, 2, 1),
)
case("zarr.zip", written(adata, "c.zarr", after=zipped))
case(
    "HDF5 under another name",
    written(adata, after=lambda path: path.rename(path.with_suffix(".txt"))),
)
case("whole numbers as int64", written(lambda: adata(dtype=np.int64)))
case("float64", written(lambda: adata(dtype=np.float64)))
case(
    "column-wise",
    written(lambda: ad.AnnData(sp.csc_matrix(X.astype(float)), obs=adata().obs, var=adata().var)),
)
case("dense", written(lambda: ad.AnnData(X.astype(float), obs=adata().obs, var=adata().var)))
case("stray item", written(adata, after=changed_h5(lambda f: f.create_dataset("note", data="x"))))
case("no marks at the top", written(adata, after=changed_h5(lambda f: f.attrs.clear())))


def unmarked_and_stray(file):
    file.attrs.clear()
    file["note"] = "x"


case("no marks and a stray item", written(adata, after=changed_h5(unmarked_and_stray)))


def set_value(name, at, value):
    def change(file):
        file[name][at] = value

    return changed_h5(change)


case(
    "damaged indptr",
    written(adata, after=set_value("X/indptr", 2, 10**6)),
    "index arrays",
    "damaged",
)
case("falling indptr", written(adata, after=set_value("X/indptr", 1, 9)), "index arrays", "damaged")
case("damaged indices", written(adata, after=set_value("X/indices", 3, 99)), "damaged")
case("negative index", written(adata, after=set_value("X/indices", 3, -1)), "damaged")
case(
    "cut short h5ad",
    written(adata, after=lambda p: [p.write_bytes(p.read_bytes()[:3000]), p][1]),
    "cut short",
)
case("turned AnnData", written(lambda: adata().T), "names of genes in obs", "transpose")
case("turned AnnData, transpose", written(lambda: adata().T), options={"transpose": True})
case(
    "turned AnnData, kept",
    written(lambda: adata().T),
    options={"transpose": False},
    cells=GENES,
    genes=CELLS,
    x=X.T,
)


def cellxgene():
    cells = with_layers(LOG, raw=X)
    for table in (cells.var, cells.raw.var):
        table["feature_name"] = pd.Categorical(GENES)
        table.index = IDS
    return cells


case("CELLxGENE", written(cellxgene), notes=("took the counts from raw",))
case("CELLxGENE, X", written(cellxgene), "log-transformed", options={"layer": "X"})


def blank_names():
    cells = adata()
    cells.var_names = ["", *GENES[1:5], ""]
    return cells


case("blank symbols", written(blank_names), genes=[IDS[0], *GENES[1:5], IDS[5]])


def of_values(values):
    return lambda: ad.AnnData(values, obs=adata().obs, var=adata().var)


for dtype in ("int8", "uint64", ">f4", ">i2", "float16"):
    case(f"values of type {dtype}", written(of_values(X.astype(dtype))))
case(
    "values of type int8, overflowed",
    written(of_values((20 * X).astype(np.int8))),
    "-76",
    "never negative",
)
case(
    "values of type float16, rounded",
    written(of_values((1000 * X).astype(np.float16))),
    x=(1000 * X).astype(np.float16),
    notes=("float16",),
)
case("values of type bool", written(of_values(X > 0)), x=1 * (X > 0), notes=("0 or 1",))
case(
    "entries stored twice",
    written(of_values(sp.csr_matrix(([3.0, 1, 2, 5], [1, 1, 2, 3], [0, 2, 3, 4, 4, 4]), (5, 6)))),
    x=sp.csr_matrix(([4.0, 2, 5], [1, 2, 3], [0, 1, 2, 3, 3, 3]), (5, 6)).toarray(),
    notes=("1 entries", "stored twice"),
)


def numbered_genes():
    cells = adata(gene_symbols=GENES)
    cells.var_names = list("012345")
    return cells


case("symbols in a column, numbers as names", written(numbered_genes))


def other_shape(file):
    file["layers/counts"] = X[:4]


case("a layer of another shape", written(adata, after=changed_h5(other_shape)), "4 x 6", "5 cells")


# --- matrices with files beside them

KINDS.append("matrix folder")


def matrix(name, parts, *, turn=True, x=X, ending="", comment=""):
    """A folder with a matrix and other files, {name: lines}; `turn`: genes in rows."""

    def write(folder):
        file = io.BytesIO()
        scipy.io.mmwrite(file, sp.coo_matrix(x.T if turn else x), comment=comment)
        for part, content in {name: file.getvalue(), **parts}.items():
            data = content if isinstance(content, bytes) else ("\n".join(content) + "\n").encode()
            path = folder / (part + ending)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(data) if ending else data)
        return folder

    return write


def features(sep="\t", names=GENES, kind=RNA, quote=""):
    fields = zip(IDS, names, kind if isinstance(kind, list) else [kind] * 6, strict=True)
    return [sep.join(f"{quote}{x}{quote}" for x in row if x is not None) for row in fields]


def tenx(**kw):
    return {"features.tsv": features(**kw), "barcodes.tsv": CELLS}


NO_TYPE = [None] * 6
case("10x folder", matrix("matrix.mtx", tenx()))
case("10x folder, gzip", matrix("matrix.mtx", tenx(), ending=".gz"))
case(
    "10x version 2",
    matrix("matrix.mtx", {"genes.tsv": features(kind=NO_TYPE), "barcodes.tsv": CELLS}),
)
case("10x, cells in rows", matrix("matrix.mtx", tenx(), turn=False))
case(
    "10x with a prefix",
    matrix("GSM1_matrix.mtx", {"GSM1_features.tsv": features(), "GSM1_barcodes.tsv": CELLS}),
)
case("10x, commas", matrix("matrix.mtx", tenx(sep=",")))
case("10x, commas and quotes", matrix("matrix.mtx", tenx(sep=",", quote='"')))
case("10x, spaces", matrix("matrix.mtx", tenx(sep=" ", kind=NO_TYPE)))
case("10x, quotes", matrix("matrix.mtx", tenx(quote='"')))
case("10x, one column", matrix("matrix.mtx", {"features.tsv": GENES, "barcodes.tsv": CELLS}))
case(
    "10x, symbols first",
    matrix(
        "matrix.mtx",
        {
            "features.tsv": [f"{g}\t{i}" for g, i in zip(GENES, IDS, strict=True)],
            "barcodes.tsv": CELLS,
        },
    ),
)
case(
    "10x, headings",
    matrix(
        "matrix.mtx",
        {
            "features.tsv": ["gene_id\tgene_name", *features(kind=NO_TYPE)],
            "barcodes.tsv": ["barcode", *CELLS],
        },
    ),
)
case(
    "10x of R, numbered",
    matrix(
        "matrix.mtx",
        {
            "features.tsv": ['"","x"', *(f'"{i + 1}","{g}"' for i, g in enumerate(GENES))],
            "barcodes.tsv": ['"","x"', *(f'"{i + 1}","{c}"' for i, c in enumerate(CELLS))],
        },
    ),
)
case(
    "10x, blank symbols",
    matrix("matrix.mtx", tenx(names=["", *GENES[1:5], ""])),
    genes=[IDS[0], *GENES[1:5], IDS[5]],
)
case(
    "10x, nan symbols",
    matrix("matrix.mtx", tenx(names=["nan", *GENES[1:5], "nan"])),
    genes=[IDS[0], *GENES[1:5], IDS[5]],
)
case("10x, a blank type", matrix("matrix.mtx", tenx(kind=[RNA, "", RNA, "", RNA, ""])))
case(
    "10x with antibodies",
    matrix("matrix.mtx", tenx(kind=[RNA] * 4 + [AB] * 2)),
    genes=GENES[:4],
    x=X[:, :4],
    notes=(AB,),
)
case(
    "10x, Rhapsody antibodies",
    matrix("matrix.mtx", tenx(names=[*GENES[:5], "CD3:SK7|CD3E|AHS0033|pAbO"])),
    genes=GENES[:5],
    x=X[:, :5],
    notes=("antibodies",),
)
case(
    "10x, missing barcodes",
    matrix("matrix.mtx", {"features.tsv": features()}),
    "barcodes.tsv",
    "there is none",
)
case(
    "10x, other barcodes",
    matrix("matrix.mtx", {"features.tsv": features(), "barcodes.tsv": CELLS[:3]}),
    "6 x 5",
    "3 cells",
)
case("empty folder", lambda folder: folder, "holds no matrix.mtx")
case(
    "square 10x",
    matrix("matrix.mtx", {"features.tsv": features()[:5], "barcodes.tsv": CELLS}, x=X[:, :5]),
    "as many rows as columns",
    "transpose",
)
case(
    "square 10x, transpose",
    matrix("matrix.mtx", {"features.tsv": features()[:5], "barcodes.tsv": CELLS}, x=X[:, :5]),
    options={"transpose": True},
    genes=GENES[:5],
    x=X[:, :5],
)
case(
    "square Cell Ranger",
    matrix(
        "matrix.mtx",
        {"features.tsv": features()[:5], "barcodes.tsv": CELLS},
        x=X[:, :5],
        comment='metadata_json: {"software_version": "cellranger-7.1.0"}',
    ),
    genes=GENES[:5],
    x=X[:, :5],
)
case(
    "two matrices",
    matrix(
        "a_matrix.mtx",
        {
            f"{p}_{n}.tsv": v
            for p in "ab"
            for n, v in (("features", features()), ("barcodes", CELLS))
        }
        | {"b_matrix.mtx": b"x"},
    ),
    "several matrices",
    "a_matrix.mtx",
)
PARSE = [
    "gene_id,gene_name,genome",
    *(f"{i},{g},hg38" for i, g in zip(IDS, ["", *GENES[1:]], strict=True)),
]
PARSE_CELLS = ["bc_wells,sample,tscp_count", *(f"{c},s{i},{i}" for i, c in enumerate(CELLS))]
for name in ("count_matrix.mtx", "DGE.mtx"):
    for ending in ("", ".gz"):
        case(
            f"Parse, {name}{ending}",
            matrix(
                name,
                {"all_genes.csv": PARSE, "cell_metadata.csv": PARSE_CELLS},
                turn=False,
                ending=ending,
            ),
            genes=[IDS[0], *GENES[1:]],
            obs=("sample", "tscp_count"),
        )
case(
    "Parse, above",
    matrix(
        "all-sample/DGE_filtered/count_matrix.mtx",
        {
            f"all-sample/DGE_filtered/{n}": v
            for n, v in (("all_genes.csv", PARSE), ("cell_metadata.csv", PARSE_CELLS))
        },
        turn=False,
    ),
    genes=[IDS[0], *GENES[1:]],
)
KB = {"cells_x_genes.genes.txt": IDS, "cells_x_genes.barcodes.txt": CELLS}
case("kallisto", matrix("cells_x_genes.mtx", KB, turn=False), genes=IDS)
case(
    "kallisto with names",
    matrix("cells_x_genes.mtx", {**KB, "cells_x_genes.genes.names.txt": GENES}, turn=False),
)
case(
    "kallisto, square",
    matrix("cells_x_genes.mtx", {**KB, "cells_x_genes.genes.txt": IDS[:5]}, turn=False, x=X[:, :5]),
    genes=IDS[:5],
    x=X[:, :5],
)
FRY = {
    "alevin/quants_mat_rows.txt": CELLS,
    "alevin/quants_mat_cols.txt": GENES,
    "quant.json": ["{}"],
}
case("alevin-fry", matrix("alevin/quants_mat.mtx", FRY, turn=False))
SPLICED = {
    **FRY,
    "alevin/quants_mat_cols.txt": [*GENES[:2], *(f"{g}-{s}" for s in "UA" for g in GENES[:2])],
}
case(
    "alevin-fry, three states",
    matrix("alevin/quants_mat.mtx", SPLICED, turn=False),
    genes=GENES[:2],
    x=X[:, :2] + X[:, 4:],
    notes=("unspliced",),
)


ENTRIES = [(j + 1, i + 1, X[i, j]) for i, j in zip(*np.nonzero(X), strict=True)]


def matrix_text(entries=ENTRIES, kind="integer", head="%%MatrixMarket matrix coordinate"):
    """A 10x folder whose matrix has these lines."""
    body = "".join(f"{gene} {cell} {number}\n" for gene, cell, number in entries)

    def write(folder):
        start = f"{head} {kind} general\n6 5 {len(entries)}\n"
        folder.mkdir(exist_ok=True)
        (folder / "matrix.mtx").write_text(start + body)
        for name, content in tenx().items():
            (folder / name).write_text("\n".join(content) + "\n")
        return folder

    return write


def with_number(change):
    return [(gene, cell, change(number)) for gene, cell, number in ENTRIES]


case("mtx, integer", matrix_text())
case("mtx, real", matrix_text(with_number("{}.0".format), "real"))
case("mtx, other letters", matrix_text(head="%%matrixmarket MATRIX Coordinate"))
case("mtx, byte-order mark", matrix_text(head="\ufeff%%MatrixMarket matrix coordinate"))
case("mtx, fractions called integer", matrix_text(with_number("{}.5".format)), "3.5", "fractions")
case("mtx, decimal comma", matrix_text(with_number("{},7".format), "real"), "','", "decimal point")
case("mtx, text", matrix_text(with_number("{}x".format)), "'x'", "among its numbers")
case("mtx, no heading", matrix_text(head="% by hand"), "%%MatrixMarket")
case("mtx, entries twice", matrix_text(ENTRIES + ENTRIES[:3]), "3 of its 20 entries", "twice")
case("mtx, numbered from 0", matrix_text([(g - 1, c - 1, n) for g, c, n in ENTRIES]), "damaged")
case("mtx, beyond the last row", matrix_text([(g + 1, c, n) for g, c, n in ENTRIES]), "damaged")
case("mtx, pattern", matrix_text(with_number(lambda n: ""), "pattern"), x=1 * (X > 0), notes=("1",))
case("mtx, very large numbers", matrix_text(with_number(lambda n: 2**70)), "16,777,216")
case(
    "10x, names with spaces behind",
    matrix("matrix.mtx", {"features.tsv": [f"{g} " for g in GENES], "barcodes.tsv": CELLS}),
)
case(
    "10x of R, headings V1 to V3",
    matrix(
        "matrix.mtx",
        {"features.tsv": ["V1\tV2\tV3", *features()], "barcodes.tsv": ["x", *CELLS]},
    ),
)
case(
    "10x, names of another sample",
    matrix("GSM2_matrix.mtx", {"GSM1_features.tsv": features(), "GSM1_barcodes.tsv": CELLS}),
    "GSM2_features.tsv",
    "there is none",
)


def below(*places):
    """10x folders below one; the first holds the counts, the others ten times as much."""

    def write(folder):
        for number, place in enumerate(places):
            matrix("matrix.mtx", tenx(), x=X * (10 if number else 1))(folder / place)
        return folder

    return write


case(
    "Cell Ranger outs",
    below("outs/filtered_feature_bc_matrix", "outs/raw_feature_bc_matrix"),
    notes=("filtered", "not outs/raw"),
)
case(
    "Cell Ranger multi",
    below(
        "outs/per_sample_outs/a/count/sample_filtered_feature_bc_matrix",
        "outs/multi/count/raw_feature_bc_matrix",
    ),
    notes=("took",),
)
case("only raw", below("raw_feature_bc_matrix"), notes=("droplets",))
case("Cell Ranger 2", below("filtered_gene_bc_matrices/hg19"))
case(
    "STARsolo",
    below("Gene/filtered", "Gene/raw", "GeneFull/filtered", "SJ/raw"),
    notes=("Gene/filtered",),
)
case("two samples", below("a", "b"), "several matrices", "a/matrix.mtx")
case("a generic folder", matrix("counts.mtx", {"genes.csv": GENES, "barcodes.csv": CELLS}))


# --- other HDF5

KINDS.append("other HDF5 file")


def loom(folder, turn=False, names=GENES):
    with h5py.File(folder / "c.loom", "w") as file:
        file["matrix"] = X.T
        file["row_attrs/Gene"] = np.array(names, "S")
        file["col_attrs/CellID"] = np.array(CELLS, "S")
        file["col_attrs/ClusterName"] = np.array(list("TTBBN"), "S")
        file.create_group("layers")["spliced"] = X.T // 2
    return folder / "c.loom"


def h5mu(*names):
    def write(folder):
        with h5py.File(folder / "c.h5mu", "w") as file:
            for number, name in enumerate(names):
                ad.io.write_elem(file, f"mod/{name}", adata(X * (10 if number else 1)))
            ad.io.write_elem(file, "obs", adata().obs)
        return folder / "c.h5mu"

    return write


def tenx_h5(folder, **change):
    with h5py.File(folder / "c.h5", "w") as file:
        counts = sp.csr_matrix(X)
        parts = {"data": counts.data, "indices": counts.indices, "indptr": counts.indptr}
        parts |= {"shape": [6, 5], "barcodes": np.array(CELLS, "S")} | change
        for name, value in parts.items():
            file[f"matrix/{name}"] = value
        types = [RNA] * 5 + [AB]
        for name, value in (
            ("id", IDS),
            ("name", GENES),
            ("feature_type", types),
            ("genome", ["a"] * 6),
        ):
            file[f"matrix/features/{name}"] = np.array(value, "S")
    return folder / "c.h5"


case("loom", loom, obs=("ClusterName",))
case("loom, layer", loom, options={"layer": "spliced"}, x=X // 2)
case("h5mu", h5mu("rna", "prot"), notes=("modality rna",))
case("h5mu, one modality", h5mu("x"))
case("h5mu without rna", h5mu("a", "b"), "modalities a, b", "h5ad")
case("10x h5", tenx_h5, genes=GENES[:5], x=X[:, :5], notes=(AB,))
case("10x h5, damaged", lambda f: tenx_h5(f, indices=np.full(np.count_nonzero(X), 50)), "damaged")
case(
    "other HDF5",
    lambda f: [h5py.File(f / "c.h5", "w").create_group("images").file.close(), f / "c.h5"][1],
    "no file of 10x",
    "images",
)


# --- as programs and portals write them

KINDS.append("exports of programs")


def named(genes, x=None, cells=CELLS, head=None, **kw):
    """A csv with cells in rows."""
    table = frame(X if x is None else x, cells, genes)
    return text("t.csv", (table if head is None else table.rename_axis(head)).to_csv(**kw))


def more_genes(names, values=3):
    """A csv with further columns behind those of the genes."""
    return named([*GENES, *names], np.c_[X, np.full((5, len(names)), values)])


case("Seurat, write.table, col.names NA", text("t.txt", lines("\t", corner="", quote='"')))
case(
    "barcodes changed by R",
    text("t.csv", lines().replace("-1", ".1")),
    cells=[c.replace("-", ".") for c in CELLS],
)
case(
    "genes changed by R",
    named(["MT.CO1", "HLA.A", "HLA.DRA", "X7SK", *GENES[:2]]),
    genes=["MT.CO1", "HLA.A", "HLA.DRA", "X7SK", *GENES[:2]],
    notes=("MT.CO1", "changed by R"),
)
case(
    "spike-ins changed by R", more_genes(["ERCC.00002", "ERCC.00108"], 1000), notes=("ERCC.00002",)
)
case("spike-ins SIRV", more_genes(["SIRV1", "SIRV502", "SIRVomeERCCome"], 1000), notes=("SIRV1",))
case(
    "annotations of scater",
    more_genes(
        ["sum", "detected", "subsets_Mito_sum", "subsets_Mito_percent", "altexps_ERCC_sum"], 50
    ),
    obs=("detected", "subsets_Mito_percent"),
    notes=("5 columns", "sum"),
)
case(
    "annotations of Seurat 5",
    more_genes(["nCount_ADT", "old.ident", "CC.Difference", "HTO_margin", "scDblFinder.score"], 2),
    obs=("old.ident", "CC.Difference", "scDblFinder.score"),
    notes=("4 columns", "nCount_ADT"),
)
case(
    "annotations of scanpy, scores",
    more_genes(["S_score", "G2M_score", "is_doublet", "pct_mt", "n_counts_all", "pass_filter"], 1),
    obs=("S_score", "is_doublet", "pct_mt", "pass_filter"),
    notes=("S_score",),
)
case(
    "groups as a row",
    text("t.csv", frame().assign(group=[1, 1, 2, 2, 3]).T.to_csv()),
    obs=("group",),
    notes=("group",),
)
case(
    "running numbers in front of genes",
    text("t.csv", frame().T.reset_index(names="gene_name").to_csv()),
    notes=("gene_name",),
)
case(
    "running numbers in front of cells",
    text("t.csv", frame().reset_index(names="barcode").to_csv()),
    notes=("barcode",),
)
case(
    "sample tags of Rhapsody",
    more_genes(["SampleTag01_hs|stAbO", "CD4:SK3|CD4|AHS0032|pAbO"]),
    notes=("SampleTag01_hs|stAbO",),
)
case("multiplexing oligos", more_genes(["CMO301", "CMO302"]), notes=("CMO301",))
case(
    "hashtags of BioLegend",
    more_genes(["Hashtag_1", "HashTag2-TotalA", "Hash-tag-3"]),
    notes=("Hashtag_1",),
)
case(
    "MERSCOPE",
    named([*GENES, "Blank-1", "Blank-12"], np.c_[X, X[:, :2]], head="cell"),
    notes=("Blank-1",),
)
case("CosMx", more_genes(["NegPrb1", "Negative10", "SystemControl3"]), notes=("NegPrb1",))
case(
    "Xenium without types",
    more_genes(
        [
            "NegControlProbe_00042",
            "NegControlCodeword_0500",
            "BLANK_0001",
            "UnassignedCodeword_0003",
        ]
    ),
    notes=("NegControlProbe_00042",),
)
XENIUM = ["Negative Control Probe", "Unassigned Codeword"]
case(
    "Xenium",
    written(lambda: extra_types("feature_types", *[RNA] * 4, *XENIUM)),
    genes=GENES[:4],
    x=X[:, :4],
    notes=("Negative Control Probe",),
)


def cellxgene_spiked():
    cells = with_layers(LOG, raw=X)
    for table in (cells.var, cells.raw.var):
        table["feature_name"] = [*GENES[:5], "ERCC-00002 (spike-in control)"]
        table["feature_biotype"] = [*["gene"] * 5, "spike-in"]
        table.index = [*IDS[:5], "ERCC-00002"]
    return cells


case(
    "CELLxGENE with spike-ins",
    written(cellxgene_spiked),
    genes=GENES[:5],
    x=X[:, :5],
    notes=("ERCC-00002",),
)
case(
    "CITE-seq-Count",
    matrix(
        "umi_count/matrix.mtx",
        {
            "umi_count/features.tsv": [
                *(f"CD{i}-ACGTACGTACGTAC{base}" for i, base in enumerate("ACGTG")),
                "unmapped",
            ],
            "umi_count/barcodes.tsv": CELLS,
        },
    ),
    "no genes",
)
case(
    "German dates for genes",
    text("t.csv", lines(genes=["01. Mrz", "2. Sep", *GENES[2:]])),
    genes=["01. Mrz", "2. Sep", *GENES[2:]],
    notes=("look like dates", "01. Mrz"),
)
case(
    "other dates for genes",
    text("t.csv", lines(genes=["9月2日", "2020/9/2", "1-mars", *GENES[3:]])),
    genes=["9月2日", "2020/9/2", "1-mars", *GENES[3:]],
    notes=("look like dates", "3 gene names"),
)
case(
    "numbers of dates for genes",
    text("t.csv", lines(genes=["43891", "44075", *GENES[2:]])),
    genes=["43891", "44075", *GENES[2:]],
    notes=("43891",),
)
SPECIES = zip(IDS, GENES, ["GRCh38"] * 3 + ["mm10"] * 3, strict=True)
BARNYARD = [f"{genome}_{i}\t{genome}_{g}\t{RNA}" for i, g, genome in SPECIES]
case(
    "two genomes by prefix",
    matrix("matrix.mtx", {"features.tsv": BARNYARD, "barcodes.tsv": CELLS}),
    "several genomes",
    "mm10",
)
case(
    "one of two genomes by prefix",
    matrix("matrix.mtx", {"features.tsv": BARNYARD, "barcodes.tsv": CELLS}),
    options={"genome": "mm10"},
    genes=[f"mm10_{g}" for g in GENES[3:]],
    x=X[:, 3:],
)


def of_genes(head, row):
    """A table with a line for each gene."""
    body = "".join(f"{gene}{row.format(n=n)}\n" for gene, n in zip(GENES, X[0], strict=True))
    return text("t.txt", f"{head}\n{body}")


case(
    "kallisto of one sample",
    of_genes("target_id\tlength\teff_length\test_counts\ttpm", "\t900\t700\t{n}\t{n}"),
    "est_counts",
)
case(
    "RSEM of one sample",
    of_genes("gene_id\ttranscript_id(s)\tlength\texpected_count\tTPM", "\tENST1\t900\t{n}\t{n}"),
    "expected_count",
)
case(
    "result of DESeq2",
    of_genes("gene,baseMean,log2FoldChange,lfcSE,stat,pvalue,padj", ",{n},1,2,1,0,1"),
    "baseMean",
)
case(
    "markers of Seurat",
    of_genes("gene,p_val,avg_log2FC,pct.1,pct.2,p_val_adj,cluster", ",0,{n},1,0,0,1"),
    "p_val",
)
case(
    "Human Protein Atlas",
    of_genes("Gene\tGene name\tCell type\tnTPM", "\tX\tB-cells\t{n}"),
    "nTPM",
)
case(
    "GEO series matrix",
    text(
        "GSE1_series_matrix.txt", '!Series_title\t"cells"\n!Sample_title\t"a"\t"b"\n' + lines("\t")
    ),
    "series matrix",
)
case(
    "featureCounts, columns of BAM files",
    text("t.tsv", lines("\t", corner="Geneid").replace(CELLS[0], "/data/s 1/a.bam")),
    cells=["/data/s 1/a.bam", *CELLS[1:]],
)
case(
    "commas in quoted genes",
    text("t.csv", lines(quote='"', genes=["H4C1,H4C2", *GENES[1:]])),
    genes=["H4C1,H4C2", *GENES[1:]],
)
MOUSE = [gene.title() for gene in GENES]
case(
    "Tabula Muris",
    text(
        "t.csv", lines(corner="", quote='"', genes=MOUSE).replace(CELLS[0], "A1.B000610.3_56_F.1")
    ),
    genes=MOUSE,
    cells=["A1.B000610.3_56_F.1", *CELLS[1:]],
)
BC = [f"bc{name[:-2]}" for name in CELLS]
case("inDrops", named(GENES, cells=BC, head="barcode", sep="\t"), cells=BC)
case(
    "Entrez numbers",
    text("t.csv", lines(genes=["1", "2", "9", "10", "12", "13"])),
    genes=["1", "2", "9", "10", "12", "13"],
)
case(
    "thousands with points",
    text("t.csv", lines(";").replace(";12\n", ";1.234\n").replace(";9;", ";2.012;")),
    "thousands",
)
case(
    "Excel, empty columns behind",
    text("t.csv", "".join(line + ";;;\n" for line in lines(";").splitlines()) + ";" * 8 + "\n"),
)
case(
    "STARsolo, all ways of counting",
    matrix(
        "matrix.mtx", {**tenx(), "UniqueAndMult-EM.mtx": b"x", "UniqueAndMult-Uniform.mtx": b"x"}
    ),
)
case(
    "STARsolo, Velocyto",
    matrix("spliced.mtx", {**tenx(), "unspliced.mtx": b"x", "ambiguous.mtx": b"x"}),
    "several matrices",
    "spliced.mtx",
)
case(
    "HCA matrix service",
    matrix(
        "matrix.mtx",
        {
            "genes.tsv": [
                "featurekey\tfeaturename\tfeaturetype\tchromosome",
                *(f"{i}\t{g}\tprotein_coding\t1" for i, g in zip(IDS, GENES, strict=True)),
            ],
            "cells.tsv": ["cellkey\tgenes_detected", *(f"{c}\t9" for c in CELLS)],
        },
        ending=".gz",
    ),
    obs=("genes_detected",),
)
case(
    "third column of chromosomes",
    matrix(
        "matrix.mtx",
        {
            "features.tsv": [
                f"{i}\t{g}\tchr{n}" for n, (i, g) in enumerate(zip(IDS, GENES, strict=True))
            ],
            "barcodes.tsv": CELLS,
        },
    ),
)
case(
    "Cell Ranger multi, two samples",
    below(
        "outs/per_sample_outs/a/count/sample_filtered_feature_bc_matrix",
        "outs/per_sample_outs/b/count/sample_filtered_feature_bc_matrix",
    ),
    "several matrices",
)
case(
    "CellBender and Cell Ranger",
    below("outs/filtered_feature_bc_matrix", "outs/analysis/pca", "outs/raw_feature_bc_matrix"),
    notes=("filtered",),
)
case(
    "Tabula Sapiens",
    written(lambda: with_layers(LOG, raw_counts=X, decontXcounts=X * 0.9)),
    "log-transformed",
    "layer='raw_counts'",
)
case(
    "a layer counts that holds none",
    written(lambda: with_layers(X, counts=LOG)),
    "log-transformed",
    "layer='X'",
)


def probes(folder):
    path = tenx_h5(folder)
    with h5py.File(path, "a") as file:
        group = file["matrix/features"]
        for name, values in (
            ("name", ["ACTB", "ACTB", "CD3E", "LYZ", "LYZ", "X"]),
            ("probe_region", ["unspliced"] * 6),
        ):
            if name in group:
                del group[name]
            group[name] = np.array(values, "S")
    return path


case("10x Flex, probes", probes, "probes")


def tenx_peaks(folder):
    path = tenx_h5(folder)
    with h5py.File(path, "a") as file:
        del file["matrix/features/feature_type"]
        file["matrix/features/feature_type"] = np.array(["Peaks"] * 6, "S")
    return path


case("10x h5 of peaks alone", tenx_peaks, "Gene Expression", "Peaks")


def scope_loom(folder):
    path = loom(folder)
    with h5py.File(path, "a") as file:
        kind = np.dtype([("CD3E(+)", "f8"), ("LYZ(+)", "f8")])
        file["row_attrs/Regulons"] = np.zeros(6, kind)
        file["col_attrs/RegulonsAUC"] = np.zeros(5, kind)
        file["col_attrs/Embedding"] = np.zeros(5, np.dtype([("_X", "f4"), ("_Y", "f4")]))
    return path


case("loom of SCope", scope_loom, obs=("ClusterName",))


def hca_loom(folder):
    path = loom(folder)
    with h5py.File(path, "a") as file:
        file["row_attrs/ensembl_ids"] = np.array(IDS, "S")
        file["row_attrs/featuretypes"] = np.array(["protein_coding"] * 6, "S")
        file["col_attrs/cell_names"] = np.array(CELLS, "S")
    return path


case("loom of the HCA", hca_loom, obs=("cell_names",))


case(
    "genes and barcodes exchanged",
    matrix("matrix.mtx", {"genes.tsv": CELLS, "barcodes.tsv": GENES}),
    "exchange",
)
case(
    "peaks by name",
    named([f"chr{i}:1000-200{i}" for i in range(6)]),
    "no genes",
    "peaks",
    options={"transpose": False},
)
case(
    "peaks among genes", more_genes(["chr1-1000-2000", "chrX:5-905"], 2), notes=("chr1-1000-2000",)
)
case(
    "antibodies by name",
    more_genes(["prot_CD3", "CD4_PROT", "anti-human CD8", "IgG1 isotype control"], 9),
    notes=("prot_CD3",),
)
case(
    "guides by name",
    more_genes(["sgRNA_TP53_1", "non-targeting_00023", "NegCtrl0_NegCtrl0"], 4),
    notes=("sgRNA_TP53_1",),
)
case(
    "summaries of CITE-seq-Count",
    more_genes(["bad_struct", "no_match", "unassigned"], 900),
    notes=("bad_struct",),
)
case(
    "annotations of plates",
    more_genes(["replicate", "mouse_id", "library_id", "weight", "ethnicity"], 2),
    obs=("replicate", "mouse_id", "weight"),
    notes=("replicate",),
)
case(
    "annotations of reads",
    more_genes(["exon_reads", "umi_count", "mt_counts", "duplicate", "passed_filters"], 30),
    obs=("exon_reads", "mt_counts", "duplicate"),
    notes=("exon_reads",),
)
case(
    "annotations of clusters",
    more_genes(["subcluster", "clonotype_id", "metacell", "cluster_label", "malignant"], 1),
    obs=("subcluster", "metacell"),
    notes=("subcluster",),
)


def cellxgene_older():
    cells = cellxgene()
    raw = cells.raw.to_adata()
    del raw.var["feature_name"]
    cells.raw = raw
    return cells


case(
    "CELLxGENE, symbols in var alone", written(cellxgene_older), notes=("took the counts from raw",)
)
case(
    "CELLxGENE, symbols in var alone, zarr",
    written(cellxgene_older, "c.zarr"),
    notes=("took the counts from raw",),
)
TWO = ["GRCh38"] * 3 + ["mm10"] * 3
case(
    "AnnData of two genomes", written(lambda: adata(genome=TWO)), notes=("several genomes", "mm10")
)
case(
    "AnnData of two genomes, one",
    written(lambda: adata(genome=TWO)),
    options={"genome": "mm10"},
    genes=GENES[3:],
    x=X[:, 3:],
)
case(
    "table of two genomes",
    named([f"{g}_{n}" for g, n in zip(TWO, GENES, strict=True)]),
    genes=[f"{g}_{n}" for g, n in zip(TWO, GENES, strict=True)],
    notes=("several genomes",),
)
case(
    "AnnData without that genome",
    written(lambda: adata(genome=TWO)),
    "hg19",
    "mm10",
    options={"genome": "hg19"},
)
case(
    "blank gene names in a table",
    text("t.csv", lines(genes=["", *GENES[1:5], ""])),
    "no name",
    "row 1",
)
case(
    "metrics of barcodes",
    named(["dup", "chim", "low", "mito", "fine", "tss"]),
    genes=["dup", "chim", "low", "mito", "fine", "tss"],
    notes=("looks like a gene",),
)
case(
    "a title above the table",
    text("t.csv", "Supplementary Table 1. Counts of cells\n" + lines()),
    "first line",
)
case("a title in the first cell", text("t.csv", "Table S1,,,,,\n" + lines()), "name")
case(
    "Rhapsody, long table",
    text(
        "s.st",
        "##\nCell_Index\tGene\tRSEC_Reads\tRaw_Molecules\n1\tACTB\t9\t3\n",
    ),
    "suffix",
)
case(
    "Rhapsody, long table as text",
    text(
        "s.txt",
        "Cell_Index\tGene\tRSEC_Reads\tRaw_Molecules\tRSEC_Adjusted_Molecules\n1\tACTB\t9\t3\t2\n2\tLYZ\t9\t3\t2\n",
    ),
    "Gene",
)
case(
    "clusters of Cell Ranger",
    text("clusters.csv", "Barcode,Cluster\n" + "".join(f"{c},1\n" for c in CELLS)),
    "only annotations",
)
case(
    "GCT of GTEx",
    text(
        "t.txt",
        "#1.2\n6\t5\nName\tDescription\t"
        + "\t".join(CELLS)
        + "\n"
        + "".join(f"{i}\t{g}\t1\t2\t3\t4\t5\n" for i, g in zip(IDS, GENES, strict=True)),
    ),
    "fields",
)
case(
    "symmetric mtx",
    matrix_text(
        [(1, 1, 3), (2, 1, 4), (5, 2, 6)],
        head="%%MatrixMarket matrix coordinate",
        kind="integer symmetric #",
    ),
    "MatrixMarket",
)
case(
    "names of samples in two lines",
    text("t.csv", "gene," + ",".join("aabbb") + "\n" + lines()),
    "first line",
)


case(
    "cells called counts",
    text("t.csv", frame(cells=[f"P{i}_counts" for i in range(5)]).T.to_csv()),
    cells=[f"P{i}_counts" for i in range(5)],
)
case(
    "cells called as runs are",
    text("t.csv", frame(cells=[f"Sample{i}.reads" for i in range(5)]).T.to_csv()),
    cells=[f"Sample{i}.reads" for i in range(5)],
)


# --- the two doors


def reading(problem, path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        counts = read(path, **problem.options)
    return counts, [str(warning.message) for warning in caught]


def check(problem, counts):
    assert list(counts.obs_names) == list(problem.cells)
    assert list(counts.var_names) == list(problem.genes)
    np.testing.assert_array_equal(counts.X.toarray(), problem.x)
    assert counts.X.dtype == np.float32 and sp.isspmatrix_csr(counts.X)
    assert set(problem.obs) <= set(counts.obs)


@pytest.mark.parametrize("problem", CASES, ids=lambda problem: problem.name)
def test_an_input_is_read_right_or_refused(problem, tmp_path):
    path = problem.write(tmp_path)
    if problem.facts is not None:
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            read(path, **problem.options)
        message = str(error.value)
        assert "\n" not in message
        assert all(fact in message for fact in problem.facts), message
        return
    counts, told = reading(problem, path)
    check(problem, counts)
    assert all(any(note in message for message in told) for note in problem.notes), told
    assert set(counts.uns.get("read_notes", [])) == {m for m in told if "ImplicitMod" not in m}


def flags(options):
    words = []
    for name, value in options.items():
        if isinstance(value, bool):
            words.append(f"--{'' if value else 'no-'}{name}")
        else:
            words += [f"--{name}", str(value)]
    return words


@pytest.mark.parametrize("problem", CASES, ids=lambda problem: problem.name)
@pytest.mark.filterwarnings("ignore")
def test_the_command_line_does_the_same(problem, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    path, out = problem.write(tmp_path / "in"), tmp_path / "out.h5ad"
    status = main(["convert", str(path), str(out), *flags(problem.options)])
    if problem.facts is not None:
        message = capsys.readouterr().err
        assert status == 1 and not out.exists()
        assert all(fact in message for fact in problem.facts), message
        return
    assert status == 0
    kept = False if problem.options.get("transpose") is False else None  # names still look turned
    check(problem, read(out, transpose=kept))


@pytest.mark.filterwarnings("ignore")
def test_a_suffix_that_is_read_is_written_or_refused_with_those_that_are(tmp_path, capsys):
    source = tmp_path / "source.csv"
    source.write_text(lines())
    written = ["a.h5ad", "a.zarr", "a.zarr.zip", "a.csv", "a.tsv", "a.txt", "a.tab", "a"]
    written += ["a.csv.gz", "a.tsv.gz", "a.h5ad.gz", "A.H5AD", "A.CSV.GZ"]
    for name in written:
        assert main(["convert", str(source), str(tmp_path / name)]) == 0, name
        check(Case(name, None), read(tmp_path / name))
    capsys.readouterr()
    for name in ("a.h5", "a.mtx", "a.xlsx", "a.zarr.gz", "a.hdf5"):
        assert main(["convert", str(source), str(tmp_path / name)]) == 1
        said = capsys.readouterr().err
        assert all(word in said for word in (name, ".zarr.zip", ".h5ad"))
    for name, package in (("a.loom", "loompy"), ("a.h5mu", "mudata")):
        status, said = main(["convert", str(source), str(tmp_path / name)]), capsys.readouterr().err
        if importlib.util.find_spec(package) is None:
            assert status == 1 and f"pip install {package}" in said
        else:
            assert status == 0
            check(Case(name, None), read(tmp_path / name))


IN_A_PROCESS = ["table of R, quoted, tab", "negatives and fractions, both", "10x folder, gzip"]
IN_A_PROCESS += ["logarithms", "two samples"]


@pytest.mark.parametrize(
    "problem", [c for c in CASES if c.name in IN_A_PROCESS], ids=lambda problem: problem.name
)
def test_a_process_of_the_command_line_does_the_same(problem, tmp_path):
    (tmp_path / "in").mkdir()
    path, out = problem.write(tmp_path / "in"), tmp_path / "out.h5ad"
    words = ["convert", str(path), str(out), *flags(problem.options)]
    command = [sys.executable, "-m", "scgan_nb.workflow.cli", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if problem.facts is None:
        assert done.returncode == 0, done.stderr
        check(problem, read(out))
        return
    line = done.stderr.strip().splitlines()[-1]
    assert (
        done.returncode == 1
        and "Traceback" not in done.stderr
        and line.startswith("scgan_nb: ")
        and not out.exists()
    )
    assert all(fact in line for fact in problem.facts), line


OPENED = set()  # files that Python opens; such a hook cannot be taken away again
sys.addaudithook(lambda event, words: OPENED.add(str(words[0])) if event == "open" else None)


@pytest.mark.parametrize(
    "problem",
    [c for c in CASES if c.kind == "matrix folder" and not c.facts],
    ids=lambda problem: problem.name,
)
@pytest.mark.filterwarnings("ignore")
def test_all_files_that_are_read_count_for_the_fingerprint(problem, tmp_path):
    path = problem.write(tmp_path / "in")
    (tmp_path / "in" / "report.html").touch()
    OPENED.clear()
    read(path, **problem.options)
    files = files_read(path)
    assert {Path(name) for name in OPENED if name.startswith(str(tmp_path))} == set(files)
    before = content_sha256(path)
    (tmp_path / "in" / "report.html").write_text("changed")
    assert content_sha256(path) == before
    for file in files:
        content = file.read_bytes()
        file.write_bytes(content + b"\n")
        assert content_sha256(path) != before
        file.write_bytes(content)
    if len(files) > 1:
        matrix = next(file for file in files if ".mtx" in file.name)
        before = content_sha256(matrix)
        for file in files[1:]:
            file.write_bytes(file.read_bytes() + b"\n")
            assert content_sha256(matrix) != before
            before = content_sha256(matrix)


def write_parameters_file(folder, **options):
    input_ds = {"raw_input": "t.csv", "clustering": {"res": None}, "filtering": {"min_genes": 1}}
    input_ds |= {"split": {"valid_cells": 10}} | options
    experiment = {"input_ds": input_ds, "model": {"type": "cscGAN"}}
    content = {
        "exp_param": {"experiments_dir": str(folder / "runs"), "GPU": []},
        "experiments": {"a": experiment},
    }
    (folder / "parameters.json").write_text(json.dumps(content))
    return str(folder / "parameters.json")


@pytest.mark.filterwarnings("ignore")
def test_the_options_of_a_parameters_file_are_followed(tmp_path, capsys, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.poisson(2, (60, 30)).astype(float)
    x[0, 0], x[1, 1], x[2, 2] = 1.25, -1, 0.5
    names = [f"k{a}{b}" for a in "vwxyz" for b in "abcdefghijkl"]
    table = frame(x, names, [f"y{a}{b}" for a in "mnopq" for b in "abcdef"])
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    table.assign(cluster=np.arange(60) % 3).T.to_csv("t.csv")
    options = {}
    for remedy, value in (("transpose", True), ("clip", True), ("round", True)):
        assert main(["--param", write_parameters_file(tmp_path, **options), "--process"]) == 1
        message = capsys.readouterr().err
        assert f"set {remedy}" in message, message
        options[remedy] = value
    assert main(["--param", write_parameters_file(tmp_path, **options), "--process"]) == 0
    cells = ad.read_h5ad(tmp_path / "runs" / "a" / "t.h5ad")
    assert cells.shape == (60, 30) and list(cells.obs_names) == names
    notes = " ".join(cells.uns["scgan_nb"]["notes"])
    assert "values were rounded" in notes and "cluster" in notes


def test_a_remedy_of_the_evaluation_works(tmp_path):
    table = frame(X, *ANY)
    table.T.to_csv(tmp_path / "t.csv")
    with pytest.raises(ReadError, match="scgan_nb convert.*--transpose"):
        open_cells(tmp_path / "t.csv")
    out = tmp_path / "t.h5ad"
    assert main(["convert", str(tmp_path / "t.csv"), str(out), "--transpose"]) == 0
    assert list(open_cells(out).cells.obs_names) == ANY[0]


@pytest.mark.filterwarnings("ignore")
def test_evaluation_names_genes_as_training_does(tmp_path):
    path = written(cellxgene)(tmp_path)
    assert list(open_cells(path).cells.var_names) == list(read(path).var_names) == GENES
    path = written(lambda: extra_types("feature_types", RNA, RNA, AB, RNA, RNA, RNA))(tmp_path)
    assert list(open_cells(path).cells.var_names) == list(read(path).var_names)


def test_the_python_classes_take_the_same_options():
    table = frame(X, *ANY).T
    options = {"transpose": True, "round": True, "clip": True}
    settings = experiment_of(raw_input="t.csv", type="scGAN", **options).input_ds
    assert settings.read_options == {"labels_file": None} | {
        "layer": None,
        "genome": None,
        **options,
    }
    cells = ad.AnnData(table.to_numpy(float), obs=table.iloc[:, :0], var=table.T.iloc[:, :0])
    assert list(read(cells, **settings.read_options).obs_names) == ANY[0]


def test_the_table_is_large():
    assert len(CASES) >= 120
