"""Run the examples that readers will copy: `>>>` in docstrings, and Python blocks of README.md.

    ci/env python ci/examples.py                            all of them
    ci/env python ci/examples.py scgan_nb.data.readers ...  only the docstrings of these modules

A block of README.md is run when the line above it is `<!-- runnable -->`; the blocks share their
variables. Everything runs in a temporary folder. `# doctest: +SKIP` keeps an example from running.
"""

import contextlib
import doctest
import importlib
import io
import multiprocessing
import os
import pkgutil
import re
import sys
import tempfile
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import notebooks

BLOCK = re.compile(r"^<!-- runnable -->\n+```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
WORKERS = min(2, os.cpu_count() or 1)


def modules() -> list[str]:
    """Names of all modules of the package."""
    package = importlib.import_module("scgan_nb")
    found = pkgutil.walk_packages(package.__path__, "scgan_nb.")
    return ["scgan_nb", *(module.name for module in found if not module.name.endswith("_modidx"))]


def start_worker(folder: str) -> None:
    """Work in a folder of its own below `folder`."""
    own = Path(folder) / str(os.getpid())
    own.mkdir()
    os.chdir(own)


def run_docstrings(name: str) -> tuple[int, int]:
    """Run the examples of one module; how many docstrings passed and failed."""
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(optionflags=OPTIONS)
    passed = failed = 0
    for test in finder.find(importlib.import_module(name), name):
        if not test.examples:
            continue
        said = io.StringIO()
        wrong = runner.run(test, out=said.write).failed
        passed, failed = passed + (not wrong), failed + bool(wrong)
        if wrong:
            print(f"FAIL {test.name}\n{said.getvalue()}", flush=True)
    return passed, failed


def run_readme() -> tuple[int, int]:
    """Run the marked blocks of README.md; how many passed and failed."""
    blocks = BLOCK.findall((notebooks.TOP / "README.md").read_text(encoding="utf-8"))
    if not blocks:
        print("FAIL README.md: no Python block has the line <!-- runnable --> above it")
        return 0, 1
    variables: dict = {"__name__": "readme"}
    for number, block in enumerate(blocks, start=1):
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(block, f"README.md, runnable block {number}", "exec"), variables)
        except Exception:
            print(f"FAIL README.md, runnable block {number}\n{traceback.format_exc()}", flush=True)
            return number - 1, len(blocks) - number + 1
    return len(blocks), 0


def main() -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("MPLBACKEND", "agg")
    sys.path.insert(0, str(notebooks.TOP))
    results, names = [], sys.argv[1:] or modules()
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        ProcessPoolExecutor(
            WORKERS, multiprocessing.get_context("spawn"), start_worker, (folder,)
        ) as pool,
    ):
        # README.md is the longest, so it begins first
        readme = None if sys.argv[1:] else pool.submit(run_readme)
        for name, (passed, failed) in zip(names, pool.map(run_docstrings, names), strict=True):
            results.append((passed, failed))
            if passed + failed:
                print(f"{'FAIL' if failed else 'ok  '} {name} {passed + failed}", flush=True)
        if readme:
            results.append(readme.result())
            print(f"{'FAIL' if results[-1][1] else 'ok  '} README.md {sum(results[-1])}")
    passed, failed = (sum(column) for column in zip(*results, strict=True))
    print(f"{passed} passed, {failed} failed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
