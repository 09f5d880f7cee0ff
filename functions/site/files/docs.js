// The documentation: Swagger UI for the HTTP API, and the WebSocket's messages from asyncapi.json (AsyncAPI 3).

import { $, h } from "./dom.js";

const specification = await fetch("/asyncapi.json").then((response) => response.json());

/** Follow a reference inside the document; what stands beside it comes on top. */
function resolve(node) {
  if (!node?.$ref) return node;
  const { $ref, ...beside } = node;
  const parts = $ref
    .slice(2)
    .split("/")
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  return { ...resolve(parts.reduce((inner, part) => inner[part], specification)), ...beside };
}

/** A schema with what its `allOf` says. */
function merged(node) {
  const { allOf = [], ...own } = resolve(node);
  return [...allOf.map(merged), own].reduce((all, one) => ({
    ...all,
    ...one,
    properties: { ...all.properties, ...one.properties },
    required: [...(all.required ?? []), ...(one.required ?? [])],
  }));
}

/** `code` and **strong** of Markdown; the rest is text. */
const inline = (text = "") =>
  text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part) => {
    if (/^`.+`$/.test(part)) return h("code", {}, part.slice(1, -1));
    return /^\*\*.+\*\*$/.test(part) ? h("strong", {}, part.slice(2, -2)) : part;
  });

/** Paragraphs and lists of Markdown. */
const prose = (text = "") =>
  text
    .split(/\n{2,}/)
    .filter(Boolean)
    .map((block) =>
      block.startsWith("- ")
        ? h(
            "ul",
            {},
            block
              .split(/\n?^- /m)
              .filter(Boolean)
              .map((item) => h("li", {}, inline(item))),
          )
        : h("p", {}, inline(block)),
    );

/** What values a schema allows, in a line. */
function values(schema) {
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" · ");
  const either = schema.oneOf ?? schema.anyOf;
  if (either) return either.map((one) => values(merged(one))).join(" or ");
  if (schema.items) return `array of ${values(merged(schema.items))}`;
  const type = [schema.type]
    .flat()
    .filter((one) => one && one !== "null")
    .join(" or ");
  const more = [
    schema.format,
    schema.minimum !== undefined && `≥ ${schema.minimum}`,
    schema.maximum !== undefined && `≤ ${schema.maximum}`,
  ];
  return [type, ...more].filter(Boolean).join(", ");
}

/** Rows for the fields of a schema, those of inner objects below their own. */
function rows(schema, path = "") {
  return Object.entries(schema.properties ?? {}).flatMap(([name, node]) => {
    const field = merged(node);
    const inner = field.items ? merged(field.items) : field;
    const full = `${path}${name}${field.items ? "[]" : ""}`;
    const needed = schema.required?.includes(name) && h("span", { class: "needed" }, " required");
    const row = h(
      "tr",
      {},
      h("td", {}, h("code", {}, full), needed),
      h("td", {}, values(field)),
      h("td", {}, prose(field.description)),
    );
    return [row, ...(inner.properties ? rows(inner, `${full}.`) : [])];
  });
}

function card(node) {
  const message = resolve(node);
  const schema = merged(message.payload);
  const examples = message.examples?.map((one) => one.payload) ?? schema.examples ?? [];
  const fields = rows(schema);
  const head = h(
    "thead",
    {},
    h(
      "tr",
      {},
      ["Field", "Values", ""].map((text) => h("th", { scope: "col" }, text)),
    ),
  );
  return h(
    "details",
    { class: "message" },
    h("summary", {}, h("code", {}, message.title ?? message.name), inline(message.summary)),
    prose(message.description ?? (schema.description === message.summary ? "" : schema.description)),
    fields.length > 0 &&
      h(
        "div",
        { class: "scroll", tabindex: 0, role: "region", "aria-label": `Fields of ${message.name}` },
        h("table", {}, head, h("tbody", {}, fields)),
      ),
    examples.map((one) => h("pre", {}, h("code", {}, JSON.stringify(one, null, 2)))),
  );
}

/** The messages of all operations with an action, each once. */
function messages(action, name) {
  const found = Object.values(specification.operations).filter(
    (one) => one.action === action && one.channel.$ref === `#/channels/${name}`,
  );
  const nodes = found.flatMap(
    (one) =>
      one.messages ??
      Object.keys(specification.channels[name].messages).map((message) => ({
        $ref: `#/channels/${name}/messages/${message}`,
      })),
  );
  return [...new Map(nodes.map((one) => [one.$ref, one])).values()].map(card);
}

function describe(name) {
  const channel = specification.channels[name];
  return [
    h("h3", {}, channel.title ?? name, " ", h("code", {}, channel.address)),
    prose(channel.description),
    h("h3", {}, "What a client sends"),
    messages("receive", name),
    h("h3", {}, "What a client receives"),
    messages("send", name),
  ];
}

$("messages").replaceChildren(
  ...[prose(specification.info.description), ...Object.keys(specification.channels).map(describe)].flat(2),
);

window.SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
});
