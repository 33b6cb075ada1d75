"""Pages in a real Chromium, on a desktop and on a phone, light and dark, and on paper."""

import os
from pathlib import Path

WIDTHS = (1200, 390)
SCHEMES = ("light", "dark")
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
# pictures that are in sight: others are loaded when a reader comes to them
BROKEN = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
PAPER = 718  # px: A4 with margins of 10 mm
CUT = f"""[...document.querySelectorAll('table, img, pre, svg')]
    .filter(e => e.getBoundingClientRect().right > {PAPER} + 1)
    .map(e => e.tagName.toLowerCase() + ' ' + e.className)"""


def keep_picture(page, name: str, **how) -> None:
    """A screenshot in the folder SCGAN_NB_SCREENSHOTS, if that is set."""
    folder = os.environ.get("SCGAN_NB_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", **how)


def complaints(browser, address: str, name: str) -> list[str]:
    """What is wrong with a page: errors, missing pictures, content wider than screen or paper."""
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
            answer = page.goto(address, wait_until="load")
            assert answer.ok, f"{answer.status} for {address}"
            page.wait_for_timeout(200)
            said += [f"missing picture {source}" for source in page.evaluate(BROKEN)]
            if page.evaluate(OVERFLOW) > 0:
                said.append(f"{page.evaluate(OVERFLOW)} px too wide")
            found += [where + text for text in said]
            backgrounds.add((scheme, page.evaluate(BACKGROUND)))
            keep_picture(page, f"{name}_{width}_{scheme}")
            page.close()
    page = browser.new_page(viewport={"width": PAPER, "height": 1040})
    page.emulate_media(media="print")
    page.goto(address, wait_until="load")
    found += [f"{name}, on paper: {what} is cut off" for what in page.evaluate(CUT)]
    keep_picture(page, f"{name}_paper", full_page=True)
    page.close()
    if len({colour for _, colour in backgrounds}) < 2:
        found.append(f"{name}: light and dark have one background")
    return found


def place_of_first_picture(browser, address: str) -> float:
    """Where the first picture of a page begins on a desktop: 0 is the top, 1 the bottom."""
    page = browser.new_page(viewport={"width": WIDTHS[0], "height": 900})
    page.goto(address, wait_until="load")
    place = page.evaluate(
        "document.images[0].getBoundingClientRect().top / document.documentElement.scrollHeight"
    )
    page.close()
    return place
