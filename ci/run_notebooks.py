"""Test the chapters as `nbdev_test` does, say how each one went, and count them.

`nbdev_test` does not say what it ran, and succeeds when it has run nothing. A run notebook (one
with a cell tagged `parameters`) is left out: papermill runs it, at a small size, from `tests/`.
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

import notebooks

SECONDS = notebooks.TOP / "ci" / "seconds.json"  # {chapter: seconds in a fresh process}
QUICK = 5  # seconds a chapter may take to be run by --quick


def chapters(paths: list[Path]) -> list[Path]:
    """The given notebooks, or all below nbs/, without those that papermill runs."""
    found = paths or [path for path in nbglob(as_path=True) if _keep_file(path, ".notest")]
    found = sorted(path.absolute() for path in found)
    kept = [path for path in found if not notebooks.is_run_notebook(notebooks.read(path))]
    for path in found:
        if path not in kept:
            print(f"left to papermill: {path.name}", flush=True)
    return kept


def recorded() -> dict[str, float]:
    return json.loads(SECONDS.read_text()) if SECONDS.exists() else {}


def leave_shells_at_exit() -> None:
    """Do not collect garbage once for each notebook when a worker ends: it takes minutes."""
    from IPython.core.displayhook import DisplayHook

    DisplayHook.flush = lambda self: None


def test(paths: list[Path], workers: int, flags: list[str], fresh: bool) -> dict[Path, tuple]:
    """`{path: (whether it passed, seconds)}`; `fresh` gives each notebook a process of its own."""
    config = get_config()
    how = {
        "skip_flags": config.tst_flags.split(),
        "force_flags": flags,
        "basepath": config.config_path,
    }
    done = {}
    # Spawned workers start clean; each imports TensorFlow once for all the notebooks that it gets.
    with ProcessPoolExecutor(
        max(1, workers),
        mp_context=multiprocessing.get_context("spawn"),
        max_tasks_per_child=1 if fresh else None,
        initializer=leave_shells_at_exit,
    ) as pool:
        jobs = {pool.submit(test_nb, path, **how): path for path in paths}
        for job in as_completed(jobs):
            path = jobs[job]
            try:
                done[path] = job.result()
            except Exception as error:  # it cannot be read, or the worker died (of memory, say)
                print(f"{path.name}: {type(error).__name__}: {error}", file=sys.stderr)
                done[path] = False, float("nan")
            passed, seconds = done[path]
            word = "ok  " if passed else "FAIL"
            print(f"{word} {notebooks.name(path)} {seconds:.1f} s", flush=True)
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all below nbs/")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--flags", default="", help="run cells with these flags too: 'slow', 'gpu'")
    parser.add_argument(
        "--quick", action="store_true", help=f"only those of ci/seconds.json with {QUICK} s or less"
    )
    parser.add_argument("--record", action="store_true", help="write ci/seconds.json")
    args = parser.parse_args()

    paths, seconds = chapters(args.notebooks), recorded()
    if args.quick:
        paths = [path for path in paths if seconds.get(notebooks.name(path), QUICK + 1) <= QUICK]
    done = test(paths, args.workers, args.flags.split(), fresh=args.record)
    failed = sum(not passed for passed, _ in done.values())
    if args.record:
        new = {
            notebooks.name(path): round(took, 1) for path, (passed, took) in done.items() if passed
        }
        known = {name: taken for name, taken in seconds.items() if (notebooks.TOP / name).exists()}
        SECONDS.write_text(json.dumps(known | new, indent=1, sort_keys=True) + "\n")
    if not paths:
        print("no notebooks to test", file=sys.stderr)
    print(f"{len(paths) - failed} passed, {failed} failed", flush=True)
    return 1 if failed or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
