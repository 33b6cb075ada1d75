"""Run commands where the disk or the memory ends, lift the limit, give them again, and compare.

    ci/env python tests/limits.py [--commands process train generate evaluate] [--limits disk ...]

Each point runs one command of `kill.py` under a limit. It must end with an exit status that is not
0 and with one sentence, or with the undisturbed result. No temporary file may be left, and what was
there before must be there still. Then the limit is lifted, and the same command must give the
undisturbed result.

    disk         a small disk (tmpfs) with room for a part of what the command writes
    read-only    the same disk, mounted again for reading only
    file size    RLIMIT_FSIZE, as `ulimit -f`
    handles      RLIMIT_NOFILE, as `ulimit -n`
    memory       RLIMIT_AS, as `ulimit -v`: the memory that is used at the start, and a part more

The first two need the right to mount, as root has it, in a mount namespace of this process alone.
"""

import argparse
import ctypes
import fcntl
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import kill

MIB = 2**20
COMMANDS = kill.COMMANDS[:4]
AMOUNTS = {
    "disk": (0.0, 0.3, 0.6, 0.9),  # of what the command writes
    "read-only": (0,),
    "file size": (1, 600, 4_000, 16_000),  # bytes
    "handles": (1, 2, 3, 6, 33, 48),  # more than are open
    "memory": (1, 40, 1_000, 1_600),  # MiB more than are used
}
OF_LIBRARIES = ("OpenBLAS error: Memory allocation",)  # which then end the process themselves
NEW_MOUNTS, NEW_USER = 0x20000, 0x10000000  # of unshare


def mount(*words: str) -> None:
    """Run `mount`; raises OSError with its words if it fails."""
    done = subprocess.run(["mount", *words], capture_output=True, text=True)
    if done.returncode:
        raise OSError(done.stderr.strip())


def own_disk(place: Path) -> None:
    """Give this process mounts of its own, and an empty disk at `place`."""
    libc, ids = ctypes.CDLL(None, use_errno=True), (os.getuid(), os.getgid())
    if libc.unshare(NEW_MOUNTS) and libc.unshare(NEW_MOUNTS | NEW_USER):
        raise OSError(ctypes.get_errno(), "this process may have no mounts of its own")
    if os.getuid() != ids[0]:
        for name, number in zip(("uid_map", "gid_map"), ids, strict=True):
            Path("/proc/self/setgroups").write_text("deny")
            Path(f"/proc/self/{name}").write_text(f"0 {number} 1")
    mount("--make-rprivate", "/")
    mount("-t", "tmpfs", "-o", f"size={512 * MIB}", "tmpfs", str(place))


def can_mount() -> bool:
    """Whether this process may have a disk of its own."""
    with tempfile.TemporaryDirectory() as place:
        try:
            in_a_fork(lambda: own_disk(Path(place)))
        except OSError:
            return False
    return True


def in_a_fork(work: Callable) -> object:
    """What `work()` returns in a forked process, through JSON; OSError if it raises an error."""
    read, write = os.pipe()
    process = os.fork()
    if process:
        os.close(write)
        with open(read, encoding="utf-8") as file:
            content = file.read()
        os.waitpid(process, 0)
        told = json.loads(content or '{"error": "the process ended early"}')
        if "error" in told:
            raise OSError(told["error"])
        return told["result"]
    try:
        told = {"result": work()}
    except Exception as error:
        told = {"error": f"{type(error).__name__}: {error}"}
    with open(write, "w", encoding="utf-8") as file:
        json.dump(told, file)
    os._exit(0)


def run(words: list[str], folder: Path, limit: Callable) -> tuple[int, str]:
    """Run a command that calls `limit` first; its exit code and what it said.

    Its words go through a pipe, for which there is no limit.
    """
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, MIB)
    process = kill.start(words, folder, limit, write)
    os.close(write)
    code = kill.end_of(process, kill.LIMIT)
    if code is None:
        kill.kill(process)
        code = -1
    with open(read, encoding="utf-8", errors="replace") as file:
        return code, file.read()


def used(folder: Path) -> int:
    """Bytes of the disk that a folder is on."""
    usage = shutil.disk_usage(folder)
    return usage.total - usage.free


