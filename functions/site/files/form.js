// The order form: which fields a type has, the live quote for what is typed, and the API's errors at their fields.

import { call, explain, told } from "./api.js";
import { quoteTable, refusal } from "./card.js";
import { $, TYPES, amount, h } from "./dom.js";

const QUOTE_EVERY = 4000; // ms
const TYPED = 350; // ms after the last key
const HINTS = {
  market: "Swapped at once, on the venue that gives more.",
  limit: "Waits until the quote, less slippage, nets the limit price.",
  stop: "Waits until the price falls to the trigger.",
  takeProfit: "Waits until the price rises to the trigger.",
  sniper: "Waits until the token launches; with a limit price, not below it.",
};
const ASKS = {
  limit: ["limitPrice"],
  sniper: ["limitPrice"],
  stop: ["triggerPrice"],
  takeProfit: ["triggerPrice"],
};
const PLAIN = new Intl.NumberFormat("en", { maximumSignificantDigits: 6, useGrouping: false });
const PRICES = ["limitPrice", "triggerPrice"];
const WHOLE = ["slippageBps", "maxPriceImpactBps"];
const NUMBERS = ["amountIn", "minAmountOut", ...PRICES, ...WHOLE];
const SUBJECTS = { amountIn: "The amount", minAmountOut: "The least amount" };
const QUOTED = ["tokenIn", "tokenOut", "amountIn", "slippageBps", "maxPriceImpactBps"];

export class OrderForm {
  #form = $("order-form");
  #timer;
  #round;
  #away; // the error shown is that the server can't be reached
  #quote; // as shown
  #unknown; // a request that may have been accepted, with its clientOrderId

  constructor({ prices, onSent, onPair }) {
    Object.assign(this, { prices, onSent, onPair });
    this.#form.onsubmit = (event) => {
      event.preventDefault();
      this.#submit();
    };
    this.#form.oninput = (event) => this.#changed(event.target);
    for (const value of Object.keys(TYPES)) {
      const choice = h("input", { type: "radio", name: "orderType", value, checked: value === "market" });
      $("types").append(h("label", {}, choice, h("span", {}, TYPES[value])));
    }
    for (const field of this.#form.querySelectorAll(".field :is(input, select)")) prepare(field);
    $("swap-tokens").onclick = () => this.#exchange();
    for (const button of this.#form.querySelectorAll("[data-price]")) {
      button.onclick = () => this.#atMarket(button.dataset.price);
      prices.addEventListener("price", () => (button.disabled = !prices.now));
    }
    document.addEventListener("visibilitychange", () => this.quote());
    this.#arrange();
  }

