"""A training that is killed goes on from its last checkpoint."""

import logging
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from scgan_nb.training.checkpoints import checkpoints, read_checkpoint
from scgan_nb.workflow.cli import main


@pytest.fixture
def run(caplog):
    """The command in this process; returns what it logged, and fails if it fails."""
    caplog.set_level(logging.INFO, "scgan_nb")

    def call(*args):
        caplog.clear()
        assert main([str(a) for a in args]) == 0
        return caplog.text

    return call


def start_and_kill(param, job, how, at_step):
    """Start training in a new process and send it the signal `how` once it has saved `at_step`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scgan_nb.workflow.cli", "--param", str(param), "--train"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 300
        while time.monotonic() < end and process.poll() is None:
            found = checkpoints(job) if job.exists() else []
            if found and int(found[-1].stem.split("-")[1]) >= at_step:
                break
            time.sleep(0.02)
        assert process.poll() is None, "training ended before it could be killed"
        process.send_signal(how)
        return process.wait(120)
    finally:
        process.kill()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_killed_and_resumed(parameters, run, how):
    param, folder = parameters(max_steps=3_000, save_freq=2)
    run("--param", param, "--process")
    code = start_and_kill(param, folder / "job", how, 6)
    assert code != 0
    done = int(checkpoints(folder / "job")[-1].stem.split("-")[1])
    assert done >= 6

    end = done + 5
    text = param.read_text().replace('"max_steps": 3000', f'"max_steps": {end}')
    param.write_text(text)
    assert f"goes on from step {done:,}" in run("--param", param, "--train")
    arrays, history, header = read_checkpoint(checkpoints(folder / "job")[-1])
    assert header["step"] == end and all(np.isfinite(a).all() for a in arrays.values())
    assert history["step"] == sorted(set(history["step"])) and history["step"][-1] == end


def test_resume_from_a_named_checkpoint(parameters, run, tmp_path):
    param, folder = parameters()
    run("--param", param, "--process", "--train")
    elsewhere = tmp_path / "kept.safetensors"
    elsewhere.write_bytes((folder / "job" / "model-6.safetensors").read_bytes())
    param, folder = parameters(max_steps=8, checkpoint=str(elsewhere))
    assert "goes on from step 6" in run("--param", param, "--train", "--restart")
    assert (folder / "job" / "model-8.safetensors").exists() and (
        folder / "job.old-1" / "model-6.safetensors"
    ).exists()
    # interrupted and started again, it goes on from its own checkpoint, not from the named one
    param, folder = parameters(max_steps=10, checkpoint=str(elsewhere))
    assert "goes on from step 8" in run("--param", param, "--train")
