// The price of the pair as a line for each venue, with the orders that rest at a price.

import { TYPES, VENUES, duration, percent, price, svg } from "./dom.js";
import { firesNear } from "./orders.js";

const LEFT = 4; // pixels
const AT_EDGE = 4; // orders named at an edge; all are in the text
const NEAR = 0.02; // an order this near to the price, as a part of it, is drawn at its place; others are named at the edge

/** The prices near which orders of a pair are executed, as {at, label}. */
export function levels(orders, tokenIn, tokenOut) {
  const found = new Map();
  for (const order of orders) {
    const asked = order.limitPrice ?? order.triggerPrice;
    const fires = firesNear(order);
    const at = fires ?? Number(order.orderType === "sniper" ? 0 : asked);
    if (order.status !== "open" || !at || order.tokenIn !== tokenIn || order.tokenOut !== tokenOut) continue;
    const near = fires ? ` fires near ${price(fires.toPrecision(5))}` : "";
    const name = `${TYPES[order.orderType]} ${price(asked)}`;
    const same = found.get(name + near);
    if (same) same.label = `${name} ×${++same.times}${near}`;
    else found.set(name + near, { at, label: name + near, times: 1 });
  }
  return [...found.values()];
}

/** Draw into an SVG element; return what it shows in words. */
export function draw(element, prices, marked) {
  const { points, tokenIn, tokenOut, problem, age } = prices;
  const { clientWidth: width, clientHeight: height } = element;
  const em = parseFloat(getComputedStyle(element).fontSize); // px; it grows with the user's
  const [top, bottom, apart] = [1.4 * em, height - 2 * em, 1.2 * em];
  element.setAttribute("viewBox", `0 0 ${width} ${height}`);
  if (!points.length) {
    element.replaceChildren();
    return problem;
  }
  const now = points.at(-1).best;
  const near = marked.filter((one) => Math.abs(one.at / now - 1) < NEAR);
  const values = points.flatMap((one) => VENUES.map((venue) => one[venue]).filter(Boolean));
  const seen = [...values, ...near.map((one) => one.at)];
  const pad = Math.max((Math.max(...seen) - Math.min(...seen)) * 0.1, now * 0.0005);
  const [low, high] = [Math.min(...seen) - pad, Math.max(...seen) + pad];
  const end = points.at(-1).at;
  const span = Math.max(end - points[0].at, 60_000);
  const longest = Math.max(...[low, now, high].map((value) => price(value).length));
  const right = width - 8 - longest * 0.68 * em;
  const x = (at) => right - ((end - at) / span) * (right - LEFT);
  const y = (value) => top + ((high - value) / (high - low)) * (bottom - top);

  const parts = grid({ low, high, y, right, taken: y(now), em, apart });
  const from = span + (age ?? 0);
  parts.push(
    svg(
      "text",
      { x: LEFT, y: height - em / 2 },
      from < 120_000 ? `${Math.round(from / 1000)} s ago` : `${Math.round(from / 60_000)} min ago`,
    ),
    svg("text", { class: "end", x: right, y: height - em / 2 }, age ? `${duration(age)} ago` : "now"),
  );
  for (const venue of VENUES) {
    const line = points
      .filter((one) => one[venue])
      .map((one) => `${x(one.at).toFixed(1)},${y(one[venue]).toFixed(1)}`);
    parts.push(svg("polyline", { class: `line ${venue}`, points: line.join(" ") }));
  }
  const above = marked.filter((one) => one.at > high);
  const below = marked.filter((one) => one.at < low);
  for (const one of marked.filter((one) => one.at <= high && one.at >= low)) {
    parts.push(
      svg("line", { class: "level", x1: LEFT, x2: right, y1: y(one.at), y2: y(one.at) }),
      text(one, right - 4, y(one.at) - em / 3, "end"),
    );
  }
  above.slice(0, AT_EDGE).forEach((one, place) => parts.push(text(one, LEFT, em + place * apart, "", "↑")));
  below
    .slice(0, AT_EDGE)
    .forEach((one, place) => parts.push(text(one, LEFT, bottom - em / 3 - place * apart, "", "↓")));
  const shade = age ? "old" : "now";
  parts.push(
    svg("circle", { class: shade, cx: x(end), cy: y(now), r: 3.5 }),
    svg("text", { class: shade, x: right + 8, y: y(now) + em / 3 }, price(now)),
  );
  element.replaceChildren(...parts);

  const best = points.map((one) => one.best);
  const seconds = Math.round((end - points[0].at) / 1000);
  const last = seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} minutes`;
  const range = `; between ${price(Math.min(...best))} and ${price(Math.max(...best))} in the last ${last}`;
  const resting = marked.map((one) => `${one.label}, ${percent(one.at, now)} from the price`);
  return [
    age ? `The last price is ${duration(age)} old.` : "",
    `One ${tokenIn} ${age ? "netted" : "nets"} ${price(now)} ${tokenOut} on ${points.at(-1).venue}${seconds && !age ? range : ""}.`,
    resting.length ? `Open: ${resting.join("; ")}.` : "No open order has a price here.",
    problem ?? "",
  ].join(" ");
}

function grid({ low, high, y, right, taken, em, apart }) {
  const parts = [];
  const step = nice((high - low) / 4);
  for (let value = Math.ceil(low / step) * step; value < high; value += step) {
    parts.push(svg("line", { class: "grid", x1: LEFT, x2: right, y1: y(value), y2: y(value) }));
    if (Math.abs(y(value) - taken) > apart)
      parts.push(svg("text", { x: right + 8, y: y(value) + em / 3 }, price(value)));
  }
  return parts;
}

/** A step of 1, 2 or 5 times a power of ten. */
function nice(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].find((one) => one * power >= rough) * power;
}

const text = ({ label }, x, y, side, arrow = "") =>
  svg("text", { class: `level ${side}`, x, y }, `${label} ${arrow}`);
