"""JupyterLab by `ci/env jupyter lab`: the whole project, opened on the list of its notebooks.

`labconfig/` beside this file turns off the question about news and the look for updates.
"""

import os
from pathlib import Path

c = get_config()  # noqa: F821 (Jupyter gives it)
c.ServerApp.root_dir = str(Path(__file__).resolve().parents[2])
c.LabApp.default_url = "/lab/tree/nbs/index.ipynb"
if hasattr(os, "geteuid") and os.geteuid() == 0:  # the usual user of a container
    c.ServerApp.allow_root = True