  offer(tokens) {
    for (const [name, chosen] of [
      ["tokenIn", "SOL"],
      ["tokenOut", "USDC"],
    ]) {
      this.#field(name).replaceChildren(
        ...tokens.map(({ symbol }) => h("option", { value: symbol, selected: symbol === chosen }, symbol)),
      );
    }
    this.#arrange();
    this.#ask();
  }

  get pair() {
    return [this.#field("tokenIn").value, this.#field("tokenOut").value];
  }

  /** Ask for a quote, now and then again while the page is seen. */
  async quote() {
    clearTimeout(this.#timer);
    const round = (this.#round = {});
    const [tokenIn, tokenOut] = this.pair;
    const asked = this.#request();
    this.#check();
    if (document.hidden || !tokenIn || tokenIn === tokenOut)
      return this.#say(tokenIn ? "Choose two different tokens." : undefined);
    if (!asked.amountIn || wrong("amountIn", asked.amountIn))
      return this.#say("Enter an amount to see what both venues give.");
    const query = new URLSearchParams(Object.entries(asked).filter(([name]) => QUOTED.includes(name)));
    let pause = QUOTE_EVERY;
    try {
      const { body } = await call("GET", `/api/quotes?${query}`);
      if (round !== this.#round) return;
      if (this.#away) this.#clear();
      this.#show(body);
    } catch (problem) {
      if (round !== this.#round) return;
      const { field, message } = problem.errors?.[0] ?? {};
      this.#say(this.#mark(field, message) ? "" : told(problem));
      if ([401, 403, 422].includes(problem.status)) return;
      pause = Math.max(pause, (problem.retryAfter ?? 0) * 1000);
    }
    this.#timer = setTimeout(() => this.quote(), pause);
  }

  #field(name) {
    return this.#form.elements[name];
  }

  #request() {
    const given = Object.fromEntries(
      [...new FormData(this.#form)].map(([name, value]) => [name, value.trim()]),
    );
    for (const name of Object.keys(given)) if (!given[name] || this.#field(name).disabled) delete given[name];
    for (const name of WHOLE) if (/^\d+$/.test(given[name])) given[name] = Number(given[name]);
    if (given.expiresAt && given.timeInForce === "gtc") delete given.timeInForce; // it is gtd then
    if (given.expiresAt) given.expiresAt = new Date(given.expiresAt).toISOString();
    return given;
  }

  #changed(field) {
    if (field.name === "orderType") this.#clear();
    else this.#mark(field.name);
    if (field.name !== "orderType" && !PRICES.includes(field.name)) this.#quote = undefined;
    this.#arrange();
    if (field.name.startsWith("token")) this.#pair();
    this.#due();
    clearTimeout(this.#timer);
    this.#round = undefined;
    this.#timer = setTimeout(() => this.quote(), TYPED);
  }

  #pair() {
    // They were of another unit.
    for (const name of PRICES) {
      this.#field(name).value = "";
      this.#mark(name);
    }
    this.#ask();
  }

  #ask() {
    const [tokenIn, tokenOut] = this.pair;
    this.#quote = undefined;
    if (tokenIn && tokenIn !== tokenOut) this.onPair(tokenIn, tokenOut);
    this.quote();
  }

  #exchange() {
    const [tokenIn, tokenOut] = this.pair;
    this.#field("tokenIn").value = tokenOut;
    this.#field("tokenOut").value = tokenIn;
    this.#arrange();
    this.#pair();
  }

  #atMarket(name) {
    this.#field(name).value = PLAIN.format(this.prices.now);
    this.#changed(this.#field(name));
    this.#field(name).focus();
  }

  /** Show the fields of the chosen type, and disable the others: they are not sent. */
  #arrange() {
    const type = this.#field("orderType").value;
    const [tokenIn, tokenOut] = this.pair;
    for (const name of PRICES) this.#have(name, (ASKS[type] ?? []).includes(name));
    this.#have("minAmountOut", type !== "limit" && type !== "sniper");
    const optional = type === "sniper" ? " (optional)" : "";
    for (const unit of this.#form.querySelectorAll(".unit"))
      unit.textContent = `${optional}, ${tokenOut} for one ${tokenIn}`;
    $("type-hint").textContent = HINTS[type];
    $("submit").textContent = `Place ${TYPES[type]} order`;
  }

  #have(name, needed) {
    this.#field(name).disabled = !needed;
    this.#field(name).closest(".field").hidden = !needed;
  }

  #show(quote) {
    const { tokenOut, rejected, best, minAmountOut } = quote;
    if (!best) return this.#say(rejected.map(refusal).join("; "));
    const least = h(
      "p",
      { class: "hint" },
      `At least ${amount(minAmountOut)} ${tokenOut} with this slippage.`,
    );
    $("quote").replaceChildren(quoteTable(quote, { ...quote, chosen: best, word: "better" }), least);
    this.#quote = quote;
    this.#due();
  }

  #say(text = "Loading…") {
    $("quote").replaceChildren(h("p", { class: "empty" }, text));
    this.#quote = undefined;
    this.#due();
  }

  /** Say beside a price whether the quote that is shown fulfils it. */
  #due() {
    const { quotes, rejected, best, amountIn, minAmountOut } = this.#quote ?? {};
    const { orderType, limitPrice, triggerPrice } = this.#request();
    const net = quotes?.find((one) => one.venue === best).amountOut / amountIn;
    const due = {
      limit: minAmountOut / amountIn >= limitPrice,
      stop: net <= triggerPrice && !rejected.length,
      takeProfit: net >= triggerPrice,
    };
    const text = due[orderType] ? "The price is there already: this is executed at once." : "";
    for (const name of PRICES) $(`due-${name}`).textContent = text;
  }

  /** Say at each number what is wrong with it; return whether something is. */
  #check() {
    const asked = this.#request();
    const found = NUMBERS.filter((name) => wrong(name, asked[name]));
    for (const name of found) this.#mark(name, wrong(name, asked[name]));
    return found.length;
  }

  async #submit() {
    const request = this.#request();
    const text = JSON.stringify(request);
    // With its key the same request can be sent again, and is one order all the same.
    const clientOrderId = this.#unknown?.text === text ? this.#unknown.clientOrderId : crypto.randomUUID();
    this.#clear();
    if (this.#check()) return this.#form.querySelector("[aria-invalid]").focus();
    $("submit").disabled = true;
    try {
      const { body } = await call("POST", "/api/orders/execute", { ...request, clientOrderId });
      this.#unknown = undefined;
      this.onSent({ slippageBps: 50, orderType: "market", ...request, clientOrderId, ...body });
    } catch (problem) {
      this.#unknown = problem.status === 0 || problem.status >= 500 ? { text, clientOrderId } : undefined;
      this.#away = problem.status === 0;
      this.#refuse(problem, explain(problem));
    } finally {
      $("submit").disabled = false;
    }
    if (!this.#form.querySelector("[aria-invalid]")) $("submit").focus({ preventScroll: true });
  }

  #refuse({ errors }, words) {
    const elsewhere = errors.filter(({ field, message }) => !this.#mark(field, message));
    const again = this.#unknown ? " Sending it again does not place it twice." : "";
    $("form-error").textContent = errors.length
      ? elsewhere.map(({ field, message }) => `${field}: ${message}`).join("; ")
      : words + again;
    this.#form.querySelector("[aria-invalid]")?.focus();
  }

  #clear() {
    this.#away = false;
    $("form-error").textContent = "";
    for (const field of this.#form.querySelectorAll("[aria-invalid]")) this.#mark(field.name);
  }

  /** Show a message at a field, or none; return whether there is such a place. */
  #mark(name, message = "") {
    const [place, field] = [$(`error-${name}`), this.#form.querySelector(`[name="${name}"]`)];
    if (!place) return false;
    const subject = /^(must|is|can't) /.test(message)
      ? `${SUBJECTS[name] ?? field.labels[0].firstChild.data} `
      : "";
    place.textContent = subject + message;
    if (message) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
    if (message) field.closest("details")?.setAttribute("open", "");
    return !field.disabled;
  }
}

/** What is wrong with a number, if anything. */
function wrong(name, text = 1) {
  if (/\d,\d/.test(text)) return "must have a point for its decimals, and no comma";
  if (!Number.isFinite(Number(text))) return "must be a number";
  return Number(text) <= 0 && !WHOLE.includes(name) ? "must be above 0" : "";
}

/** Give a field its name and a place for what is wrong with it. */
function prepare(field) {
  field.name = field.id;
  field.inputMode = "decimal";
  field.setAttribute("aria-describedby", `error-${field.id}`);
  field.closest(".field").append(h("p", { id: `error-${field.id}`, class: "error" }));
}
