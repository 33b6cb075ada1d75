"""Kill commands at random moments, give them again, and compare with an undisturbed run.

    ci/env python tests/kill.py --points 500 [--seed 0] [--commands process train generate evaluate]

Each point starts one command on tiny data and sends it SIGKILL after a random part of the time that
it takes undisturbed. Then the same command runs to its end. Its files must be those of the
undisturbed run, byte for byte, and no temporary file may be left. Prints one line of figures for
each command, and exits with 1 if a result was lost or differs.

Processes are forked after the imports, so that kills fall into the work and not into the start.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

COMMANDS = ("process", "train", "generate", "evaluate")
LIMIT = 300  # seconds that a command may take
NOT_COMPARED = (".lock", "events.out.tfevents", "report.html")
SETTINGS = {
    "input_ds": {
        "raw_input": "counts.h5ad",
        "labels_key": "cell_type",
        "filtering": {"min_cells": 3, "min_genes": 3},
        "split": {"valid_cells": 60, "test_cells": 0},
    },
    "model": {"type": "cscGAN", "latent_dim": 4, "gen_layers": [8], "critic_layers": [8]},
    "training": {
        "max_steps": 30,
        "batch_size": 8,
        "critic_iters": 1,
        "save_freq": 2,
        "progress_freq": 2,
        "summary_freq": 0,
        "validation_freq": 0,
        "steps_per_call": 2,
    },
}
WORDS = {
    "process": ["--param", "parameters.json", "--process"],
    "train": ["--param", "parameters.json", "--train"],
    "generate": [
        *("--generate", "--model_path", "runs/tiny", "--cells_no", "80"),
        *("--save_path", "out/cells.h5ad"),
    ],
    "evaluate": [
        *("evaluate", "out/cells.h5ad", "counts.h5ad", "--out", "page", "--fast"),
        *("--labels-key", "cell_type", "--n", "20", "--repeats", "2"),
    ],
}
RESULTS = {"process": "runs", "train": "runs", "generate": "out", "evaluate": "page"}


@dataclass
class Figures:
    """What happened at the points of one command."""

    points: int = 0
    hit: int = 0  # the command was still running
    went_on: int = 0
    seconds: float = 0.0  # of the undisturbed command
    wrong: list[str] = field(default_factory=list)

    def line(self, command: str) -> str:
        """One line for a person."""
        said = f"{command}: {self.points} points, {self.hit} killed while it ran, "
        return said + f"{self.went_on} went on, {len(self.wrong)} lost or different"


def start(words: list[str], folder: Path) -> int:
    """Run a command in a forked process; returns its number."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        os.chdir(folder)
        log = os.open(folder.parent / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout = sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        from scgan_nb.workflow.cli import main

        code = main(words)
        sys.stderr.flush()
    finally:
        os._exit(code)


def end_of(process: int, seconds: float) -> int | None:
    """Wait for a process; its exit code, or None if it still runs after that time."""
    end = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            return None
        time.sleep(0.002)


def run(words: list[str], folder: Path) -> tuple[int, str]:
    """Run a command to its end; its exit code and what it said."""
    process = start(words, folder)
    code = end_of(process, LIMIT)
    if code is None:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        code = -1
    return code, (folder.parent / "log.txt").read_text()


def contents(folder: Path) -> dict[str, object]:
    """What the files below a folder hold, by their names."""
    from scgan_nb.core.fingerprints import file_sha256

    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or any(part in path.name for part in NOT_COMPARED):
            continue
        found[name] = without_times(path) if path.name == "report.json" else file_sha256(path)
    return found


def without_times(path: Path) -> object:
    """The content of a report without what two runs may not share."""
    report = json.loads(path.read_text())
    return {key: value for key, value in report.items() if key not in ("seconds", "created")}


def make_states(home: Path, commands: tuple[str, ...]) -> dict[str, float]:
    """Run all commands undisturbed, and keep a copy from before and after each; their seconds."""
    from scgan_nb.data.examples import pbmc_example

    work, seconds = home / "work", {}
    work.mkdir()
    pbmc_example(240, 30).write_h5ad(work / "counts.h5ad")
    file = {"exp_param": {"experiments_dir": "runs", "GPU": []}, "experiments": {"tiny": SETTINGS}}
    (work / "parameters.json").write_text(json.dumps(file))
    last = max(COMMANDS.index(command) for command in commands)
    for command in COMMANDS[: last + 1]:
        shutil.copytree(work, home / f"before-{command}")
        began = time.monotonic()
        code, said = run(WORDS[command], work)
        seconds[command] = time.monotonic() - began
        if code:
            raise SystemExit(f"{command} fails undisturbed: {said}")
        shutil.copytree(work, home / f"after-{command}")
    return seconds


def try_point(home: Path, command: str, delay: float) -> tuple[bool, bool, str | None]:
    """Kill a command after `delay` seconds: was it running, did it go on, and what is wrong."""
    work = home / "work"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(home / f"before-{command}", work)
    process = start(WORDS[command], work)
    ran = end_of(process, delay) is None
    if ran:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    code, said = run(WORDS[command], work)
    complete = command == "process" and code == 1 and "already exists" in said
    if code and not complete:
        return ran, False, f"after {delay:.3f} s: exit {code}, {said[-300:]}"
    now, wanted = (contents(top / RESULTS[command]) for top in (work, home / f"after-{command}"))
    if now != wanted:
        names = [name for name in now.keys() | wanted.keys() if now.get(name) != wanted.get(name)]
        return ran, True, f"after {delay:.3f} s: {', '.join(sorted(names))} differ"
    return ran, True, None


def kill_points(points: int, seed: int = 0, commands: tuple[str, ...] = COMMANDS) -> dict:
    """Figures of each command at random points; points go round the commands."""
    import tensorflow  # noqa: F401  so that forked processes have it

    import scgan_nb.reporting.evaluate
    import scgan_nb.workflow.experiments  # noqa: F401

    rng, figures = random.Random(seed), {command: Figures() for command in commands}
    home = Path(tempfile.mkdtemp(prefix="scgan_nb-kill-"))
    try:
        for command, seconds in make_states(home, commands).items():
            if command in figures:
                figures[command].seconds = seconds
        for number in range(points):
            command = commands[number % len(commands)]
            one = figures[command]
            ran, went_on, wrong = try_point(home, command, rng.uniform(0, one.seconds))
            one.points, one.hit = one.points + 1, one.hit + ran
            one.went_on += went_on
            if wrong:
                one.wrong.append(wrong)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=40, help="kills in all (default: 40)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    given = parser.parse_args()
    began = time.monotonic()
    figures = kill_points(given.points, given.seed, tuple(given.commands))
    for command, one in figures.items():
        print(f"{one.line(command)} ({one.seconds:.1f} s undisturbed)")
        for line, times in Counter(one.wrong).items():
            print(f"  {times} x {line}")
    total = sum(one.points for one in figures.values())
    lost = sum(len(one.wrong) for one in figures.values())
    print(f"{total} points in {time.monotonic() - began:.0f} s, {lost} lost or different")
    return bool(lost)


if __name__ == "__main__":
    sys.exit(main())
