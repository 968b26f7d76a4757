"""Make docs/figures/report.png from a finished run: python docs/figures/screenshot.py runs/quickstart"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright


def main(run: Path) -> None:
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 980}, device_scale_factor=1.5)
        page.goto((run / "report.html").resolve().as_uri())
        figure = page.locator("main figure").first
        figure.scroll_into_view_if_needed()  # plots are drawn when they come near
        figure.locator("svg.main-svg").first.wait_for()
        page.evaluate("scrollTo(0, 0)")
        first = figure.bounding_box()  # the page from its top to its first figure, whole
        assert first
        clip = {"x": 0, "y": 0, "width": 1280, "height": first["y"] + first["height"] + 16}
        page.screenshot(path=Path(__file__).with_name("report.png"), full_page=True, clip=clip)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
