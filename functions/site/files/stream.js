// One WebSocket for many orders. It reconnects by itself, and resumes each order after its last status.

import { Problem, call } from "./api.js";

const FIRST_PAUSE = 500; // ms; it doubles
const LONGEST_PAUSE = 30_000;
const PING_EVERY = 45_000;
const ANSWER_WITHIN = 10_000; // ms for a pong, or for the reply to a subscription

/** Tells "state" (connecting, live, reconnecting, locked), and each status to `onStatus`. */
export class Stream extends EventTarget {
  state = "connecting";
  #wanted = new Map(); // orderId → a function that returns the last sequence that was seen
  #asked = new Map(); // orderId → when it was subscribed to, until the reply
  #socket;
  #failures = 0;
  #timer;
  #heard = 0;

  constructor(onStatus, onRefused) {
    super();
    this.onStatus = onStatus;
    this.onRefused = onRefused;
    addEventListener("online", () => this.state === "reconnecting" && this.connect());
    setInterval(() => this.#check(), 5000);
  }

  /** Follow an order from its last status that was seen. */
  follow(orderId, last) {
    this.#wanted.set(orderId, last);
    this.resume(orderId);
  }

  follows(orderId) {
    return this.#wanted.has(orderId);
  }

  /** Forget an order: after its final status the server has let go of it too. */
  drop(orderId) {
    this.#wanted.delete(orderId);
    this.#asked.delete(orderId);
  }

  /** Ask for what came after the last status that was seen, where one is missing. */
  resume(orderId) {
    if (!this.#asked.has(orderId)) this.#subscribe(orderId);
  }

  async connect() {
    clearTimeout(this.#timer);
    this.#leave();
    const attempt = (this.attempt = {});
    try {
      const { body } = await call("POST", "/api/streams");
      if (attempt !== this.attempt) return;
      this.#open(new WebSocket(body.streamUrl));
    } catch (problem) {
      if (attempt !== this.attempt) return;
      if (problem instanceof Problem && [401, 403].includes(problem.status)) this.#become("locked");
      else this.#again(problem.retryAfter);
    }
  }

  #open(socket) {
    this.#socket = socket;
    const current = (act) => (event) => socket === this.#socket && act(event);
    socket.onopen = current(() => {
      this.#failures = 0;
      this.#heard = this.pinged = Date.now();
      this.#become("live");
      for (const orderId of this.#wanted.keys()) this.#subscribe(orderId);
    });
    socket.onmessage = current((event) => this.#receive(JSON.parse(event.data)));
    socket.onclose = current(() => {
      this.#leave();
      this.#again();
    });
  }

  #receive(message) {
    this.#heard = Date.now();
    if (message.sequence !== undefined) {
      this.#asked.delete(message.orderId);
      this.onStatus(message);
    } else if (message.type === "subscribed") {
      this.#asked.delete(message.orderId);
    } else if (message.code === "UNKNOWN_CONNECTION") {
      this.connect();
    } else if (["UNKNOWN_ORDER", "TOO_MANY_SUBSCRIBERS", "TOO_MANY_SUBSCRIPTIONS"].includes(message.code)) {
      this.drop(message.orderId);
      this.onRefused(message);
    }
    // Other errors pass: a subscription without a reply is sent again.
  }

  #subscribe(orderId) {
    if (this.state !== "live") return;
    this.#asked.set(orderId, Date.now());
    const after = this.#wanted.get(orderId)();
    this.#say({ action: "subscribe", orderId, ...(after && { after }) });
  }

  #check() {
    if (this.state !== "live") return;
    const now = Date.now();
    const silent = this.#heard < this.pinged && now - this.pinged > ANSWER_WITHIN;
    if (silent) return this.connect();
    if (now - Math.max(this.#heard, this.pinged) > PING_EVERY) {
      this.pinged = now;
      this.#say({ action: "ping" });
    }
    for (const [orderId, since] of this.#asked) if (now - since > ANSWER_WITHIN) this.#subscribe(orderId);
  }

  #say(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #again(seconds = 0) {
    this.#become("reconnecting");
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#failures++) * (0.5 + Math.random() / 2);
    this.#timer = setTimeout(() => this.connect(), Math.max(pause, seconds * 1000));
  }

  #leave() {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#asked.clear();
    socket?.close();
    if (this.state === "live") this.#become("reconnecting");
  }

  #become(state) {
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}
