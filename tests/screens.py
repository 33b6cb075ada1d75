"""Pages in a real Chromium, on a desktop and on a phone, light and dark, and on paper."""

import os
from pathlib import Path

WIDTHS = (1200, 390)
SCHEMES = ("light", "dark")
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
# pictures that are in sight: others are loaded when a reader comes to them
BROKEN = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"


def keep_picture(page, name: str, **how) -> None:
    """A screenshot in the folder SCGAN_NB_SCREENSHOTS, if that is set."""
    folder = os.environ.get("SCGAN_NB_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", **how)


def complaints(browser, address: str, name: str) -> list[str]:
    """What is wrong with a page: errors, missing pictures, content wider than the screen."""
    found, backgrounds = [], set()
    for width in WIDTHS:
        for scheme in SCHEMES:
            where = f"{name}, {width} px, {scheme}: "
            page = browser.new_page(
                viewport={"width": width, "height": 900}, color_scheme=scheme, has_touch=width < 600
            )
            said = []
            page.on("console", lambda m, to=said: m.type == "error" and to.append(m.text))
            page.on("pageerror", lambda error, to=said: to.append(str(error)))
            page.goto(address, wait_until="load")
            page.wait_for_timeout(200)
            said += [f"missing picture {source}" for source in page.evaluate(BROKEN)]
            if page.evaluate(OVERFLOW) > 0:
                said.append(f"{page.evaluate(OVERFLOW)} px too wide")
            found += [where + text for text in said]
            backgrounds.add((scheme, page.evaluate(BACKGROUND)))
            keep_picture(page, f"{name}_{width}_{scheme}")
            page.close()
    if len({colour for _, colour in backgrounds}) < 2:
        found.append(f"{name}: light and dark have one background")
    return found
