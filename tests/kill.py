"""Kill commands at random moments, give them again, and compare with an undisturbed run.

    ci/env python tests/kill.py --points 500 [--seed 0] [--commands process train generate evaluate]
        [--results tests/kill_points.csv]

Each point starts one command on tiny data and sends it SIGKILL after a random part of the time that
it takes undisturbed. Then the same command runs to its end. Its files must be those of the
undisturbed run, byte for byte, and no temporary file may be left. Prints one line of figures for
each command, and exits with 1 if a result was lost or differs.

`reproduce` runs a figure that trains a model into a cache; its numbers, notebook and cache must be
the same but for the times in them.

With --results each point is added to a table as soon as it is done. Points that the table has are
not tried again, so that a long series can be run in parts. nbs/benchmarks/trust.ipynb shows it.

Processes are forked after the imports, so that kills fall into the work and not into the start.
"""

import argparse
import csv
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

COMMANDS = ("process", "train", "generate", "evaluate", "reproduce")
ORDER = COMMANDS[:3] * 6 + COMMANDS[3:]  # the last two take longest
COLUMNS = ("command", "moment", "running", "outcome")
LIMIT = 900  # seconds that a command may take
NOT_COMPARED = (".lock", "events.out.tfevents", "report.html")
TIMES = ("seconds", "cpu_seconds", "created", "date")
FIGURE = (
    ("markdown", "# Figure 1\n\n> A model trains.\n\nPublished: 1."),
    ("code", 'scale = "demo"\nseed = 0'),
    ("code", "from scgan_nb.workflow.figures import Figure\nfig = Figure(scale, seed)"),
    (
        "code",
        "tiny = {'gen_layers': [8], 'critic_layers': [8], 'latent_dim': 4}\n"
        "model = fig.model('scGAN', max_steps=10, batch_size=8, critic_iters=1, **tiny)",
    ),
    ("code", "fig.row('mean', float(model.generate(20).X.mean()), agrees=True, headline=True)"),
    ("code", "fig.finish()"),
)
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
    "reproduce": [
        *("reproduce", "--scale", "smoke", "--papers", "papers", "--out", "figures"),
        *("--cache", "figures/cache"),
    ],
}
RESULTS = {
    "process": "runs",
    "train": "runs",
    "generate": "out",
    "evaluate": "page",
    "reproduce": "figures",
}


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


def start(
    words: list[str],
    folder: Path,
    limit: Callable = lambda: None,
    said: int | None = None,
) -> int:
    """Run a command in a forked process, which calls `limit` first; returns its number.

    What it says goes to the open file `said`, by default `log.txt` beside the folder.
    """
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        os.setsid()  # what it starts is killed with it
        os.chdir(folder)
        if said is None:
            said = os.open(folder.parent / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        sys.stdout = sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        from scgan_nb.workflow.cli import main

        limit()
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


def kill(process: int) -> None:
    """Send SIGKILL to a process and what it started, and wait for its end."""
    try:
        os.killpg(process, signal.SIGKILL)
    except ProcessLookupError:  # it has no group of its own yet
        os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def run(words: list[str], folder: Path) -> tuple[int, str]:
    """Run a command to its end; its exit code and what it said."""
    process = start(words, folder)
    code = end_of(process, LIMIT)
    if code is None:
        kill(process)
        code = -1
    return code, (folder.parent / "log.txt").read_text()


def contents(folder: Path) -> dict[str, object]:
    """What the files below a folder hold, by their names."""
    from scgan_nb.core.fingerprints import file_sha256

    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or any(part in name for part in NOT_COMPARED):
            continue
        has_times = path.name in ("report.json", "fig1.json", "fig1.ipynb")
        found[name] = (
            without_times(json.loads(path.read_text())) if has_times else file_sha256(path)
        )
    return found


def without_times(content: object) -> object:
    """The content of a report or figure without what two runs may not share."""
    if isinstance(content, dict):
        kept = {key: value for key, value in content.items() if key not in TIMES}
        return {key: without_times(value) for key, value in kept.items()}
    if isinstance(content, list):
        return [without_times(value) for value in content if " CPU-seconds)" not in str(value)]
    return content


def write_figure(folder: Path) -> None:
    """Write a figure as those of papers/, which trains a tiny model."""
    from nbformat import v4, write

    cells = [
        (v4.new_code_cell if kind == "code" else v4.new_markdown_cell)(text)
        for kind, text in FIGURE
    ]
    cells[1]["metadata"]["tags"] = ["parameters"]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"display_name": "python3", "language": "python", "name": "python3"}
    folder.mkdir(parents=True)
    write(v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), folder / "fig1.ipynb")