def set_limit(kind: int, number: int) -> None:
    """Lower a limit of this process."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(kind, (number, resource.getrlimit(kind)[1]))


def limit_handles(more: int) -> None:
    """Allow this process only so many files more than are open."""
    from scgan_nb.workflow import devices

    devices._require_handles.cache_clear()  # the process that was forked may have asked before
    taken = {int(name) for name in os.listdir("/proc/self/fd")}
    free = (number for number in range(4096) if number not in taken)
    set_limit(resource.RLIMIT_NOFILE, [next(free) for _ in range(more)][-1] + 1)


def limit_memory(more: float) -> None:
    """Allow this process only so many MiB more than it has."""
    from scgan_nb.workflow import devices

    devices._require_addresses.cache_clear()  # the process that was forked may have asked before
    has = int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024
    set_limit(resource.RLIMIT_AS, int(has + more * MIB))


@contextmanager
def limited(work: Path, limit: str, amount: float, written: int) -> Iterator[Callable]:
    """Set a limit; what the command has to call first is yielded."""
    disk = str(work.parent)
    if limit == "disk":
        size = used(work) + int(amount * written)
        mount("-o", f"remount,size={max(size, 4096)}", disk)
        yield lambda: None
        mount("-o", f"remount,size={512 * MIB}", disk)
    elif limit == "read-only":
        mount("-o", "remount,ro", disk)
        yield lambda: None
        mount("-o", "remount,rw", disk)
    elif limit == "file size":
        yield lambda: set_limit(resource.RLIMIT_FSIZE, int(amount))
    elif limit == "handles":
        yield lambda: limit_handles(int(amount))
    else:
        yield lambda: limit_memory(amount)


def wrong_end(code: int, said: str) -> str | None:
    """What is wrong with the end of a command that failed."""
    lines = said.strip().splitlines()
    if code == 1 and lines and lines[-1].startswith(OF_LIBRARIES):
        return None
    sentences = [line for line in lines if line.startswith("scgan_nb: ")]
    if code != 1:
        return f"exit {code}: {' '.join(said[-300:].split())}"
    if "Traceback" in said or len(sentences) != 1 or lines[-1] != sentences[0]:
        return f"not one sentence: {' '.join(said[-600:].split())}"
    return None


def leftovers(work: Path) -> list[str]:
    """Temporary files."""
    return [path.name for path in work.rglob("*") if path.name.startswith((".partial-", "tmp"))]


def try_limit(home: Path, place: Path, command: str, limit: str, amount: float) -> tuple:
    """Run a command under a limit, and again without; whether it failed, its words, the faults."""
    work, words = place / "work", kill.WORDS[command]
    before, after = (home / f"{when}-{command}" for when in ("before", "after"))
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(before, work)
    there = kill.contents(work)
    written = sum(path.stat().st_size for path in after.rglob("*") if path.is_file())
    written -= sum(path.stat().st_size for path in before.rglob("*") if path.is_file())
    with limited(work, limit, amount, written) as first:
        code, said = run(words, work, first)
    faults, now = [], kill.contents(work)
    if code:
        faults += filter(None, [wrong_end(code, said)])
        faults += [f"{name} has changed" for name in there if now.get(name) != there[name]]
    faults += [f"{name} was left" for name in leftovers(work)]
    if code or command != "process":
        again, told = run(words, work, lambda: None)
        if again:
            faults.append(f"afterwards exit {again}: {' '.join(told[-300:].split())}")
    result, wanted = (kill.contents(top / kill.RESULTS[command]) for top in (work, after))
    names = [name for name in result.keys() | wanted.keys() if result.get(name) != wanted.get(name)]
    faults += [f"different: {', '.join(sorted(names))}"] if names else []
    return bool(code), said.strip().splitlines()[-1:], faults


def points(commands: tuple[str, ...], limits: dict[str, tuple]) -> list[tuple]:
    """All points in order: command, limit, amount, whether it failed, its words, its faults."""
    import tensorflow  # noqa: F401  so that forked processes have it

    import scgan_nb.reporting.evaluate
    import scgan_nb.workflow.experiments  # noqa: F401

    home = Path(tempfile.mkdtemp(prefix="scgan_nb-limits-"))
    try:
        kill.make_states(home, commands)
        place = home / "place"
        place.mkdir()
        tried = [(c, limit, n) for c in commands for limit in limits for n in limits[limit]]

        def work() -> list[tuple]:
            if {"disk", "read-only"} & set(limits):
                own_disk(place)
            found = []
            for one in tried:
                found.append((*one, *try_limit(home, place, *one)))
                if os.environ.get("LIMITS_SHOW"):
                    print(*found[-1], sep=" | ", flush=True)
            return found

        return in_a_fork(work)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--limits", nargs="+", choices=list(AMOUNTS), default=list(AMOUNTS))
    given = parser.parse_args()
    limits = {name: AMOUNTS[name] for name in given.limits}
    found = points(tuple(given.commands), limits)
    for command, limit, amount, failed, said, faults in found:
        end = f"failed: {' '.join(said)}" if failed else "had room"
        print(f"{command}, {limit} {amount:g}: {end}")
        for fault in faults:
            print(f"  WRONG {fault}")
    wrong = sum(bool(row[-1]) for row in found)
    print(f"{len(found)} points, {sum(row[3] for row in found)} failed, {wrong} wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
