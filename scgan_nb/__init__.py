"""Realistic single-cell RNA-seq data from (c)scGAN models, in notebooks.

Names are looked up when first used, so that `import scgan_nb` stays instant:
TensorFlow and scanpy are imported by the first call that needs them.
"""

import os

import lazy_loader

# TensorFlow's start-up notes are not for our readers; its warnings are
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
# oneDNN's matrix products are faster; TensorFlow leaves them off on some AMD processors
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "data": ["datasets"],
        "data.readers": ["read", "convert"],
        "workflow.api": ["ScGAN", "CscGAN", "load"],
        "reporting": ["plots"],
        "reporting.report": ["evaluate"],
        "reporting.compare": ["compare"],
    },
)
