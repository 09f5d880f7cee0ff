// Elements, numbers and times. Whatever comes from the API becomes text, never markup.

export const $ = (id) => document.getElementById(id);

const fill = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(
    ...children.flat().filter((child) => child !== undefined && child !== null && child !== false),
  );
  return element;
};

/** Make an HTML element; `on…` attributes are listeners, children elements or text. */
export const h = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);

export const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

// Nothing of an amount is rounded.
const exact = new Intl.NumberFormat("en", { maximumFractionDigits: 18 });
const seven = new Intl.NumberFormat("en", { maximumSignificantDigits: 7 });
const clock = new Intl.DateTimeFormat([], {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const day = new Intl.DateTimeFormat([], { day: "numeric", month: "short", year: "numeric" });

export const amount = (text) => exact.format(text);

export const price = (value) => seven.format(value);

/** How far `value` is from `base`, with its sign. */
export const bps = (value, base) => `${signed((value / base - 1) * 10000)} bps`;

export const percent = (value, base) => `${signed((value / base - 1) * 100)} %`;

function signed(number) {
  const text = Math.abs(number).toFixed(Math.abs(number) < 10 ? 2 : 1);
  return Number(text) === 0 ? "0" : `${number < 0 ? "−" : "+"}${text}`;
}

export function duration(ms) {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(2)} s`;
  if (seconds < 120) return `${Math.floor(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86400)} d`;
}

/** A moment in the user's time zone, with UTC in its title. */
export function time(iso) {
  const moment = new Date(iso);
  const today = moment.toDateString() === new Date().toDateString();
  const text = today ? clock.format(moment) : `${day.format(moment)}, ${clock.format(moment)}`;
  return h("time", { datetime: iso, title: `${iso.replace("T", " ").replace(/Z$/, "")} UTC` }, text);
}

/** Have a screen reader say something, politely. */
export const announce = (text) => ($("announcer").textContent = text);

/** Show a message at the foot of the page; none closes it. */
export function notice(text) {
  $("notice").hidden = !text;
  $("notice-text").textContent = text ?? "";
}

export const TYPES = {
  market: "market",
  limit: "limit",
  stop: "stop",
  takeProfit: "take profit",
  sniper: "sniper",
};
export const VENUES = ["raydium", "meteora"];
export const FINAL = ["confirmed", "failed", "cancelled", "expired"];

export const headline = (order) => `${amount(order.amountIn)} ${order.tokenIn} → ${order.tokenOut}`;

export function kind(order) {
  const at = order.limitPrice ?? order.triggerPrice;
  return at === undefined ? TYPES[order.orderType] : `${TYPES[order.orderType]} at ${amount(at)}`;
}

export const badge = (status) => h("span", { class: `badge ${status}` }, status);
