"""The page and the documentation in a browser, on the real system."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Route,
    WebSocketRoute,
    expect,
    sync_playwright,
)

from local.stack import LocalStack
from tests.e2e.conftest import QUICK
from tests.e2e.system import FIVE, PATIENCE_SECONDS, System
from tests.support.browser import MISSING, chromium, launch

pytestmark = pytest.mark.skipif(chromium() is None, reason=MISSING)

PATIENCE_MS = PATIENCE_SECONDS * 1000
FAR = "1000"  # a limit price that the market does not come to


@dataclass
class Visit:
    """A tab with the page, and what went wrong in it: console errors, failed requests, requests to other origins."""

    page: Page
    origin: str
    faults: list[str] = field(default_factory=list)
    expected: str = "nothing is expected"  # a pattern of faults that a test brings about

    def listen(self) -> None:
        self.page.on("console", self._logged)
        self.page.on("pageerror", lambda error: self.faults.append(f"uncaught: {error}"))
        self.page.on("request", self._requested)
        self.page.on("requestfailed", self._failed)

    def _logged(self, line: ConsoleMessage) -> None:
        if line.type in ("error", "warning"):
            self.faults.append(line.text)

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # by leaving the page
            self.faults.append(f"{request.failure}: {request.url}")

    def _requested(self, request: Request) -> None:
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(request.url))
        if origin != self.origin and not request.url.startswith("data:"):
            self.faults.append(f"another origin: {request.url}")

    def open(self, path: str = "/") -> None:
        self.page.goto(self.origin + path)

    def place(self, amount: str, order_type: str = "market", **fields: str) -> Locator:
        """Send an order by the form; return its card."""
        cards = self.page.locator("#cards article")
        before = cards.count()
        expect(self.page.locator("#tokenIn")).not_to_have_value("")
        self.page.locator(f"input[value={order_type}]").check()
        self.page.get_by_label("Sell", exact=True).fill(amount)
        for name, value in fields.items():
            self.page.locator(f"#{name}").fill(value)
        self.page.locator("#submit").click()
        expect(cards).to_have_count(before + 1)
        # By its id: the next order's card comes before it.
        return self.card(str(cards.first.get_attribute("aria-labelledby")).removeprefix("order-"))

    def card(self, order_id: str) -> Locator:
        return self.page.locator(f"#cards article[aria-labelledby='order-{order_id}']")

    def live(self) -> None:
        expect(self.page.locator("#connection")).to_have_text("Live")


def order_id(card: Locator) -> str:
    return str(card.get_attribute("aria-labelledby")).removeprefix("order-")


def has_status(card: Locator, status: str) -> None:
    expect(card.locator(".badge")).to_have_text(status)


def timeline(card: Locator) -> list[str]:
    return card.locator(".timeline b").all_inner_texts()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


def visiting(browser: Browser, origin: str) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB", timezone_id="Asia/Kolkata")
    context.set_default_timeout(PATIENCE_MS)
    visit = Visit(context.new_page(), origin)
    visit.listen()
    yield visit
    context.close()
    assert [fault for fault in visit.faults if not re.search(visit.expected, fault)] == []


@pytest.fixture
def visit(browser: Browser, system: System) -> Iterator[Visit]:
    yield from visiting(browser, system.stack.endpoints.http)


def test_three_orders_are_followed_to_their_end_on_one_socket(visit: Visit) -> None:
    sockets: list[str] = []
    visit.page.on("websocket", lambda socket: sockets.append(socket.url))
    visit.open()
    visit.live()

    cards = [visit.place(amount) for amount in ("10", "2.5", "0.1")]

    for card in cards:
        has_status(card, "confirmed")
        assert timeline(card) == FIVE
        expect(card.locator(".took").first).to_have_text(re.compile(r"^\d+\.\d\d s$"))
        expect(card.locator(".quotes thead th")).to_have_text([re.compile("^meteora"), re.compile("^raydium")])
        expect(card.locator(".quotes thead .best")).to_contain_text("chosen")
        expect(card.locator(".said").nth(2)).to_contain_text("more than")
        expect(card.locator("dl")).to_contain_text(re.compile(r"Executed at.*quoted.* bps"))
        expect(card.locator("dl")).to_contain_text(re.compile(r"Transaction\w{40,}"))
    assert len(sockets) == 1


def test_orders_are_there_after_a_reload_and_in_the_history(visit: Visit) -> None:
    visit.open()
    ended, resting = visit.place("3"), visit.place("4", "limit", limitPrice=FAR)
    has_status(ended, "confirmed")
    has_status(resting, "open")
    ids = order_id(ended), order_id(resting)

    visit.page.reload()

    has_status(visit.card(ids[0]), "confirmed")
    has_status(visit.card(ids[1]), "open")
    expect(visit.card(ids[0]).locator(".timeline b")).to_have_text(FIVE)
    rows = visit.page.locator("#history-rows tr")
    for one in ids:
        expect(visit.page.locator(f"#history-rows [data-order='{one}']")).to_have_count(1)

    visit.page.locator("#filters [name=status]").select_option("open")
    expect(visit.page.locator(f"#history-rows [data-order='{ids[0]}']")).to_have_count(0)
    assert set(rows.locator(".badge").all_inner_texts()) == {"open"}
    visit.page.locator("#filters [name=orderType]").select_option("stop")
    expect(visit.page.locator(f"#history-rows [data-order='{ids[1]}']")).to_have_count(0)
    visit.page.get_by_role("button", name="Clear filters").click()
    visit.page.locator(f"[data-order='{ids[0]}'] button").click()
    expect(visit.page.get_by_role("dialog").locator(".timeline b")).to_have_text(FIVE)
    visit.page.keyboard.press("Escape")
    expect(visit.page.get_by_role("dialog")).to_have_count(0)


def test_the_history_goes_back_page_by_page(visit: Visit, system: System) -> None:
    ends = {system.submit({"tokenIn": "USDT", "tokenOut": "RAY", "amountIn": 5})["orderId"] for _ in range(27)}
    visit.open()
    visit.page.locator("#filters [name=tokenIn]").select_option("USDT")
    expect(visit.page.locator("#filter-hint")).to_contain_text("Choose both")
    visit.page.locator("#filters [name=tokenOut]").select_option("RAY")
    rows = visit.page.locator("#history-rows tr")
    expect(rows).to_have_count(25)

    visit.page.get_by_role("button", name="Older orders").click()

    expect(rows).to_have_count(27)
    shown = rows.evaluate_all("rows => rows.map((row) => row.dataset.order)")
    assert set(shown) == ends
    expect(visit.page.get_by_role("button", name="Older orders")).to_be_hidden()


def test_a_resting_order_is_on_the_chart_and_can_be_cancelled(visit: Visit) -> None:
    visit.open()
    card = visit.place("7", "limit", limitPrice="1007")
    has_status(card, "open")
    expect(visit.page.locator("#chart polyline")).to_have_count(2)
    near = re.compile(r"limit 1,007 fires near 1,01\d\.\d")  # with the slippage on top
    expect(visit.page.locator("#chart")).to_contain_text(near)
    expect(visit.page.locator("#chart-text")).to_contain_text(near)
    expect(visit.page.locator("#chart-text")).to_contain_text(re.compile(r"in the last \d+ s\."))
    expect(card.locator("dl")).to_contain_text("Fires near1,01")

    entry = visit.page.locator("#open li", has_text="7 SOL → USDC")
    expect(entry).to_contain_text("until")
    entry.get_by_role("button", name="Cancel").click()

    has_status(card, "cancelled")
    expect(entry).to_have_count(0)
    expect(visit.page.locator("#announcer")).to_contain_text("cancelled")
    assert timeline(card) == ["pending", "open", "cancelled"]


def test_errors_of_the_api_stand_at_their_fields(visit: Visit) -> None:
    visit.expected = "422"
    visit.open()
    visit.page.locator("input[value=limit]").check()
    visit.page.locator("#submit").click()

    expect(visit.page.locator("#error-limitPrice")).not_to_be_empty()
    expect(visit.page.locator("#limitPrice")).to_have_attribute("aria-invalid", "true")
    expect(visit.page.locator("#limitPrice")).to_be_focused()
    visit.page.locator("#limitPrice").fill(FAR)
    expect(visit.page.locator("#error-limitPrice")).to_be_empty()

    more = visit.page.locator("#order-form summary")
    more.click()
    visit.page.get_by_label("Slippage, bps").fill("10001")
    more.click()
    visit.page.locator("#submit").click()

    expect(visit.page.locator("#error-slippageBps")).not_to_be_empty()
    expect(visit.page.get_by_label("Slippage, bps")).to_be_focused()


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (429, "TOO_MANY_REQUESTS", "Too many requests just now. Try again in 7 s."),
        (503, "NOTHING_ACCEPTED", "The service is unavailable. Not now. Try again in 7 s. Sending it again does not"),
        (403, "MISSING_SCOPE", "This API key may not do that. Not now."),
    ],
)
def test_refusals_are_told_in_words(visit: Visit, status: int, code: str, words: str) -> None:
    keys: list[str] = []

    def refuse(route: Route) -> None:
        keys.append(json.loads(route.request.post_data or "")["clientOrderId"])
        body = json.dumps({"status": status, "code": code, "detail": "not now"})
        route.fulfill(status=status, headers={"Retry-After": "7"}, content_type="application/problem+json", body=body)

    visit.expected = f"{status}"
    visit.page.route("**/api/orders/execute", refuse)
    visit.open()
    expect(visit.page.locator("#tokenOut")).to_have_value("USDC")
    visit.page.locator("#submit").click()
    expect(visit.page.locator("#form-error")).to_contain_text(words)
    visit.page.locator("#submit").click()
    expect(visit.page.locator("#submit")).to_be_enabled()

    # Nobody knows what became of the first: the second has its key.
    assert (len({*keys}) == 1) == (status == 503)


def test_it_is_said_kindly_that_it_is_too_late_to_cancel(visit: Visit) -> None:
    def refuse(route: Route) -> None:
        if route.request.method != "DELETE":
            return route.continue_()
        body = json.dumps({"status": 409, "code": "TOO_LATE_TO_CANCEL", "detail": "the order is submitted"})
        return route.fulfill(status=409, content_type="application/problem+json", body=body)

    visit.expected = "409"
    visit.page.route("**/api/orders/*", refuse)
    visit.open()
    card = visit.place("1", "limit", limitPrice=FAR)
    has_status(card, "open")
    card.get_by_role("button", name="Cancel order").click()

    expect(visit.page.get_by_role("alert").get_by_text("It was too late to cancel.")).to_be_visible()
    visit.page.get_by_role("alert").get_by_role("button", name="Close").click()
    expect(visit.page.locator("#notice")).to_be_hidden()


def test_a_lost_connection_is_shown_and_resumed_without_a_loss(visit: Visit, system: System) -> None:
    visit.expected = "net::ERR_FAILED"
    sockets: list[WebSocketRoute] = []

    def pass_on(socket: WebSocketRoute) -> None:
        socket.connect_to_server()
        sockets.append(socket)

    visit.page.route_web_socket("**/live*", pass_on)
    visit.open()
    visit.live()
    card = visit.place("1", "limit", limitPrice=FAR)
    has_status(card, "open")

    visit.page.route("**/api/streams", lambda route: route.abort())
    sockets[-1].close(code=1011)
    expect(visit.page.locator("#connection")).to_have_text("Reconnecting…")
    url = f"{system.stack.endpoints.http}/api/orders/{order_id(card)}"
    assert httpx.delete(url, trust_env=False, timeout=PATIENCE_SECONDS).status_code == 200
    visit.page.unroute("**/api/streams")

    visit.live()
    has_status(card, "cancelled")
    assert timeline(card) == ["pending", "open", "cancelled"]


@pytest.mark.parametrize("by", ["socket", "list"])
def test_an_order_that_the_server_forgot_leaves_the_page(visit: Visit, by: str) -> None:
    sockets: list[WebSocketRoute] = []
    forgotten = {"code": "UNKNOWN_ORDER", "detail": "there is no order"}

    def pass_on(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        again = by == "socket" and bool(sockets)

        def say(message: str | bytes) -> None:
            if not again or json.loads(message)["action"] != "subscribe":
                return server.send(message)
            return socket.send(json.dumps({"type": "error", **forgotten, "orderId": json.loads(message)["orderId"]}))

        socket.on_message(say)
        sockets.append(socket)

    visit.expected = "404|the server responded|Failed to load"
    visit.page.route_web_socket("**/live*", pass_on)
    visit.open()
    visit.live()
    price = {"socket": "1005", "list": "1006"}[by]
    card = visit.place("6", "limit", limitPrice=price)
    has_status(card, "open")
    entry = visit.page.locator("#open li", has_text=f"6 SOL → USDC limit at 1,{price[1:]}")
    expect(entry).to_have_count(1)
    if by == "list":
        visit.page.route("**/api/orders?status=open*", lambda route: route.fulfill(json={"orders": []}))
        visit.page.route(f"**/api/orders/{order_id(card)}", lambda route: route.fulfill(status=404, json=forgotten))

    sockets[-1].close(code=1011)

    has_status(card, "unknown")
    expect(card).to_contain_text("does not know this order any more")
    expect(card.get_by_role("button", name="Cancel order")).to_be_hidden()
    expect(entry).to_have_count(0)
    expect(visit.page.locator("#chart-text")).not_to_contain_text(f"limit 1,{price[1:]}")


def test_orders_placed_elsewhere_come_by_themselves(visit: Visit, system: System) -> None:
    visit.page.clock.install()
    visit.open()
    visit.live()
    expect(visit.page.locator("#history-rows tr, #history-empty:not(:empty)").first).to_be_visible()
    visit.page.wait_for_load_state("networkidle")
    terms = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": 8, "orderType": "limit", "limitPrice": 1008}
    placed = system.submit(terms)["orderId"]

    expect(visit.page.locator(f"[data-order='{placed}']")).to_have_count(0)
    visit.page.clock.fast_forward(10_000)

    expect(visit.page.locator("#open li", has_text="8 SOL → USDC limit at 1,008")).to_have_count(1)
    expect(visit.page.locator(f"[data-order='{placed}']")).to_have_count(1)


def test_a_row_of_the_history_follows_its_order(visit: Visit) -> None:
    lists: list[str] = []

    def freeze(route: Route) -> None:
        """Answer with the first list that has the order, from then on."""
        if not lists or not any(order.get("limitPrice") == "1009" for order in json.loads(lists[-1])["orders"]):
            lists.append(route.fetch().text())
        route.fulfill(body=lists[-1], content_type="application/json")

    visit.page.route("**/api/orders?limit=25", freeze)
    visit.open()
    card = visit.place("9", "limit", limitPrice="1009")
    row = visit.page.locator(f"[data-order='{order_id(card)}']")
    expect(row).to_have_count(1)

    card.get_by_role("button", name="Cancel order").click()

    expect(row.locator(".badge")).to_have_text("cancelled")


def test_a_price_goes_with_its_pair_and_is_compared_with_the_quote(visit: Visit) -> None:
    visit.open()
    button = visit.page.get_by_role("button", name="At market")
    for order_type, name, there in (("limit", "limitPrice", "1"), ("stop", "triggerPrice", "1000")):
        visit.page.locator(f"input[value={order_type}]").check()
        field, due = visit.page.locator(f"#{name}"), visit.page.locator(f"#due-{name}")
        field.fill(there)
        expect(due).to_have_text("The price is there already: this is executed at once.")
        button.click()
        assert re.fullmatch(r"\d{3}\.\d{0,2}[1-9]|\d{3}", field.input_value())
        field.fill("1" if order_type == "stop" else FAR)
        expect(due).to_be_empty()
        field.fill(there)
        visit.page.get_by_role("button", name="Swap the two tokens").click()
        expect(field).to_have_value("")
        expect(due).to_be_empty()
        visit.page.get_by_role("button", name="Swap the two tokens").click()


def test_a_price_typed_before_the_tokens_are_there_stays(visit: Visit) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    visit.page.route("**/api/tokens", hold)
    with visit.page.expect_request("**/api/tokens"):
        visit.open()
    visit.page.locator("input[value=limit]").check()
    visit.page.locator("#limitPrice").fill("1")

    held[0].continue_()

    expect(visit.page.locator("#due-limitPrice")).to_have_text("The price is there already: this is executed at once.")
    expect(visit.page.locator("#limitPrice")).to_have_value("1")


def test_it_is_seen_that_a_price_is_old_and_errors_go_when_the_server_is_back(visit: Visit) -> None:
    visit.expected = "net::ERR"
    visit.open()
    expect(visit.page.locator("#chart .now").first).to_be_visible()
    visit.page.locator("input[value=limit]").check()
    visit.page.locator("#limitPrice").fill(FAR)
    visit.page.route("**/api/**", lambda route: route.abort())
    visit.page.locator("#submit").click()
    expect(visit.page.locator("#form-error")).to_contain_text("can't be reached")
    expect(visit.page.locator("#chart text.old")).to_be_visible()
    expect(visit.page.locator("#chart-text")).to_contain_text(
        re.compile(r"The last price is \d.* old\. One SOL netted")
    )
    expect(visit.page.get_by_role("button", name="At market")).to_be_disabled()

    visit.page.unroute("**/api/**")

    expect(visit.page.locator("#chart text.now")).to_be_visible()
    expect(visit.page.locator("#form-error")).to_be_empty()


def test_what_is_wrong_with_a_number_is_said_before_it_is_sent(visit: Visit) -> None:
    visit.page.route("**/api/orders/execute", lambda route: pytest.fail("it was sent"))
    visit.open()
    visit.page.locator("input[value=limit]").check()
    error = visit.page.locator("#error-amountIn")
    for text, words in (("1,5", "a point for its decimals"), ("abc", "must be a number"), ("0", "must be above 0")):
        visit.page.get_by_label("Sell", exact=True).fill(text)
        expect(error).to_contain_text(f"The amount must {words.removeprefix('must ')}" if "must" in words else words)
    visit.page.locator("#submit").click()
    expect(visit.page.locator("#amountIn")).to_be_focused()
    expect(error).to_have_text("The amount must be above 0")

    visit.page.locator("input[value=stop]").check()
    visit.page.get_by_label("Sell", exact=True).fill("1")
    expect(error).to_be_empty()


def test_a_venue_is_named_once_where_it_gives_no_quote(visit: Visit) -> None:
    rejected = [{"venue": "raydium", "code": "NO_POOL", "error": "raydium has no pool"}]
    rejected.append({"venue": "meteora", "code": "VENUE_UNAVAILABLE", "error": "no response"})
    visit.page.route("**/api/quotes*", lambda route: route.fulfill(json={"quotes": [], "rejected": rejected}))
    visit.open()

    expect(visit.page.locator("#quote")).to_have_text("raydium has no pool; meteora: no response")


def test_the_focus_stays_in_the_list_after_a_cancel(visit: Visit) -> None:
    visit.open()
    for amount in ("11", "12"):
        has_status(visit.place(amount, "limit", limitPrice="1011"), "open")
    entry = visit.page.locator("#open li", has_text="12 SOL → USDC")
    entry.get_by_role("button", name="Cancel").press("Enter")

    expect(entry).to_have_count(0)
    expect(visit.page.locator("#open li button").first).to_be_focused()


@pytest.mark.parametrize(("pair", "font"), [("BONK", "15px"), ("SOL", "30px")])
def test_the_scale_of_the_chart_is_not_clipped(visit: Visit, pair: str, font: str) -> None:
    visit.open()
    expect(visit.page.locator("#tokenIn")).to_have_value("SOL")
    visit.page.locator("#tokenIn").select_option(pair)
    visit.page.evaluate("size => (document.documentElement.style.fontSize = size)", font)
    label = visit.page.locator("#chart text.now")
    expect(label).to_be_visible()
    expect(visit.page.locator("#chart-text")).to_contain_text("in the last")  # a second look: it is drawn anew
    chart = visit.page.locator("#chart").bounding_box()
    boxes = [one.bounding_box() for one in visit.page.locator("#chart text").all()]
    assert chart
    for box in boxes:
        assert box
        assert box["x"] + box["width"] <= chart["x"] + chart["width"]
    assert float(label.evaluate("one => parseFloat(getComputedStyle(one).fontSize)")) >= 0.7 * float(font[:-2])


def test_an_order_is_placed_with_the_keyboard_alone(visit: Visit) -> None:
    visit.open()
    expect(visit.page.locator("#tokenIn")).to_have_value("SOL")
    press = visit.page.keyboard.press
    press("Tab")
    expect(visit.page.get_by_role("link", name="Skip to the order form")).to_be_focused()
    press("Enter")
    press("Tab")
    expect(visit.page.locator("input[value=market]")).to_be_focused()
    press("ArrowRight")
    expect(visit.page.locator("input[value=limit]")).to_be_checked()
    press("Tab")
    expect(visit.page.get_by_label("Sell", exact=True)).to_be_focused()
    visit.page.keyboard.type("2")
    for _ in range(4):
        press("Tab")
    expect(visit.page.get_by_label("Limit price")).to_be_focused()
    assert visit.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    visit.page.keyboard.type("1")
    press("Enter")

    card = visit.page.locator("#cards article").first
    has_status(card, "confirmed")
    expect(card).to_contain_text("2 SOL → USDC limit at 1")


def test_every_control_has_a_name_and_every_id_is_there_once(visit: Visit) -> None:
    visit.open()
    has_status(visit.place("1"), "confirmed")
    ids = visit.page.locator("[id]").evaluate_all("all => all.map((one) => one.id)")
    unnamed = visit.page.locator("input, select, button").evaluate_all(
        "all => all.filter((one) => !one.labels?.length && !one.ariaLabel && !one.textContent).map((one) => one.id)"
    )

    assert len(ids) == len({*ids})
    assert unnamed == []
    for landmark in ("banner", "main", "navigation"):
        expect(visit.page.get_by_role(landmark)).to_have_count(1)


def test_the_page_fits_a_phone(visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 360, "height": 740})
    visit.open()
    has_status(visit.place("123.456789"), "confirmed")
    has_status(visit.place("1", "stop", triggerPrice="1"), "open")
    assert visit.page.evaluate("document.documentElement.scrollWidth") == 360
    expect(visit.page.locator("#cards article summary").first).to_be_in_viewport()
    first = visit.page.locator("#history-rows tr", has_text="123.456789").first
    for cell in (first.locator(".badge"), first.locator("td").last):
        box = cell.bounding_box()
        assert box
        assert box["x"] + box["width"] <= 360
    targets = visit.page.locator("a:not(.skip), button, select, summary, input:not([type=radio]), .types span")
    small = targets.evaluate_all(
        "all => all.filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 24)"
        ".map((one) => one.outerHTML)"
    )
    assert small == []
    visit.page.locator("#history-rows button").first.click()
    expect(visit.page.get_by_role("dialog")).to_be_visible()
    assert visit.page.evaluate("document.documentElement.scrollWidth") == 360


def test_text_has_contrast_in_both_colour_schemes(visit: Visit) -> None:
    visit.open()
    seen = set()
    for scheme in ("light", "dark"):
        visit.page.emulate_media(color_scheme=scheme)
        names = ("panel", "ground", "tint", "accent", "text", "soft", "good", "bad", "warn", "on-accent")
        style = "getComputedStyle(document.documentElement)"
        colours = {name: visit.page.evaluate(f"{style}.getPropertyValue('--{name}').trim()") for name in names}
        seen.add(colours["panel"])
        for name in ("text", "soft", "accent", "good", "bad", "warn"):
            assert contrast(colours[name], colours["panel"]) >= 4.5, (scheme, name)
        assert contrast(colours["on-accent"], colours["accent"]) >= 4.5
        assert contrast(colours["good"], colours["tint"]) >= 4.5
        assert contrast(colours["soft"], colours["ground"]) >= 4.5
    assert len(seen) == 2


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2, of colours written as #rgb or #rrggbb."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
        red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_the_documentation_shows_both_apis(visit: Visit) -> None:
    visit.open("/docs")

    operations = visit.page.locator(".opblock-summary-path").all_inner_texts
    expect(visit.page.locator(".opblock-summary-path").first).to_be_visible()
    assert {"/api/orders/execute", "/api/orders", "/api/quotes"} <= {one.replace("\u200b", "") for one in operations()}
    expect(visit.page.locator("#swagger")).to_contain_text("OAS 3.1")
    expect(visit.page.locator(".message summary", has_text="subscribe").first).to_be_visible()
    building = visit.page.locator(".message").filter(has=visit.page.locator("summary code", has_text="building"))
    building.locator("summary").click()
    expect(building.locator("tbody code", has_text="quotes[].priceImpactPct")).to_be_visible()
    expect(building.locator("pre").first).to_contain_text('"status": "building"')
    for path in ("/openapi.json", "/asyncapi.json", "/"):
        expect(visit.page.locator(f"header a[href='{path}']")).to_be_visible()


@pytest.fixture
def locked(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Visit, str]]:
    """A tab on a system that needs keys, and a key."""
    parameters = {**QUICK, "Access": "keys"}
    with LocalStack(tmp_path_factory.mktemp("locked"), port=0, parameters=parameters) as stack:
        assert stack.endpoints.key
        for visit in visiting(browser, stack.endpoints.http):
            yield visit, stack.endpoints.key


def test_a_key_is_asked_for_kept_in_the_tab_and_forgotten(locked: tuple[Visit, str]) -> None:
    visit, key = locked
    visit.expected = "401"
    visit.open()
    field, use = visit.page.get_by_label("Key", exact=True), visit.page.get_by_role("button", name="Use this key")
    expect(visit.page.get_by_text("API key is needed")).to_have_count(1)
    field.fill("oe_nobodys")
    use.click()
    expect(visit.page.locator("#key-error")).to_contain_text("not valid")

    field.fill(f"Authorization: Bearer {key}")
    use.click()
    visit.live()
    card = visit.place("10")
    has_status(card, "confirmed")
    expect(visit.page.locator(f"#history-rows [data-order='{order_id(card)}']")).to_have_count(1)
    assert visit.page.evaluate("[localStorage.length, document.cookie]") == [0, ""]

    visit.page.get_by_role("button", name="Forget key").click()
    expect(field).to_be_visible()
    expect(visit.page.locator("#cards article")).to_have_count(0)
    assert key not in visit.page.evaluate("JSON.stringify(sessionStorage)")
