// What the page loads at the start, and who hears of what.

import { call, door, explain, key, told } from "./api.js";
import { Card } from "./card.js";
import { draw, levels } from "./chart.js";
import { $, announce, h, headline, kind, notice, time } from "./dom.js";
import { OrderForm } from "./form.js";
import { History } from "./history.js";
import { isFinal, orders, sent } from "./orders.js";
import { Prices } from "./prices.js";
import { Stream } from "./stream.js";

const WORDS = { live: "Live", reconnecting: "Reconnecting…", locked: "Not connected" };

const NOT_LOADED = "The open orders could not be loaded.";
const REFRESH_EVERY = 10_000; // ms

const cards = new Map(); // orderId → Card of an order sent from this tab
const rows = new Map(); // orderId → entry of an open order
const asked = new Set(); // open orders whose events were asked for

const prices = new Prices();
const stream = new Stream(receive, refused);
const history = new History({ cancel, learn: (document) => follow(orders.learn(document)) });
const form = new OrderForm({
  prices,
  onSent,
  onPair: (tokenIn, tokenOut) => prices.watch(tokenIn, tokenOut),
});

function receive(event) {
  if (!orders.add(event)) stream.resume(event.orderId);
}

function refused({ orderId, code, detail }) {
  if (code === "UNKNOWN_ORDER") orders.forget(orderId);
  else notice(`Order ${orderId.slice(0, 8)} can't be followed: ${detail}.`);
}

function follow(order) {
  if (!isFinal(order)) stream.follow(order.orderId, () => orders.last(order.orderId));
  return order;
}

function onSent(order) {
  sent.add(order.orderId);
  const { element } = addCard(follow(orders.learn(order)));
  $("cards").prepend(element);
  if (!matchMedia("(min-width: 60rem)").matches) element.scrollIntoView();
  announce(`Order placed: ${headline(order)}, ${kind(order)}.`);
}

function addCard(order, open = true) {
  const card = new Card(order, { cancel, open });
  cards.get(order.orderId)?.element.remove();
  cards.set(order.orderId, card);
  $("cards-empty").hidden = true;
  return card;
}

async function cancel(order, button) {
  // One that is disabled would lose the focus.
  if (button.ariaDisabled) return;
  button.ariaDisabled = "true";
  try {
    const { body } = await call("DELETE", `/api/orders/${order.orderId}`);
    notice();
    orders.learn(body);
    announce(`${headline(order)}: ${body.status}.`);
  } catch (problem) {
    notice(explain(problem));
    if (problem.code === "UNKNOWN_ORDER") orders.forget(order.orderId);
  } finally {
    button.ariaDisabled = null;
  }
}

/** Load an order with its events. Raises Problem. */
async function load(orderId) {
  const seen = orders.last(orderId);
  try {
    const order = orders.learn((await call("GET", `/api/orders/${orderId}`)).body);
    if (!stream.follows(orderId) || order.seen < seen) follow(order);
  } catch (problem) {
    if (problem.code !== "UNKNOWN_ORDER") throw problem;
    orders.forget(orderId);
  }
}

/** Learn the rest of an open order. */
function complete({ orderId, status, expiresAt, events }) {
  if (status !== "open" || asked.has(orderId) || (expiresAt && events.length)) return;
  asked.add(orderId);
  load(orderId).catch(() => asked.delete(orderId));
}

orders.addEventListener("change", ({ detail: { order, event } }) => {
  cards.get(order.orderId)?.update();
  if (history.shown?.order === order) history.shown.update();
  history.update(order);
  listOpen(order);
  complete(order);
  plot();
  if (isFinal(order)) stream.drop(order.orderId);
  if (!event) return;
  announce(`${headline(order)}: ${event.status}. ${isFinal(order) ? event.message : ""}`);
  if (isFinal(order) || event.sequence === 1) history.freshen();
});

