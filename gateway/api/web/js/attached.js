/** One picture that goes with the question: small, with its marks, and what can be done with it. */

import { imageUrl } from "./api.js";
import { button, h } from "./dom.js";
import { marksLayer } from "./overlay.js";

/** @param picture { id, name, marks, loading, error }; `summary` says in words what is marked. */
export function attachedPicture(picture, { summary, onMark, onRetry, onRemove }) {
  const { id, name, marks, loading, error } = picture;
  const thumb = h("span", { class: loading ? "thumb loading" : "thumb" });
  if (id) {
    const image = h("img", { src: imageUrl(id, "thumbnail"), alt: "" });
    const box = h("span", { class: "fit" }, image, marks && marksLayer(marks));
    thumb.append(box);
  }
  const state = error ? error.message : loading ? "Uploading…" : summary;
  const actions = [
    id && button({ icon: "pen", label: `Mark ${name}`, onclick: onMark }),
    error && button({ icon: "again", label: `Upload ${name} again`, onclick: onRetry }),
    button({ icon: "close", label: `Remove ${name}`, onclick: onRemove }),
  ];
  return h(
    "li",
    { class: error ? "attached bad" : "attached" },
    thumb,
    h("span", { class: "about" }, h("strong", {}, name), state && h("small", { role: error ? "alert" : null }, state)),
    actions,
  );
}
