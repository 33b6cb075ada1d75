"""Check the files of a release: `python ci/check_release.py DIST VERSION`."""

import sys
import tarfile
import zipfile
from pathlib import Path

from packaging.metadata import Metadata

NEEDED = ("scgan_nb/__init__.py", "scgan_nb/resources/pbmc3k.h5ad", "train.ipynb", "LICENSE")


def complaints(dist: Path, version: str) -> list[str]:
    """What is wrong with the wheel and the source distribution in a folder."""
    wheels, sources = list(dist.glob("*.whl")), list(dist.glob("*.tar.gz"))
    if len(wheels) != 1 or len(sources) != 1:
        return [f"{dist} has {len(wheels)} wheels and {len(sources)} source distributions"]
    with zipfile.ZipFile(wheels[0]) as wheel, tarfile.open(sources[0]) as source:
        inside = {wheels[0]: wheel.namelist(), sources[0]: source.getnames()}
        [name] = [name for name in inside[wheels[0]] if name.endswith(".dist-info/METADATA")]
        metadata = Metadata.from_email(wheel.read(name))  # raises what an index would refuse
    found = [
        f"{path.name} lacks {needed}"
        for path, names in inside.items()
        for needed in NEEDED
        if not any(name.endswith(needed) for name in names)
    ]
    if str(metadata.version) != version:
        found.append(f"{wheels[0].name} has version {metadata.version}, not {version}")
    if not metadata.description:
        found.append(f"{wheels[0].name} has no description")
    return found


if __name__ == "__main__":
    wrong = complaints(Path(sys.argv[1]), sys.argv[2])
    print("\n".join(wrong) if wrong else "wheel and source distribution are complete")
    sys.exit(bool(wrong))
