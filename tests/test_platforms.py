"""The locks hold on every platform that is named, and a container works under any user id."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT

PLATFORMS = [
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "aarch64-apple-darwin",
    "x86_64-pc-windows-msvc",
]
COMPILED = {"aarch64-unknown-linux-gnu": ["opentsne"]}  # no wheel there
OFFLINE = r"(?i)error sending request|failed to fetch|could not connect|dns error|timed? ?out"
HERE = "{}.{}".format(*sys.version_info[:2])


def resolve(version, platform):
    """The lock of a Python, resolved by uv for a platform from wheels alone: name==version."""
    lock = ROOT / "ci" / "locks" / f"py{version.replace('.', '')}.txt"
    command = ["uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", str(lock)]
    command += ["--python-version", version, "--python-platform", platform]
    command += ["--no-emit-index-url", "--no-emit-find-links", "--only-binary", ":all:"]
    command += [word for name in COMPILED.get(platform, []) for word in ("--no-binary", name)]
    oldest = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"}  # faiss-cpu needs macOS 14
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=oldest)
    if done.returncode and re.search(OFFLINE, done.stderr):
        pytest.skip("no package registry can be reached")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split()), {line.split(" ;")[0] for line in lock.open()}


def assert_complete(version, platform):
    """Every package has a wheel, and nothing that the lock lacks is needed."""
    resolved, locked = resolve(version, platform)
    assert resolved - {line.strip() for line in locked} == set() and len(resolved) > 150


@pytest.mark.parametrize("platform", PLATFORMS[1:])  # `ci/env` installs the first
def test_lock_resolves(platform):
    if not shutil.which("uv"):
        pytest.skip("no uv")
    assert_complete(HERE, platform)


@pytest.mark.thorough
@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_every_lock_resolves(version, platform):
    assert_complete(version, platform)


@pytest.mark.skipif(os.name != "posix", reason="a shell script for Linux containers")
@pytest.mark.parametrize("home", ["/", "/proc/none", "writable"])
def test_container_has_a_home(tmp_path, home):
    """An unknown user id has no home, and a read-only image none that can be written."""
    home = str(tmp_path / home) if home == "writable" else home
    places = ("HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR")
    tell = f"import os; print(*(os.environ[name] for name in {places!r}), sep='\\n')"
    given = {"HOME": home, "TMPDIR": str(tmp_path), "PATH": os.environ["PATH"]}
    given |= {"NUMBA_CACHE_DIR": "/proc/none"}
    command = ["sh", str(ROOT / "ci" / "container"), sys.executable, "-c", tell]
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=True)
    found = done.stdout.split()
    assert len(found) == len(places)
    assert all(path.startswith(str(tmp_path)) and os.access(path, os.W_OK) for path in found)
    assert (found[0] == home) == home.startswith(str(tmp_path))
