// The orders so far, filtered and page by page, and a dialog with the life of each.

import { call, explain, told } from "./api.js";
import { Card } from "./card.js";
import { orders } from "./orders.js";
import { $, FINAL, TYPES, VENUES, amount, badge, h, headline, kind, notice, price, time } from "./dom.js";

const PAGE = 25;
const STATUSES = ["pending", "open", "triggered", "routing", "building", "submitted", ...FINAL];

export class History {
  #form = $("filters");
  #round;
  #older;
  #pages = 0;
  #text; // of the first page

  constructor({ cancel, learn }) {
    this.cancel = cancel;
    this.learn = learn;
    const same = (words) => words.map((word) => [word, word]);
    this.#choices({
      status: same(STATUSES),
      orderType: Object.entries(TYPES),
      venue: same(VENUES),
      tokenIn: [],
      tokenOut: [],
    });
    this.#form.oninput = () => this.load();
    this.#form.onreset = () => setTimeout(() => this.load());
    $("refresh").onclick = () => this.load();
    $("older").onclick = () => this.#page(this.#older, false);
    $("life").onclose = () => (this.shown = undefined);
  }

  offer(tokens) {
    const symbols = tokens.map(({ symbol }) => [symbol, symbol]);
    this.#choices({ tokenIn: symbols, tokenOut: symbols });
  }

  #choices(lists) {
    for (const [name, list] of Object.entries(lists)) {
      const choices = [["", "any"], ...list].map(([value, text]) => h("option", { value }, text));
      this.#form.elements[name].replaceChildren(...choices);
    }
  }

  load(quietly = false) {
    const given = [...new FormData(this.#form)].filter(([, value]) => value);
    const pair = given.filter(([name]) => name.startsWith("token")).length;
    $("filter-hint").textContent = pair === 1 ? "Choose both tokens to filter by a pair." : "";
    if (pair === 1) return undefined;
    return this.#page(`/api/orders?${new URLSearchParams([...given, ["limit", PAGE]])}`, true, quietly);
  }

  /** Load anew, unless the user has gone back to older orders. */
  freshen(quietly) {
    if (this.#pages <= 1) this.load(quietly);
  }

  /** Show a row anew. */
  update(order) {
    const row = this.#find(order.orderId);
    const focused = row?.contains(document.activeElement);
    row?.replaceWith(this.#row(order));
    if (focused) this.#find(order.orderId).querySelector("button").focus();
  }

  #find(orderId) {
    return $("history-rows").querySelector(`[data-order="${CSS.escape(orderId)}"]`);
  }

  async #page(path, first, quietly) {
    const round = (this.#round = {});
    const before = this.#pages;
    this.#pages = first ? 1 : before + 1;
    if (!quietly) $("older").hidden = true; // it leads on from what is about to go
    try {
      let { body, next } = await call("GET", path);
      // A page may be empty and have a next one.
      while (!body.orders.length && next && round === this.#round) ({ body, next } = await call("GET", next));
      if (round !== this.#round) return;
      this.#show(body.orders, first, next);
    } catch (problem) {
      if (round !== this.#round) return;
      this.#pages = before;
      $("older").hidden = !this.#older;
      if (!quietly) this.#say(told(problem) && `The history could not be loaded. ${told(problem)}`);
    }
  }

  #show(found, first, next) {
    const newest = (order) =>
      orders.last(order.orderId) > order.sequence ? orders.get(order.orderId) : order;
    const rows = found.map((order) => this.#row(newest(order)));
    const focused = document.activeElement?.closest("#history-rows tr")?.dataset.order;
    const text = first && JSON.stringify(found);
    if (!first) $("history-rows").append(...rows);
    else if (text !== this.#text) $("history-rows").replaceChildren(...rows);
    this.#text = text;
    this.#find(focused)?.querySelector("button").focus();
    if (!first) rows[0]?.querySelector("button").focus();
    this.#older = next;
    $("older").hidden = !next;
    const filtered = [...new FormData(this.#form)].some(([, value]) => value);
    const none = filtered
      ? "No order fits these filters. Clear them to see all."
      : "No orders yet. Place one above.";
    this.#say($("history-rows").children.length ? "" : none);
  }

  #say(text) {
    $("history-empty").textContent = text;
  }

  #row(order) {
    const result = order.executedPrice ? `${amount(order.amountOut)} ${order.tokenOut}` : (order.code ?? "–");
    return h(
      "tr",
      { "data-order": order.orderId },
      h("td", {}, time(order.createdAt)),
      h(
        "td",
        {},
        h(
          "button",
          { type: "button", class: "link", onclick: () => this.open(order.orderId) },
          headline(order),
        ),
      ),
      h("td", {}, kind(order)),
      h("td", {}, badge(order.status)),
      h("td", {}, order.venue ?? "–"),
      h("td", { class: "number" }, order.executedPrice ? price(order.executedPrice) : "–"),
      h("td", { class: "number" }, result),
    );
  }

  async open(orderId) {
    try {
      const { body } = await call("GET", `/api/orders/${encodeURIComponent(orderId)}`);
      this.shown = new Card(this.learn(body), { cancel: this.cancel });
      $("life-card").replaceChildren(this.shown.element);
      if (!$("life").open) $("life").showModal();
    } catch (problem) {
      if (problem.code === "UNKNOWN_ORDER") orders.forget(orderId);
      notice(explain(problem));
    }
  }
}
