"""`ci/browser`: a browser that was checked, or one line that says why there is none."""

import importlib.machinery
import importlib.util
import subprocess
import sys

import pytest

from conftest import ROOT

SCRIPT = ROOT / "ci" / "browser"
FAKE_NPM = """#!/bin/sh
[ "$SUCCEEDS" = yes ] || exit 1
while [ "$1" != --pack-destination ]; do shift; done
echo "not the package" > "$2/chromium.tgz"
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The script as a module, with an empty cache, and with `npm` alone on PATH."""
    pytest.importorskip("brotli", reason="brotli is missing")
    loader = importlib.machinery.SourceFileLoader("browser_script", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(module)
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(FAKE_NPM)
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}:/bin")
    monkeypatch.delenv("SCGAN_NB_CHROMIUM", raising=False)
    monkeypatch.setattr(module, "NAMES", ("scgan-nb-no-such-browser",))
    monkeypatch.setattr(module, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(module, "PLATFORM", (sys.platform, module.platform.machine()))
    return module


def test_a_named_browser_is_taken(monkeypatch):
    monkeypatch.setenv("SCGAN_NB_CHROMIUM", "/opt/mine")
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True)
    assert done.stdout == "/opt/mine\n"


@pytest.mark.parametrize("succeeds, why", [("no", "network"), ("yes", "checksum")])
def test_no_browser_is_one_sentence_and_nothing_is_kept(script, monkeypatch, succeeds, why):
    monkeypatch.setenv("SUCCEEDS", succeeds)
    with pytest.raises(SystemExit, match=f"no Chromium: .*{why}") as stop:
        script.main()
    assert "\n" not in str(stop.value)
    assert list((script.CACHE).iterdir()) == []


def test_other_platforms_are_told(script, monkeypatch):
    monkeypatch.setattr(script, "PLATFORM", ("linux", "none"))
    with pytest.raises(SystemExit, match="SCGAN_NB_CHROMIUM"):
        script.main()
