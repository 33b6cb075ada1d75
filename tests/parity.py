#!/usr/bin/env python
"""Check our networks, losses, gradients and optimizer against what the original computed.

    tests/parity.py DIR [--tolerance 1e-4]

DIR holds `.npz` files: a small network of the original architecture, the random draws it was given,
and the results (layout: `config` as JSON, `before/<variable>`, `inference/...`, `critic_step/...`,
`generator_step/...`, `after_.../<variable>`). One line a file with the largest relative errors;
exit status 1 if any is above the tolerance or DIR holds no file.

The original's scores of a critic step were read in the same graph run that applied the update, with
nothing to order the two: a score may have been computed when some of the critic's variables were
already updated. A score that disagrees is therefore tried again with every mix of old and new
variables *as recorded in the file*. If one of them gives it, that mix is named on the line and its
error counts, and the critic loss, which is made of the same scores, is expected to contain it.
(The update waits for gradient penalty and gradients; with them this cannot happen.)
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np


def relative(ours, theirs) -> float:
    """Largest difference relative to the largest value of the array."""
    ours, theirs = (
        np.asarray(ours, np.float64).reshape(-1),
        np.asarray(theirs, np.float64).reshape(-1),
    )
    if ours.shape != theirs.shape or not np.isfinite(ours).all():
        return float("inf")
    scale = np.abs(theirs).max()
    return float(np.abs(ours - theirs).max() / scale) if scale > 0 else float(np.abs(ours).max())


def build_gan(config: dict, arrays: dict, fast: bool):
    """A `WGAN` with the sizes of `config` and the weights of `before/`."""
    from scgan_nb.core.parameters import ModelParams, Optimizer
    from scgan_nb.models.networks import build
    from scgan_nb.models.training_step import WGAN

    model = ModelParams(
        type=config["type"],
        latent_dim=config["latent"],
        gen_layers=config["gen"],
        critic_layers=config["critic"],
        output_LSN=config["lsn"],
        lambd=config["lambd"],
        gen_cond_type=config["norm"] or "batchnorm",
    )
    generator, critic = build(model, config["genes"], config["clusters"])
    gan = WGAN(
        generator,
        critic,
        Optimizer(algorithm=config["optimizer"], beta1=config["beta1"], beta2=config["beta2"]),
        config["lambd"],
        fast,
    )
    for name, variable in gan.weights_by_name().items():
        variable.assign(arrays[f"before/{name}"])
    return gan


def torn_read(critic, arrays, stage, cells, labels, recorded, tolerance) -> tuple[float, list[str]]:
    """Best agreement of `recorded` scores with a mix of old and new variables, and the new ones."""
    variables = critic.variables_by_name()
    now = {name: v.numpy() for name, v in variables.items()}
    best = (float("inf"), [])
    for new in itertools.product((False, True), repeat=len(variables)):
        for (name, v), is_new in zip(variables.items(), new, strict=True):
            v.assign(arrays[f"{'after_' + stage if is_new else 'before'}/{name}"])
        best = min(
            best,
            (
                relative(critic(cells, labels), recorded),
                [name for name, is_new in zip(variables, new, strict=True) if is_new],
            ),
        )
        if best[0] <= tolerance:
            break
    for name, v in variables.items():
        v.assign(now[name])
    return best


class Comparison:
    """Our results beside those in one file.

    Parameters
    ----------
    path : the file.
    fast : use the fast updates (True) or the textbook.
    tolerance : largest relative error of a score that is not tried again.
    """

    def __init__(self, path: Path, fast: bool, tolerance: float):
        import tensorflow as tf

        with np.load(path, allow_pickle=False) as file:
            self.arrays = {name: file[name] for name in file.files}
        self.config, self.tolerance = json.loads(str(self.arrays["config"])), tolerance
        self.gan = build_gan(self.config, self.arrays, fast)
        self.real, self.labels = tf.constant(self.arrays["real"]), self.labels_of("real_labels")
        self.errors: dict[str, float] = {}
        self.notes: list[str] = []

    def labels_of(self, name: str):
        """Labels by their name in the file; None for an scGAN."""
        import tensorflow as tf

        if self.config["type"] != "cscGAN":
            return None
        return tf.constant(self.arrays[name], tf.int32)

    def note(self, group: str, ours, theirs) -> None:
        self.errors[group] = max(self.errors.get(group, 0.0), relative(ours, theirs))

    def draws(self, step: str):
        import tensorflow as tf

        from scgan_nb.models.losses import Draws

        alpha = self.arrays.get(f"{step}/alpha")
        alpha = None if alpha is None else tf.constant(alpha)
        noise = tf.constant(self.arrays[f"{step}/z"])
        return Draws(noise, self.labels_of(f"{step}/fake_labels"), alpha)

    def weights(self, stage: str, trainable: dict) -> None:
        for name, variable in trainable.items():
            self.note("weights", variable, self.arrays[f"{stage}/{name}"])

    def gradients(self, step: str, update) -> None:
        for name, gradient in update.gradients.items():
            self.note("gradients", gradient, self.arrays[f"{step}/gradient/{name}"])

    def inference(self) -> None:
        cells = self.gan.generator(self.arrays["inference/z"], self.labels_of("inference/labels"))
        self.note("inference", cells, self.arrays["inference/fake"])

    def score(self, name: str, scores, cells, labels) -> float:
        """Compare scores; returns what a mix of old and new variables adds to the loss."""
        recorded = self.arrays[f"critic_step/{name}"]
        error, difference = relative(scores, recorded), 0.0
        if error > self.tolerance:
            where = self.gan.critic, self.arrays, "critic_step"
            error, new = torn_read(*where, cells, labels, recorded, self.tolerance)
            if error <= self.tolerance:
                difference = float(np.mean(recorded) - np.mean(scores))
                self.notes.append(f"{name} was recorded with {', '.join(new)} already updated")
        self.errors["scores"] = max(self.errors.get("scores", 0.0), error)
        return difference

    def critic_step(self) -> None:
        draws = self.draws("critic_step")
        update = self.gan.critic_update(self.real, self.labels, draws, self.config["learning_rate"])
        self.note("cells", update.fake, self.arrays["critic_step/fake"])
        loss = float(update.scalars["critic_loss"])
        loss -= self.score("d_real", update.d_real, self.real, self.labels)
        loss += self.score("d_fake", update.d_fake, update.fake, draws.labels)
        penalty = update.scalars["gradient_penalty"]
        self.note("losses", penalty, self.arrays["critic_step/gradient_penalty"])
        self.note("losses", loss, self.arrays["critic_step/critic_loss"])
        self.gradients("critic_step", update)
        self.weights("after_critic_step", self.gan.critic.trainable_by_name())

    def generator_step(self) -> None:
        draws = self.draws("generator_step")
        update = self.gan.generator_update(draws, self.config["learning_rate"])
        self.note("cells", update.fake, self.arrays["generator_step/fake"])
        self.note("scores", update.d_fake, self.arrays["generator_step/d_fake"])
        loss = update.scalars["generator_loss"]
        self.note("losses", loss, self.arrays["generator_step/generator_loss"])
        self.gradients("generator_step", update)
        self.weights("after_generator_step", self.all_trainable())

    def more_critic_steps(self) -> None:
        for step in (2, 3, 4):
            draws = self.draws(f"critic_step_{step}")
            self.gan.critic_update(self.real, self.labels, draws, self.config["learning_rate"])
        self.weights("after_4_critic_steps", self.all_trainable())

    def all_trainable(self) -> dict:
        return self.gan.generator.trainable_by_name() | self.gan.critic.trainable_by_name()


def check(
    path: Path, fast: bool, tolerance: float = 1e-4, notes: list[str] | None = None
) -> dict[str, float]:
    """Largest relative error of each group of results in one file."""
    comparison = Comparison(path, fast, tolerance)
    comparison.inference()
    comparison.critic_step()
    comparison.generator_step()
    comparison.more_critic_steps()
    if notes is not None:
        notes += comparison.notes
    return comparison.errors


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dir", type=Path)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    args = parser.parse_args(argv)
    files = sorted(args.dir.glob("*.npz"))
    if not files:
        print(f"no .npz file in {args.dir}")
        return 1
    failed = False
    for path in files:
        errors, notes = {}, []
        for fast in (False, True):
            for group, error in check(path, fast, args.tolerance, notes).items():
                errors[group] = max(errors.get(group, 0.0), error)
        ok = max(errors.values()) <= args.tolerance
        failed |= not ok
        print(
            f"{'ok  ' if ok else 'FAIL'} {path.name}: "
            + ", ".join(f"{group} {error:.1e}" for group, error in errors.items())
            + "".join(f" ({note})" for note in dict.fromkeys(notes))
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
