"""Realistic single-cell RNA-seq data from (c)scGAN models, in notebooks.

Names are looked up when first used, so that `import scgan_nb` stays instant:
TensorFlow and scanpy are imported by the first call that needs them.
"""
import os

import lazy_loader

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")      # TensorFlow's start-up notes are not for our readers; its warnings are

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["files", "parameters", "readers", "datasets", "clusters", "preprocess", "records", "networks", "wgan", "training",
                "generation", "models", "metrics", "judging", "plots", "report", "experiment"],
    submod_attrs={"readers": ["read", "convert"], "models": ["ScGAN", "CscGAN", "load"], "report": ["evaluate"]},
)
