"""A training on two devices, and in two processes of this machine."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from scgan_nb.training.checkpoints import checkpoints, read_checkpoint

ALONE = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
HANGING = 1_200  # seconds after which a process is held to be hanging, however busy the machine is

TWO_DEVICES = """
import sys
import numpy as np, tensorflow as tf
from scgan_nb.core.parameters import TrainingParams
from scgan_nb.workflow.strategies import choose_strategy
two = choose_strategy(TrainingParams(devices=2))
from scgan_nb.data.examples import pbmc_example
from scgan_nb.models import count_step
from scgan_nb.models.count_draws import seen_draw
from scgan_nb.models.replicas import strategy_of
from scgan_nb.training.trainer import batches_from
from scgan_nb.workflow.api import CscGAN, load

drawn_by_replicas = count_step.generated_views


def drawn_in_halves(generator, z, labels, depths, pair, *views):
    "One device that draws the counts of the joined batch as two replicas do."
    shares = generator(z, labels, depths, training=True, follow=True)
    made = []
    halves = zip(*(tf.split(x, 2) for x in (depths[:, None] * shares, depths)))
    for n, (rates, d) in enumerate(halves):
        own = tf.random.fold_in(pair, n)
        rates, large = generator.large_clumps.draw(rates, own)
        made.append(seen_draw(rates, d, own, *views, generator.clumping, large))
    return [tf.concat(of_both, axis=0) for of_both in zip(*made)]


def one_step(preset, devices):
    "A model on so many devices, and what its first step computed."
    count_step.generated_views = drawn_in_halves if devices == 1 else drawn_by_replicas
    sizes = {"gen_layers": [16, 16], "critic_layers": [16], "batch_size": 16, "critic_iters": 1}
    model = CscGAN(pbmc_example(), labels_key="cell_type", preset=preset, **sizes)
    trainer = model.prepare(devices=devices)
    assert strategy_of(model.gan) is (two if devices == 2 else None)
    arguments = tf.constant(0, tf.int64), tf.constant(1e-3)
    step = trainer.compiled_step(*next(batches_from(trainer)), *arguments, detail=True)
    return model, *step


def largest_difference(one, other):
    scale = max(float(tf.reduce_max(tf.abs(g))) for g in one.values())
    return max(float(tf.reduce_max(tf.abs(one[n] - other[n]))) for n in one) / scale


def compare(preset):
    "The step of two devices is that of one; returns the model on two."
    one, scalars, *updates = one_step(preset, 1)
    two_model, two_scalars, *two_updates = one_step(preset, 2)
    for update, of_two in zip(updates, two_updates):
        assert (update.fake.shape[0], of_two.fake.shape[0]) == (16, 8)  # each has its own cells
        assert largest_difference(update.gradients, of_two.gradients) < 1e-4
    for name, value in scalars.items():
        assert np.isclose(value, two_scalars[name], rtol=1e-4, atol=1e-5), name
    states = one.gan.state_by_name(), two_model.gan.state_by_name()
    assert largest_difference(*states) < 1e-4
    for variable in states[1].values():
        assert np.array_equal(*two.experimental_local_results(variable))
    return two_model


compare("minutes")
model = compare("counts")
job = sys.argv[1]
model.train(3, job=job, progress=False)
weights = model.gan.state_by_name()
for variable in weights.values():
    assert np.array_equal(*two.experimental_local_results(variable))
alone = load(job, model.processed)
assert strategy_of(alone.gan) is None
for name, variable in alone.gan.state_by_name().items():
    assert np.array_equal(variable, weights[name])
assert (alone.generate(5, seed=1).X != model.generate(5, seed=1).X).nnz == 0
model.train(4, progress=False, devices=1)
assert strategy_of(model.gan) is None and model.step == 4
print("done")
"""


def test_two_devices_make_the_step_of_one(tmp_path):
    command = [sys.executable, "-c", TWO_DEVICES, str(tmp_path / "job")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | ALONE)
    assert done.returncode == 0 and done.stdout.strip() == "done", done.stderr[-3000:]


PROCESS = """
import hashlib, sys
from pathlib import Path
from scgan_nb.core.parameter_files import read_parameters
from scgan_nb.workflow import cli, experiments

found, train = [], experiments.train
experiments.train = lambda *args: found.append(train(*args))
code = cli.main(["--param", sys.argv[1], "--train", "--devices", "auto"])
if code == 0:
    total = hashlib.sha256()
    for name, value in sorted(found[0].gan.state_by_name().items()):
        total.update(name.encode() + value.numpy().tobytes())
    print(found[0].step, total.hexdigest())
sys.exit(code)
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def start_two():
    """Starts two processes that train together; those that are left are killed at the end."""
    started = []

    def start(param):
        cluster = {"worker": [f"127.0.0.1:{free_port()}" for _ in range(2)]}
        for number in range(2):
            described = {"cluster": cluster, "task": {"type": "worker", "index": number}}
            environment = os.environ | ALONE | {"TF_CONFIG": json.dumps(described)}
            command = [sys.executable, "-c", PROCESS, str(param)]
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            started.append(subprocess.Popen(command, env=environment, **pipes))
        return started[-2:]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for_step(job, step, processes):
    """Wait until a checkpoint of that step or a later one is there, or a process has ended."""
    end = time.monotonic() + HANGING
    while time.monotonic() < end and all(process.poll() is None for process in processes):
        found = checkpoints(job) if job.exists() else []
        if found and int(found[-1].stem.split("-")[1]) >= step:
            return
        time.sleep(0.05)
    for process in processes:
        process.kill()
    raise AssertionError(f"no step {step}: {[process.communicate() for process in processes]}")


