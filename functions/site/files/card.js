// An order's life: its statuses with the time in each, the quotes with the choice, and what came of it.

import { amount, badge, bps, duration, h, headline, kind, price, time } from "./dom.js";
import { firesNear, isFinal } from "./orders.js";

const CANCELLABLE = ["pending", "open", "triggered", "routing", "building"];

export const refusal = ({ venue, error }) => (error.startsWith(venue) ? error : `${venue}: ${error}`);

/** Two venues side by side: a column for each. `order` has tokenIn, tokenOut and amountIn; `word` says why `chosen`. */
export function quoteTable(order, { quotes, rejected = [], chosen, word }) {
  const columns = [...quotes, ...rejected].sort((one, other) => (one.venue < other.venue ? -1 : 1));
  const best = ({ venue }) => ({ class: venue === chosen && "best" });
  const head = (one) =>
    h("th", { scope: "col", ...best(one) }, one.venue, one.venue === chosen && h("b", {}, ` ✓ ${word}`));
  const row = (label, cell) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, label),
      columns.map((one) => h("td", best(one), one.code ? "–" : cell(one))),
    );
  const rows = [
    row("You get", (one) => amount(one.amountOut)),
    row("Net price", (one) => price(one.amountOut / order.amountIn)),
    row("Price", (one) => price(one.price)),
    row("Fee", (one) => `${amount((one.fee * 100).toFixed(4))} %`),
    row("Impact", (one) => `${amount(Number(one.priceImpactPct).toFixed(4))} %`),
  ];
  const caption = h("caption", {}, `${order.tokenOut} for ${amount(order.amountIn)} ${order.tokenIn}`);
  const table = h(
    "table",
    {},
    caption,
    h("thead", {}, h("tr", {}, h("td"), columns.map(head))),
    h("tbody", {}, rows),
  );
  return h(
    "div",
    { class: "quotes" },
    table,
    rejected.map((one) => h("p", { class: "hint" }, refusal(one))),
  );
}

/** `update` shows what has changed of the order, `tick` the time in its present status. */
export class Card {
  #shown = 0;

  constructor(order, { cancel, open = true }) {
    this.order = order;
    const title = `order-${order.orderId}`;
    this.badge = h("span", { class: "state" });
    this.bar = h("div", { class: "bar", "aria-hidden": "true" });
    this.timeline = h("ol", { class: "timeline", "aria-label": "Statuses" });
    this.facts = h("div", { class: "facts" });
    this.cancel = h("button", { type: "button", onclick: () => cancel(order, this.cancel) }, "Cancel order");
    this.details = h(
      "details",
      { open },
      h(
        "summary",
        {},
        h(
          "h3",
          { id: title },
          h("span", {}, headline(order)),
          " ",
          h("span", { class: "kind" }, kind(order)),
        ),
        this.badge,
        h("code", { title: order.orderId }, order.orderId.slice(0, 8)),
      ),
      this.bar,
      this.timeline,
      this.facts,
      this.cancel,
    );
    this.element = h("article", { class: "order", "aria-labelledby": title }, this.details);
    this.update();
  }

  update() {
    const { order } = this;
    this.badge.replaceChildren(badge(order.status));
    for (; this.#shown < order.events.length; this.#shown++) this.#append(order.events[this.#shown]);
    this.facts.replaceChildren(...this.#facts());
    const cancellable = CANCELLABLE.includes(order.status);
    if (!cancellable && document.activeElement === this.cancel) this.details.firstElementChild.focus();
    this.cancel.hidden = !cancellable;
    this.tick();
  }

  tick() {
    const last = this.order.events.at(-1);
    if (!last || isFinal(this.order)) return;
    this.#took(Date.now() - Date.parse(last.timestamp));
  }

  #append(event) {
    const before = this.order.events[event.sequence - 2];
    if (before) this.#took(Date.parse(event.timestamp) - Date.parse(before.timestamp));
    const final = isFinal(event);
    this.took = h("span", { class: "took" }, final ? "" : "…");
    this.segment = h("i", { class: event.status });
    if (!final) this.bar.append(this.segment);
    const again = event.attempt > 1 && event.status === "routing" && ` (attempt ${event.attempt})`;
    this.timeline.append(
      h(
        "li",
        { class: event.status },
        time(event.timestamp),
        h("b", {}, event.status, again),
        this.took,
        h("span", { class: "said" }, event.message),
      ),
    );
  }

  #took(ms) {
    this.took.textContent = duration(ms);
    this.segment.style.flexGrow = Math.max(ms, 1);
  }

  #facts() {
    const { order } = this;
    const built = order.events.findLast((event) => event.status === "building");
    const last = order.events.at(-1);
    const facts = [];
    if (built) facts.push(quoteTable(order, { ...built, chosen: built.venue, word: "chosen" }));
    const rows = [];
    const add = (label, ...value) => rows.push(h("div", {}, h("dt", {}, label), h("dd", {}, ...value)));
    if (built) add("Least", `${amount(built.minAmountOut)} ${order.tokenOut}`);
    if (order.status === "open" && firesNear(order)) add("Fires near", price(firesNear(order)));
    if (order.status === "unknown") add("Why", "The server does not know this order any more.");
    if (last?.status === "confirmed") {
      add("Received", h("strong", {}, `${amount(last.amountOut)} ${order.tokenOut}`));
      const quote = built?.quotes.find((one) => one.venue === last.venue);
      add(
        "Executed at",
        price(last.executedPrice),
        ...(quote ? against(quote.amountOut / order.amountIn, last.executedPrice) : []),
      );
    }
    const transaction = order.events.findLast((event) => event.txHash);
    if (transaction) add("Transaction", h("code", {}, transaction.txHash));
    if (last?.code) add("Why", h("strong", {}, last.code), ` ${last.error}`);
    for (const one of last?.attempts ?? []) add(`Attempt ${one.attempt}`, `${one.code}: ${one.error}`);
    if (rows.length) facts.push(h("dl", {}, rows));
    return facts;
  }
}

const against = (quoted, executed) => [
  ` (quoted ${price(quoted)}, `,
  h("span", { class: executed < quoted ? "down" : "up" }, bps(executed, quoted)),
  ")",
];
