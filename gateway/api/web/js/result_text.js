/** What a tool's result says in words: captions, tags, lines of text, entries that were found. */

import { h } from "./dom.js";

/** An element, or null for a result without words. */
export function resultText({ caption, tags, texts, retrieval_results: found }) {
  const said = [
    caption && h("p", { class: "answer" }, caption),
    texts && h("p", { class: "answer" }, texts.length ? texts.join("\n") : "No text was found."),
    tags && h("ul", { class: "legend", "aria-label": "Tags" }, tags.map((tag) => h("li", { class: "chip" }, tag))),
    found && h("ol", { class: "retrieved" }, found.map(({ caption: words, similarity }) => h("li", {}, words, h("small", {}, ` ${similarity.toFixed(2)}`)))),
  ].filter(Boolean);
  return said.length ? h("div", {}, said) : null;
}
