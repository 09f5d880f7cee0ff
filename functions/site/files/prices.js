// The market's price of a pair, asked for every two seconds while the page is seen.

import { call, told } from "./api.js";

const EVERY = 2000; // ms
const MOST = 150; // points: five minutes
const STALE = 15_000; // ms
const DIGITS = 5; // a small price with fewer is asked for with a larger amount

/** Tells "price" after each look: `points` has {at, raydium, meteora, best}, or `problem` says why there is none. */
export class Prices extends EventTarget {
  points = [];
  problem = "Loading the price…";
  #amount = 1;
  #timer;
  #running = false;

  constructor() {
    super();
    document.addEventListener("visibilitychange", () => this.#running && this.#look());
  }

  /** How old the last price is, in ms, unless it is the present one. */
  get age() {
    const age = Date.now() - this.heard;
    return this.points.length && (this.problem !== undefined || age > STALE) ? age : undefined;
  }

  /** The best price, in tokenOut for one tokenIn, if there is one. */
  get now() {
    return this.problem === undefined ? this.points.at(-1)?.best : undefined;
  }

  watch(tokenIn, tokenOut) {
    Object.assign(this, { tokenIn, tokenOut, points: [], problem: "Loading the price…" });
    this.#amount = 1;
    this.#running = true;
    this.#tell();
    this.#look();
  }

  async #look() {
    clearTimeout(this.#timer);
    if (document.hidden || !this.#running) return;
    const round = (this.round = {});
    let pause = EVERY;
    const { tokenIn, tokenOut } = this;
    try {
      const query = new URLSearchParams({ tokenIn, tokenOut, amountIn: this.#amount });
      const { body } = await call("GET", `/api/quotes?${query}`);
      if (round !== this.round) return;
      this.#take(body);
    } catch (problem) {
      if (round !== this.round) return;
      this.problem = told(problem);
      pause = Math.max(EVERY, (problem.retryAfter ?? 0) * 1000);
      if ([401, 403].includes(problem.status)) this.#running = false;
    }
    this.#tell();
    if (this.#running) this.#timer = setTimeout(() => this.#look(), pause);
  }

  #take({ amountIn, quotes, rejected, best, timestamp }) {
    const found = quotes.find((one) => one.venue === best);
    const small = found
      ? found.amountOut < 1 && digits(found.amountOut) < DIGITS
      : rejected[0]?.code === "AMOUNT_TOO_SMALL";
    if (small && this.#amount < 1e9) this.#amount *= 1000;
    this.problem = found ? undefined : (rejected[0]?.error ?? "No venue has a price.");
    if (!found) return;
    const point = { at: Date.parse(timestamp), venue: best };
    for (const one of quotes) point[one.venue] = one.amountOut / amountIn;
    point.best = point[best];
    this.heard = Date.now();
    this.points = [...this.points, point].slice(-MOST);
  }

  #tell() {
    this.dispatchEvent(new Event("price"));
  }
}

const digits = (text) => text.replace(/^[0.]+|\./g, "").length;
