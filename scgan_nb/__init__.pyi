from .core.presets import PRESETS as PRESETS
from .data import datasets as datasets
from .data.readers import convert as convert
from .data.readers import read as read
from .reporting import plots as pl
from .reporting.compare import compare as compare
from .reporting.evaluate import evaluate as evaluate
from .workflow.api import CscGAN as CscGAN
from .workflow.api import ScGAN as ScGAN
from .workflow.api import load as load

__version__: str
