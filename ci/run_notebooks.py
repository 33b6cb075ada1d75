"""Test the library notebooks as `nbdev_test` does, saying how each one went and counting them.

`nbdev_test` is silent about what it ran, and content with having run nothing. A run notebook (one with a cell tagged
`parameters`) is left out here: papermill runs it, at a small size, from `tests/`.
"""

import argparse
import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from nbdev.config import get_config
from nbdev.doclinks import nbglob
from nbdev.test import _keep_file, test_nb


def is_run_notebook(path):
    cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
    return any("parameters" in cell["metadata"].get("tags", []) for cell in cells)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all below nbs/")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument(
        "--flags", default="", help="run the cells with these flags too, for example 'slow'"
    )
    args = parser.parse_args()

    config = get_config()
    found = args.notebooks or [path for path in nbglob(as_path=True) if _keep_file(path, ".notest")]
    found = sorted(path.absolute() for path in found)
    notebooks = [path for path in found if not is_run_notebook(path)]
    for path in found:
        if path not in notebooks:
            print(f"left to papermill: {path.name}", flush=True)

    how = dict(
        skip_flags=config.tst_flags.split(),
        force_flags=args.flags.split(),
        basepath=config.config_path,
    )
    failed = 0
    # spawned workers start clean; each imports TensorFlow once for all the notebooks that it gets
    with ProcessPoolExecutor(
        max(1, args.workers), mp_context=multiprocessing.get_context("spawn")
    ) as pool:
        jobs = {pool.submit(test_nb, path, **how): path for path in notebooks}
        for job in as_completed(jobs):
            try:
                passed, seconds = job.result()
            except (
                Exception
            ) as error:  # the notebook cannot be read, or the worker died (of memory, for example)
                print(f"{jobs[job].name}: {type(error).__name__}: {error}", file=sys.stderr)
                passed, seconds = False, float("nan")
            failed += not passed
            print(
                f"{'ok  ' if passed else 'FAIL'} {jobs[job].relative_to(config.config_path)} {seconds:.1f} s",
                flush=True,
            )

    if not notebooks:
        print("no notebooks to test", file=sys.stderr)
    print(f"{len(notebooks) - failed} passed, {failed} failed", flush=True)
    return 1 if failed or not notebooks else 0


if __name__ == "__main__":
    sys.exit(main())
