"""Make docs/figures/play.png from a finished run: python docs/figures/playground.py runs/play year-seed0 31"""

import shutil
import sys
import threading
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from dormouse.integrations.play.folders import subjects
from dormouse.integrations.play.game import Game
from dormouse.integrations.play.moves import Bench
from dormouse.integrations.play.server import Server


def main(run: Path, organism: str, place: str) -> None:
    server = Server("127.0.0.1", 0, Game(subjects([run], print)), Bench())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 980}, device_scale_factor=1.5)
        page.goto(server.url)
        page.locator("#subject").select_option(label=organism)
        page.locator("#cues input[type=range]").first.fill(place)
        expect(page.locator("#bars")).not_to_have_attribute("aria-busy", "true", timeout=60_000)
        page.locator("#write").click()
        expect(page.locator("#write")).to_be_enabled(timeout=60_000)
        states = page.locator("#bars .bar-row:not(.oracle)").count()
        expect(page.locator("#curve circle")).to_have_count(51 * states, timeout=120_000)
        page.locator("footer").evaluate("(footer) => footer.hidden = true")
        page.screenshot(path=Path(__file__).with_name("play.png"), full_page=True)
        browser.close()
    server.shutdown()
    server.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
