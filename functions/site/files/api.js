// Calls of the HTTP API. The key, where one is needed, is in this tab's session storage alone.

const KEY = "order-engine.key";

/** What the API refused, or that it was not reached (status 0). */
export class Problem extends Error {
  constructor(status, document, retryAfter) {
    super(document.detail ?? document.message ?? document.title ?? `The server returned ${status}.`);
    const { code, errors = [] } = document;
    Object.assign(this, { status, code, errors, retryAfter }); // retryAfter: seconds, or undefined
  }
}

/** As `explain`, but that a key is needed: the key's form says so. */
export const told = (problem) => (problem.status === 401 ? "" : explain(problem));

/** Say to a user what happened, and what to do. Raises what is no Problem. */
export function explain(problem) {
  if (!(problem instanceof Problem)) throw problem;
  const { status, message, retryAfter } = problem;
  const again = ` Try again in ${retryAfter ? `${retryAfter} s` : "a moment"}.`;
  const detail = message.charAt(0).toUpperCase() + message.slice(1).replace(/\.?$/, ".");
  if (status === 401) return "An API key is needed. Enter it at the top of the page.";
  if (status === 403) return `This API key may not do that. ${detail}`;
  if (status === 429) return `Too many requests just now.${again}`;
  if (status >= 500) return `The service is unavailable. ${detail}${again}`;
  if (problem.code === "TOO_LATE_TO_CANCEL") return `It was too late to cancel. ${detail}`;
  return detail;
}

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

/** Told "locked" when a key is needed, or the one that was given is not valid. */
export const door = new EventTarget();

/** Return the JSON of a response and, of a list, the path of its next page. Raises Problem. */
export async function call(method, path, body) {
  const headers = {};
  if (key.get()) headers.Authorization = `Bearer ${key.get()}`;
  if (body) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body), cache: "no-cache" });
  } catch {
    throw new Problem(0, { detail: "The server can't be reached. Try again in a moment." });
  }
  const document = await response.json().catch(() => ({}));
  if (response.ok) return { body: document, next: nextOf(response.headers.get("Link")) };
  if (response.status === 401) door.dispatchEvent(new Event("locked"));
  throw new Problem(response.status, document, Number(response.headers.get("Retry-After")) || undefined);
}

function nextOf(link) {
  const found = /<([^>]*)>\s*;\s*rel="?next"?/.exec(link ?? "");
  // A path of this API alone: the request carries the key.
  return found && new URL(found[1], location.origin).origin === location.origin ? found[1] : undefined;
}