def test_two_processes_one_killed_and_resumed(parameters, start_two):
    from scgan_nb.workflow.cli import main

    param, folder = parameters(max_steps=100_000, summary_freq=5)
    assert main(["--param", str(param), "--process"]) == 0
    pair = start_two(param)
    wait_for_step(folder / "job", 6, pair)
    pair[1].send_signal(signal.SIGKILL)
    _, said = pair[0].communicate(timeout=HANGING)
    assert pair[0].returncode == 1, said
    assert "worker 1 (127.0.0.1:" in said.splitlines()[-1], said
    done = int(checkpoints(folder / "job")[-1].stem.split("-")[1])
    assert done >= 6

    end = done + 4
    param.write_text(param.read_text().replace("100000", str(end)))
    pair = start_two(param)
    outputs = [process.communicate(timeout=HANGING) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], outputs
    (chief, said), (other, _) = outputs
    assert chief == other and chief.split()[0] == str(end)
    assert f"goes on from step {done}" in said and "2 processes" in said
    history = read_checkpoint(checkpoints(folder / "job")[-1])[1]
    assert history["step"][-1] == end


@pytest.mark.thorough
def test_chief_killed(parameters, start_two):
    from scgan_nb.workflow.cli import main

    param, folder = parameters(max_steps=100_000, summary_freq=5)
    assert main(["--param", str(param), "--process"]) == 0
    pair = start_two(param)
    wait_for_step(folder / "job", 6, pair)
    pair[0].send_signal(signal.SIGKILL)
    _, said = pair[1].communicate(timeout=HANGING)
    assert pair[1].returncode != 0 and checkpoints(folder / "job"), said
    assert "worker 0 (127.0.0.1:" in said or "coordination service" in said, said


def test_signal_while_processes_agree(monkeypatch):
    """It is not lost: the others hear of it after the next call."""
    from scgan_nb.training import trainer as loop

    here = SimpleNamespace(stop_signal=0, gan=None)

    def exchange(strategy, numbers):
        here.stop_signal = signal.SIGTERM
        return np.array(numbers, float)

    monkeypatch.setattr(
        loop, "process_addresses", lambda strategy: {"worker 0": "", "worker 1": ""}
    )
    monkeypatch.setattr(loop, "strategy_of", lambda gan: None)
    monkeypatch.setattr(loop, "sum_over_processes", exchange)
    timer = loop.StepTimer()
    assert loop.agree(here, timer, True) == (True, 0)
    assert loop.agree(here, timer, True) == (True, signal.SIGTERM)


@pytest.mark.thorough
def test_one_process_is_told_to_stop(parameters, start_two, capfd):
    """SIGTERM to one process ends both after the same step; one process alone goes on from it."""
    from scgan_nb.workflow.cli import main

    param, folder = parameters(max_steps=100_000, summary_freq=5)
    assert main(["--param", str(param), "--process"]) == 0
    pair = start_two(param)
    wait_for_step(folder / "job", 6, pair)
    pair[1].send_signal(signal.SIGTERM)
    outputs = [process.communicate(timeout=HANGING) for process in pair]
    assert [process.returncode for process in pair] == [143, 143], outputs
    done = int(checkpoints(folder / "job")[-1].stem.split("-")[1])
    param.write_text(param.read_text().replace("100000", str(done + 3)))
    capfd.readouterr()
    assert main(["--param", str(param), "--train", "--devices", "1"]) == 0
    assert int(checkpoints(folder / "job")[-1].stem.split("-")[1]) == done + 3


def test_devices_that_cannot_be(parameters, capsys, monkeypatch):
    from scgan_nb.workflow.cli import main

    param, _ = parameters()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    for devices, fact in (("3", "32 cells"), ("0", "devices"), ("many", "devices")):
        assert main(["--param", str(param), "--process", "--train", "--devices", devices]) == 1
        assert fact in capsys.readouterr().err
    cluster = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    assert main(["--param", str(param), "--process", "--devices", "auto"]) == 1
    assert "one process" in capsys.readouterr().err


def test_a_gpu_that_cannot_be_used(monkeypatch, caplog):
    """It ends a training, but not where TensorFlow was installed without CUDA."""
    import tensorflow as tf

    from scgan_nb.core.presets import experiment_of
    from scgan_nb.workflow import strategies

    monkeypatch.setattr(strategies, "gpu_names", lambda: ["GPU 0: NVIDIA Example"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    training = experiment_of(raw_input="cells.h5ad", type="scGAN").training
    with caplog.at_level("WARNING", "scgan_nb"):
        assert strategies.device_names(training) == ["CPU:0"]
    assert "NVIDIA Example" in caplog.text and "scgan_nb[gpu]" in caplog.text
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: True)
    with pytest.raises(RuntimeError, match="NVIDIA Example.*allow_cpu"):
        strategies.device_names(training)
