// What this page knows of orders: their terms, and their statuses in order, each once.

import { FINAL } from "./dom.js";

const SENT = "order-engine.sent";
const MOST_SENT = 20;
const OUTCOME = ["status", "venue", "executedPrice", "amountOut", "code"];

/** Tells "change" with the order, and with `event` if that is a new status that came live. */
class Orders extends EventTarget {
  #known = new Map();

  get(orderId) {
    return this.#known.get(orderId);
  }

  all() {
    return [...this.#known.values()];
  }

  /** Keep what a response says of an order: a summary, or the whole of it with its events. */
  learn({ events, ...terms }) {
    const order = this.#known.get(terms.orderId) ?? { seen: 0, events: [] };
    const { status, ...lasting } = terms;
    const sequence = terms.sequence ?? events?.length ?? 0;
    // A response may be older than what the socket has said.
    Object.assign(order, order.seen > sequence ? lasting : terms);
    order.seen = Math.max(order.seen, sequence);
    // Where the response is older, the statuses after it are asked for once more.
    if (events) order.seen = order.events.push(...events.slice(order.events.length));
    this.#known.set(order.orderId, order);
    this.#tell(order);
    return order;
  }

  /** Add a status. Returns false if one is missing before it; one that was seen already changes nothing. */
  add(event) {
    const order = this.#known.get(event.orderId);
    if (!order || event.sequence <= order.seen) return true;
    if (event.sequence > order.seen + 1) return false;
    order.seen = event.sequence;
    for (const name of OUTCOME) order[name] = event[name] ?? order[name];
    // Of an order from a list the earlier ones are not here; they are loaded when it is opened.
    if (order.events.length === event.sequence - 1) order.events.push(event);
    this.#tell(order, event);
    return true;
  }

  /** Let go of an order: its status is `unknown` then. */
  forget(orderId) {
    const order = this.#known.get(orderId);
    if (!order) return;
    this.#known.delete(orderId);
    sent.keep(sent.ids().filter((one) => one !== orderId));
    order.status = "unknown";
    this.#tell(order);
  }

  /** The last sequence that was seen of an order. */
  last(orderId) {
    return this.#known.get(orderId)?.seen ?? 0;
  }

  #tell(order, event) {
    this.dispatchEvent(new CustomEvent("change", { detail: { order, event } }));
  }
}

export const orders = new Orders();
export const isFinal = ({ status }) => status === "unknown" || FINAL.includes(status);

/** Where an open order is executed. */
export const firesNear = (order) =>
  Number(order.events.findLast(({ status }) => status === "open")?.referencePrice) || undefined;

/** The orders that were sent from this tab, the newest first; they outlast a reload. */
export const sent = {
  ids: () => JSON.parse(sessionStorage.getItem(SENT) ?? "[]"),
  add: (orderId) => sent.keep([orderId, ...sent.ids().filter((one) => one !== orderId)].slice(0, MOST_SENT)),
  keep: (ids) => sessionStorage.setItem(SENT, JSON.stringify(ids)),
};