function listOpen(order) {
  const row = rows.get(order.orderId);
  if (order.status !== "open") {
    const near = row?.nextElementSibling ?? row?.previousElementSibling;
    if (row?.contains(document.activeElement)) (near?.querySelector("button") ?? $("open-title")).focus();
    row?.remove();
    rows.delete(order.orderId);
  } else if (!row) {
    const button = h(
      "button",
      {
        type: "button",
        "aria-label": `Cancel ${headline(order)}, ${kind(order)}`,
        onclick: () => cancel(order, button),
      },
      "Cancel",
    );
    const life = h(
      "button",
      { type: "button", class: "link", onclick: () => history.open(order.orderId) },
      headline(order),
    );
    const since = h("span", { class: "hint" }, "since ", time(order.createdAt));
    const made = h(
      "li",
      { "data-at": order.createdAt },
      h("div", {}, life, " ", h("span", { class: "kind" }, kind(order)), h("br"), since),
      button,
    );
    rows.set(order.orderId, made);
    const older = [...$("open").children].find((one) => one.dataset.at < order.createdAt);
    $("open").insertBefore(made, older ?? null);
  }
  const since = rows.get(order.orderId)?.querySelector(".hint");
  if (since?.childElementCount === 1 && order.expiresAt) since.append(" until ", time(order.expiresAt));
  $("open-empty").hidden = rows.size > 0;
}

function plot() {
  $("pair").textContent = prices.tokenIn ? `${prices.tokenIn} in ${prices.tokenOut}` : "";
  const marked = levels(orders.all(), prices.tokenIn, prices.tokenOut);
  $("chart-text").textContent = draw($("chart"), prices, marked);
}
prices.addEventListener("price", plot);

stream.addEventListener("state", () => {
  if (stream.state === "live") refresh();
  $("connection").textContent = WORDS[stream.state];
  $("connection").className = `connection ${stream.state}`;
});

async function loadSent() {
  const ids = sent.ids();
  const found = await Promise.allSettled(ids.map((orderId) => call("GET", `/api/orders/${orderId}`)));
  const gone = ids.filter((_, place) => found[place].reason?.status === 404);
  if (gone.length) sent.keep(sent.ids().filter((orderId) => !gone.includes(orderId)));
  found.forEach(({ value }, place) => {
    if (!value) return;
    const order = follow(orders.learn(value.body));
    if (!cards.has(order.orderId)) $("cards").append(addCard(order, place < 3 || !isFinal(order)).element);
  });
}

/** Look for orders placed elsewhere, and those that are gone. */
function refresh() {
  if (document.hidden || !$("key-form").hidden) return;
  loadOpen(true);
  history.freshen(true);
}

async function loadOpen(quietly) {
  try {
    const { body, next } = await call("GET", "/api/orders?status=open&limit=100");
    for (const order of body.orders) {
      if (!orders.get(order.orderId)) follow(orders.learn(order));
      else if (!stream.follows(order.orderId)) orders.learn(order);
    }
    const listed = body.orders.map(({ orderId }) => orderId);
    if ($("notice-text").textContent.startsWith(NOT_LOADED)) notice();
    if (!next) await Promise.all([...rows.keys()].filter((orderId) => !listed.includes(orderId)).map(load));
  } catch (problem) {
    if (quietly) return;
    if (told(problem)) notice(`${NOT_LOADED} ${told(problem)}`);
  }
}

async function loadTokens() {
  try {
    const { body } = await call("GET", "/api/tokens");
    notice();
    form.offer(body.tokens);
    history.offer(body.tokens);
  } catch (problem) {
    notice(`The tokens could not be loaded. ${explain(problem)}`);
    setTimeout(loadTokens, (problem.retryAfter ?? 3) * 1000);
  }
}

function lock() {
  if (!$("key-form").hidden) return;
  $("key-error").textContent = key.get()
    ? "This key is not valid, or was revoked."
    : "An API key is needed to place and see orders.";
  key.forget();
  $("forget-key").hidden = true;
  $("key-form").hidden = false;
  $("api-key").focus();
}

door.addEventListener("locked", lock);
document.addEventListener("visibilitychange", refresh);
$("key-form").onsubmit = (event) => {
  event.preventDefault();
  const text = $("api-key")
    .value.replace(/^\s*(authorization:)?\s*(bearer\s)?/i, "")
    .trim();
  if (!text) return;
  key.set(text);
  location.reload();
};
$("forget-key").onclick = () => {
  key.forget();
  sent.keep([]);
  location.reload();
};
$("close-notice").onclick = () => notice();
$("close-life").onclick = () => $("life").close();
setInterval(() => {
  [...cards.values(), history.shown].forEach((card) => card?.tick());
  if (prices.age) plot();
}, 500);
setInterval(refresh, REFRESH_EVERY);

$("forget-key").hidden = !key.get();
plot();
stream.connect();
loadTokens();
loadSent();
loadOpen();
history.load();