def make_states(home: Path, commands: tuple[str, ...]) -> dict[str, float]:
    """Run all commands undisturbed, and keep a copy from before and after each; their seconds."""
    from scgan_nb.data.examples import pbmc_example

    work, seconds = home / "work", {}
    work.mkdir()
    pbmc_example(240, 30).write_h5ad(work / "counts.h5ad")
    file = {"exp_param": {"experiments_dir": "runs", "GPU": []}, "experiments": {"tiny": SETTINGS}}
    (work / "parameters.json").write_text(json.dumps(file))
    write_figure(work / "papers" / "toy2030")
    last = max(COMMANDS.index(command) for command in commands)
    for command in COMMANDS[: last + 1]:
        shutil.copytree(work, home / f"before-{command}")
        if command not in commands and command in COMMANDS[3:]:
            continue  # no other command needs it
        began = time.monotonic()
        code, said = run(WORDS[command], work)
        seconds[command] = time.monotonic() - began
        if code:
            raise SystemExit(f"{command} fails undisturbed: {said}")
        shutil.copytree(work, home / f"after-{command}")
    return seconds


def try_point(home: Path, command: str, delay: float) -> tuple[float | None, str | None]:
    """Kill a command after `delay` seconds and give it again.

    Returns the seconds that it took, None if it was running then, and what is wrong afterwards.
    """
    work = home / "work"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(home / f"before-{command}", work)
    process, began = start(WORDS[command], work), time.monotonic()
    took: float | None = None
    if end_of(process, delay) is None:
        kill(process)
    else:
        took = time.monotonic() - began
    code, said = run(WORDS[command], work)
    complete = command == "process" and code == 1 and "already exists" in said
    if code and not complete:
        return took, f"lost: exit {code}, {' '.join(said[-300:].split())}"
    now, wanted = (contents(top / RESULTS[command]) for top in (work, home / f"after-{command}"))
    if now != wanted:
        names = [name for name in now.keys() | wanted.keys() if now.get(name) != wanted.get(name)]
        return took, f"different: {', '.join(sorted(names))}"
    return took, None


def done_points(results: Path | None) -> list[dict[str, str]]:
    """The rows of a table of points; none if there is no such file."""
    if results is None or not results.exists():
        return []
    with open(results, newline="") as file:
        return list(csv.DictReader(file))


def add_point(results: Path | None, row: tuple) -> None:
    """Add a row to a table of points, which is made if it is missing."""
    if results is None:
        return
    new = not results.exists()
    with open(results, "a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        writer.writerow(row)


def count_points(figures: dict[str, Figures], rows: list[dict[str, str]]) -> int:
    """Count rows of a table of points; returns how many there are."""
    for row in rows:
        one = figures.setdefault(row["command"], Figures())
        one.points += 1
        one.hit += row["running"] == "yes"
        one.went_on += not row["outcome"].startswith("lost")
        if row["outcome"] != "exact":
            one.wrong.append(f"at {row['moment']} of its time: {row['outcome']}")
    return len(rows)


def kill_points(
    points: int,
    seed: int = 0,
    commands: tuple[str, ...] = COMMANDS,
    results: Path | None = None,
) -> dict[str, Figures]:
    """Figures of each command at random points; points go round the commands."""
    import tensorflow  # noqa: F401  so that forked processes have it

    import scgan_nb.reporting.evaluate
    import scgan_nb.workflow.experiments  # noqa: F401

    figures = {command: Figures() for command in commands}
    order = [command for command in ORDER if command in commands]
    first = count_points(figures, done_points(results))
    home = Path(tempfile.mkdtemp(prefix="scgan_nb-kill-"))
    try:
        seconds = make_states(home, commands)
        for command in commands:
            figures[command].seconds = seconds[command]
        for number in range(first, points):
            command = order[number % len(order)]
            moment = random.Random(f"{seed} {number}").random()
            took, wrong = try_point(home, command, moment * seconds[command])
            # other work on the machine makes a command slower or faster
            seconds[command] = took or seconds[command] * 1.03
            row = (command, f"{moment:.4f}", "no" if took else "yes", wrong or "exact")
            add_point(results, row)
            count_points(figures, [dict(zip(COLUMNS, row, strict=True))])
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
    parser.add_argument("--results", type=Path, metavar="FILE", help="csv; done points are kept")
    given = parser.parse_args()
    began = time.monotonic()
    results = given.results and given.results.absolute()
    figures = kill_points(given.points, given.seed, tuple(given.commands), results)
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
