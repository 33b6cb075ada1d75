"""Realistic single-cell RNA-seq data from (c)scGAN models.

Names are looked up when they are first used. `import scgan_nb` therefore takes a fraction of a
second; TensorFlow and scanpy are imported by the first call that needs them.
"""

import os
from importlib import import_module

# TensorFlow: show warnings, but no start-up notes
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
# oneDNN makes matrix products faster; TensorFlow leaves it off on some AMD processors
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__version__ = "0.1.0"

# public name -> module, and the name in it (None: the module itself)
_PUBLIC = {
    "read": ("data.readers", "read"),
    "convert": ("data.readers", "convert"),
    "datasets": ("data.datasets", None),
    "ScGAN": ("workflow.api", "ScGAN"),
    "CscGAN": ("workflow.api", "CscGAN"),
    "load": ("workflow.api", "load"),
    "PRESETS": ("core.presets", "PRESETS"),
    "evaluate": ("reporting.evaluate", "evaluate"),
    "compare": ("reporting.compare", "compare"),
    "pl": ("reporting.plots", None),
}
_ALIASES = {"plots": "pl"}  # accepted, but not listed

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str):
    name = _ALIASES.get(name, name)
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    path, attribute = _PUBLIC[name]
    module = import_module(f"{__name__}.{path}")
    value = globals()[name] = module if attribute is None else getattr(module, attribute)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
