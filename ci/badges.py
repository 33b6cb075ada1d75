"""Badges of README.md that open the notebooks on Binder and Colab.

They are links into a public repository, so there are none before its address is known: the setting
`git_url` of settings.ini, for example https://github.com/OWNER/REPOSITORY. An address that nbdev
guesses from `user` and `repo` does not count. Colab opens repositories of GitHub only.
"""

import configparser
import re
from pathlib import Path
from urllib.parse import quote

OPENED = "nbs/train.ipynb"
IMAGES = {
    "Binder": "https://mybinder.org/badge_logo.svg",
    "Colab": "https://colab.research.google.com/assets/colab-badge.svg",
}
HOST = {"github.com": "gh", "gitlab.com": "gl"}  # names of Binder
INSTALL = (
    "On Colab, run `%pip install git+{url}` first. On Binder, the environment is ready; "
    "`.binder/` describes it."
)


def settings_of(top: Path) -> configparser.SectionProxy:
    """The settings of a checkout, without what nbdev adds to them."""
    parser = configparser.ConfigParser()
    parser.read(top / "settings.ini")
    return parser["DEFAULT"]


def links(git_url: str, branch: str) -> dict[str, str]:
    """Name of a service -> address that opens `OPENED` there; none for hosts that it lacks.

    Raises ValueError for an address that is not https://HOST/OWNER/REPOSITORY.
    """
    match = re.fullmatch(r"https://([\w.-]+)/([\w.-]+)/([\w.-]+?)(?:\.git)?/?", git_url)
    if not match:
        raise ValueError(f"git_url must be https://HOST/OWNER/REPOSITORY, not {git_url!r}")
    host, owner, repository = match.groups()
    branch = quote(branch, safe="")
    found = {}
    if host in HOST:
        place = f"{HOST[host]}/{owner}/{repository}"
        if host == "gitlab.com":
            place = f"gl/{quote(f'{owner}/{repository}', safe='')}"
        opened = quote(OPENED, safe="")
        found["Binder"] = f"https://mybinder.org/v2/{place}/{branch}?urlpath=lab/tree/{opened}"
    if host == "github.com":
        place = f"github/{owner}/{repository}/blob/{branch}/{OPENED}"
        found["Colab"] = f"https://colab.research.google.com/{place}"
    return found


def markdown(top: Path) -> str:
    """The badges and what a reader has to do, as Markdown; empty without an address."""
    settings = settings_of(top)
    url = settings.get("git_url", "")
    found = links(url, settings["branch"]) if url else {}
    if not found:
        return ""
    badges = " ".join(
        f"[![Open on {name}]({IMAGES[name]})]({link})" for name, link in found.items()
    )
    return f"{badges}\n\n{INSTALL.format(url=url)}\n\n" if "Colab" in found else f"{badges}\n\n"


def with_badges(text: str, top: Path) -> str:
    """`text` with the badges of a checkout below its first heading."""
    heading, rest = text.split("\n\n", 1)
    return f"{heading}\n\n{markdown(top)}{rest}"
