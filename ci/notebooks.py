"""Notebook files for the tools in this folder: finding, reading, writing, hashing."""

import ast
import hashlib
import json
import os
import re
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent


def find(*folders: str) -> list[Path]:
    """Paths of the notebooks below folders of the project, sorted, without hidden ones (. or _)."""
    found = (path for folder in folders for path in (TOP / folder).rglob("*.ipynb"))
    return sorted(path for path in found if not _is_hidden(path.relative_to(TOP)))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) or part == "runs" for part in path.parts)


def name(path: Path) -> str:
    """The path from the top of the project, with forward slashes."""
    return Path(os.path.relpath(path, TOP)).as_posix()


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def as_text(nb: dict) -> str:
    """The file's text, exactly as nbdev_clean writes it."""
    return json.dumps(nb, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def write(path: Path, nb: dict) -> bool:
    """Write a notebook in one move, unless the file already holds it; whether it was written."""
    text = as_text(nb)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
    return True


def source(cell: dict) -> str:
    """Source of a cell; files hold it as a list of lines or as one string."""
    return "".join(cell["source"])


def code_cells(nb: dict) -> list[tuple[int, dict]]:
    """`(number, cell)` of the code cells that are not empty."""
    cells = enumerate(nb["cells"])
    return [(i, cell) for i, cell in cells if cell["cell_type"] == "code" and source(cell).strip()]


def directives(cell: dict) -> set[str]:
    """What a cell's `#|` lines say: {"export"}, {"hide", "eval: false"}, ..."""
    lines = re.findall(r"^#\|[ ]*(.+?)[ ]*$", source(cell), flags=re.MULTILINE)
    return {re.sub(r"\s*:\s*", ": ", line) for line in lines}


def is_skipped(cell: dict, flags: tuple[str, ...] = ("slow", "gpu")) -> bool:
    """Whether nbdev_test leaves the cell out: `eval: false`, or a flag of settings.ini."""
    said = directives(cell)
    return "eval: false" in said or bool(said & set(flags))


def has_tag(cell: dict, tag: str) -> bool:
    return tag in cell["metadata"].get("tags", [])


def is_run_notebook(nb: dict) -> bool:
    """Whether papermill runs it: one of its cells has the tag `parameters`."""
    return any(has_tag(cell, "parameters") for cell in nb["cells"])


def default_parameters(nb: dict) -> dict:
    """`{name: value}` of the literals that the cell tagged `parameters` assigns."""
    [cell] = [cell for cell in nb["cells"] if has_tag(cell, "parameters")]
    found = {}
    for node in ast.parse(source(cell)).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        try:
            found[ast.unparse(target)] = ast.literal_eval(node.value)
        except ValueError:
            continue
    return found


def title(nb: dict) -> str | None:
    """The first `# heading` of a notebook."""
    text = "\n".join(source(cell) for cell in nb["cells"] if cell["cell_type"] == "markdown")
    found = re.search(r"^# +(.*\S)", text, flags=re.MULTILINE)
    return found[1] if found else None


def code_sha256(nb: dict) -> str:
    """SHA-256 of all code cells in order; white space at ends of lines and cells does not count."""
    lines = ([line.rstrip() for line in source(cell).splitlines()] for _, cell in code_cells(nb))
    sources = ["\n".join(cell).strip("\n") for cell in lines]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()
