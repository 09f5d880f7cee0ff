"""Takes docs/page.png: the page on a local stack of its own, with orders of most types and a minute of prices."""

import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from local.stack import ROOT, LocalStack
from tests.support.browser import launch

PICTURE = ROOT / "docs/page.png"
MINUTE_MS = 60_000


def take(page: Page, url: str) -> None:
    """Place orders by the form, wait until the chart has a minute of prices, and take the picture."""
    page.goto(url)
    page.locator("#chart circle").wait_for(timeout=MINUTE_MS)
    now = float(page.evaluate("document.querySelector('#chart text.now').textContent"))
    place(page, "limit", "25", "#limitPrice", now * 1.018)
    place(page, "stop", "40", "#triggerPrice", now * 0.985)
    place(page, "takeProfit", "12", "#triggerPrice", now * 1.012)
    page.wait_for_timeout(MINUTE_MS)
    place(page, "market", "10")
    # Its own card, not that of an order which was triggered meanwhile.
    page.locator("#cards article").first.locator(".badge.confirmed").wait_for(timeout=MINUTE_MS)
    page.locator("h1").click()
    page.screenshot(path=PICTURE)


def place(page: Page, order_type: str, amount: str, field: str = "", price: float = 0) -> None:
    """Send an order by the form."""
    page.locator(f"input[value={order_type}]").check()
    page.locator("#amountIn").fill(amount)
    if field:
        page.locator(field).fill(f"{price:.2f}")
    before = page.locator("#cards article").count()
    page.locator("#submit").click()
    page.locator("#cards article").nth(before).wait_for()


def main() -> None:
    """Start what is needed, and take the picture."""
    with (
        tempfile.TemporaryDirectory() as state,
        LocalStack(Path(state), port=0, progress=print) as stack,
        sync_playwright() as playwright,
    ):
        browser = launch(playwright)
        page = browser.new_page(viewport={"width": 1280, "height": 940}, color_scheme="dark")
        take(page, stack.endpoints.http)
        browser.close()
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
