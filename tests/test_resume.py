"""A training that is killed goes on from its last checkpoint, and ends where it would have ended."""
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from scgan_nb.training import checkpoints, read_checkpoint


def run(*args, **kw):
    return subprocess.run([sys.executable, "-m", "scgan_nb.cli", *map(str, args)], capture_output=True, text=True, **kw)


def start_and_kill(param, job, how, at_step):
    """Start training in a process of its own and send it `how` once a checkpoint of at least `at_step` is there."""
    process = subprocess.Popen([sys.executable, "-m", "scgan_nb.cli", "--param", str(param), "--train"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 300
        while time.monotonic() < end and process.poll() is None:
            found = checkpoints(job) if job.exists() else []
            if found and int(found[-1].stem.split("-")[1]) >= at_step: break
            time.sleep(.02)
        assert process.poll() is None, "training ended before it could be killed"
        process.send_signal(how)
        return process.wait(120)
    finally: process.kill()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_killed_and_resumed(parameters, how):
    param, folder = parameters(max_steps=3_000, save_freq=2)
    assert run("--param", param, "--process").returncode == 0
    code = start_and_kill(param, folder / "job", how, 6)
    assert code != 0
    (last,) = checkpoints(folder / "job")[-1:]
    done = int(last.stem.split("-")[1])
    assert done >= 6 and not [p for p in (folder / "job").iterdir() if p.name.startswith(".") and p.suffix == ".safetensors" and p == last]

    end = done + 5
    text = param.read_text().replace('"max_steps": 3000', f'"max_steps": {end}')
    param.write_text(text)
    out = run("--param", param, "--train")
    assert out.returncode == 0, out.stderr
    assert f"goes on from step {done:,}" in out.stderr
    arrays, history, header = read_checkpoint(checkpoints(folder / "job")[-1])
    assert header["step"] == end and all(np.isfinite(a).all() for a in arrays.values())
    assert history["step"] == sorted(set(history["step"])) and history["step"][-1] == end


def test_resume_from_a_named_checkpoint(parameters, tmp_path):
    param, folder = parameters()
    assert run("--param", param, "--process", "--train").returncode == 0
    elsewhere = tmp_path / "kept.safetensors"
    elsewhere.write_bytes((folder / "job" / "model-6.safetensors").read_bytes())
    param, folder = parameters(max_steps=8, checkpoint=str(elsewhere))
    out = run("--param", param, "--train", "--restart")
    assert out.returncode == 0 and "goes on from step 6" in out.stderr, out.stderr
    assert (folder / "job" / "model-8.safetensors").exists() and (folder / "job.old-1" / "model-6.safetensors").exists()
