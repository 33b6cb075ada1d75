#!/usr/bin/env python
"""Check our networks, losses, gradients and optimiser against what the original computed.

    tests/parity.py DIR [--tolerance 1e-4]

DIR holds `.npz` files: a small network of the original architecture, the random draws it was given, and the results
(layout: `config` as JSON; `before/<variable>`, `inference/...`, `critic_step/...`, `generator_step/...`, `after_.../<variable>`).
One line a file with the largest relative errors; exit status 1 if any is above the tolerance or DIR holds no file.

The original's scores of a critic step were read in the same graph run that applied the update, with nothing to order the two:
a score may have been computed when some of the critic's variables were already the new ones. A score that disagrees is
therefore tried again with every mix of old and new variables *as recorded in the file*; if one of them gives it, that mix is
named on the line and its error counted, and the critic loss, which is made of the same scores, is expected to contain it.
(Gradient penalty and gradients are what the update waits for; with them this cannot happen.)
"""

from __future__ import annotations
import argparse, itertools, json, os, sys
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


def build_game(config: dict, arrays: dict, fast: bool):
    """A `Game` with the sizes of `config` and the weights of `before/`."""
    from scgan_nb.models.networks import build
    from scgan_nb.core.parameters import ModelParams, Optimizer
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
    """The best agreement of `recorded` scores with any mix of variables before and after `stage`, and the variables that were new."""
    variables = critic.variables_by_name()
    now = {name: v.numpy() for name, v in variables.items()}
    best = (float("inf"), [])
    for new in itertools.product((False, True), repeat=len(variables)):
        for (name, v), is_new in zip(variables.items(), new):
            v.assign(arrays[f"{'after_' + stage if is_new else 'before'}/{name}"])
        best = min(
            best,
            (
                relative(critic(cells, labels), recorded),
                [name for name, is_new in zip(variables, new) if is_new],
            ),
        )
        if best[0] <= tolerance:
            break
    for name, v in variables.items():
        v.assign(now[name])
    return best


def check(
    path: Path, fast: bool, tolerance: float = 1e-4, notes: list[str] | None = None
) -> dict[str, float]:
    """Largest relative error of each group of results in one file."""
    import tensorflow as tf
    from scgan_nb.models.losses import Draws

    with np.load(path, allow_pickle=False) as f:
        arrays = {k: f[k] for k in f.files}
    config = json.loads(str(arrays["config"]))
    gan, rate = build_game(config, arrays, fast), config["learning_rate"]
    conditional = config["type"] == "cscGAN"
    real, labels = (
        tf.constant(arrays["real"]),
        tf.constant(arrays["real_labels"], tf.int32) if conditional else None,
    )
    errors: dict[str, float] = {}

    def note(group, ours, theirs):
        errors[group] = max(errors.get(group, 0.0), relative(ours, theirs))

    def draws(step):
        alpha = arrays.get(f"{step}/alpha")
        return Draws(
            tf.constant(arrays[f"{step}/z"]),
            tf.constant(arrays[f"{step}/fake_labels"], tf.int32) if conditional else None,
            None if alpha is None else tf.constant(alpha),
        )

    def weights(stage, trainable):
        for name, variable in trainable.items():
            note("weights", variable, arrays[f"{stage}/{name}"])

    note(
        "inference",
        gan.generator(
            arrays["inference/z"],
            tf.constant(arrays["inference/labels"], tf.int32) if conditional else None,
        ),
        arrays["inference/fake"],
    )

    update = gan.critic_update(real, labels, draws("critic_step"), rate)
    note("cells", update.fake, arrays["critic_step/fake"])
    loss = float(update.scalars["critic_loss"])
    for name, scores, cells, of in (
        ("d_real", update.d_real, real, labels),
        ("d_fake", update.d_fake, update.fake, draws("critic_step").labels),
    ):
        error = relative(scores, arrays[f"critic_step/{name}"])
        if error > tolerance:
            error, new = torn_read(
                gan.critic,
                arrays,
                "critic_step",
                cells,
                of,
                arrays[f"critic_step/{name}"],
                tolerance,
            )
            if error <= tolerance:
                loss += (1 if name == "d_fake" else -1) * float(
                    np.mean(arrays[f"critic_step/{name}"]) - np.mean(scores)
                )
                if notes is not None:
                    notes.append(f"{name} was recorded with {', '.join(new)} already updated")
        errors["scores"] = max(errors.get("scores", 0.0), error)
    for name, ours in (
        ("gradient_penalty", update.scalars["gradient_penalty"]),
        ("critic_loss", loss),
    ):
        note("losses", ours, arrays[f"critic_step/{name}"])
    for name, gradient in update.gradients.items():
        note("gradients", gradient, arrays[f"critic_step/gradient/{name}"])
    weights("after_critic_step", gan.critic.trainable_by_name())

    update = gan.generator_update(draws("generator_step"), rate)
    note("cells", update.fake, arrays["generator_step/fake"])
    note("scores", update.d_fake, arrays["generator_step/d_fake"])
    note("losses", update.scalars["generator_loss"], arrays["generator_step/generator_loss"])
    for name, gradient in update.gradients.items():
        note("gradients", gradient, arrays[f"generator_step/gradient/{name}"])
    weights(
        "after_generator_step", gan.generator.trainable_by_name() | gan.critic.trainable_by_name()
    )

    for step in (2, 3, 4):
        gan.critic_update(real, labels, draws(f"critic_step_{step}"), rate)
    weights(
        "after_4_critic_steps", gan.generator.trainable_by_name() | gan.critic.trainable_by_name()
    )
    return errors


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
