/** The pictures of a turn, one at a time and large, with what can be done with them. */

import { imageUrl, request } from "./api.js";
import { compare } from "./compare.js";
import { button, h } from "./dom.js";
import { findingsOf, paintedBy } from "./findings.js";
import { Overlay } from "./overlay.js";

const KIND = { sent: "Picture", found: "Findings", made: "Result" };

/**
 * @param sent pictures that came with the question: [{ id, width, height, name, marks }]
 * @param records results of the turn's calls
 * @param made handles of pictures that were made, for calls that the page knows nothing of
 * @param onMark called with a picture that is to be drawn on
 * @returns the element, or null where there is nothing to see
 */
export function stage({ sent, records = [], made = [], onMark }) {
  const views = viewsOf(sent, records, made);
  if (!views.length) return null;
  const stand = h("div", { class: "stand" });
  const tools = h("div", { class: "stage-tools" });
  const under = h("div", { class: "under" });
  const tabs = views.length > 1 && strip(views, (view) => show(view));
  const show = (view) => {
    const shown = view.build();
    stand.replaceChildren(shown.element);
    under.replaceChildren(...[shown.legend, tools].filter(Boolean));
    tools.replaceChildren(...toolsOf(view, shown, onMark));
    for (const tab of tabs ? tabs.children : []) tab.setAttribute("aria-pressed", String(tab.dataset.view === view.key));
  };
  show(views.at(-1));
  const caption = views.length > 1 ? "Pictures of this turn" : "Picture of this turn";
  return h("div", { class: "stage", role: "group", "aria-label": caption }, stand, under, tabs);
}

function viewsOf(sent, records, made) {
  const findings = findingsOf(records);
  const painted = paintedBy(records);
  const maps = new Set([...findings.values()].flatMap(({ maps: drawn }) => drawn.map(({ handle }) => handle)));
  const known = new Set([...painted.map(({ handle }) => handle), ...maps]);
  const produced = [...painted, ...made.filter((handle) => !known.has(handle)).map((handle) => ({ handle, before: undefined }))];
  const inputs = new Set(produced.map(({ before }) => before));
  const last = new Set(produced.map(({ handle }) => handle));
  const others = [...findings.keys()].filter((id) => !sent.some((one) => one.id === id) && !last.has(id));
  const plain = [...sent, ...others.map((id) => ({ id, name: "the conversation's picture" }))].map((picture) => {
    const found = findings.get(picture.id);
    return {
      key: picture.id,
      kind: found ? KIND.found : KIND.sent,
      picture,
      rank: found ? 1 : 0,
      build: () => new Overlay({ ...picture, alt: altOf(picture, found) }, found, picture.marks),
    };
  });
  const results = produced.map((one) => madeView(one, findings.get(one.handle)));
  // What was found is looked at before what was only sent; what was made, before both.
  const shown = plain.filter(({ key, picture, rank }) => rank || picture.marks || !inputs.has(key));
  return [...shown.toSorted((one, other) => one.rank - other.rank), ...results];
}

function madeView({ handle, before, skill }, found) {
  const picture = { id: handle, name: "the result", alt: skill ? `Picture made by ${skill}` : "Picture made for this answer" };
  return {
    key: handle,
    kind: KIND.made,
    picture,
    build: () => {
      if (before && !found) return compare(picture, before);
      const shown = new Overlay(picture, found);
      if (before === undefined && !found) replaceByCompare(shown, picture);
      return shown;
    },
  };
}

/** A picture that no known call made: its lineage says what it was before. */
async function replaceByCompare(shown, picture) {
  const { lineage } = await request(`/v1/images/${picture.id}/info`).catch(() => ({}));
  const before = lineage?.images?.image;
  if (before && shown.element.isConnected) shown.element.replaceWith(compare(picture, before).element);
}

function altOf({ name }, found) {
  const what = name ? `Picture: ${name}` : "The picture";
  if (!found?.items.length) return what;
  const labels = found.items.map(({ label }) => label);
  const more = labels.length > 12 ? ` and ${labels.length - 12} more` : "";
  return `${what}, with ${labels.slice(0, 12).join(", ")}${more} marked`;
}

function strip(views, show) {
  const tabs = views.map((view, index) =>
    h(
      "button",
      {
        type: "button", class: "thumb", "data-view": view.key, "aria-label": `${view.kind} ${index + 1} of ${views.length}`,
        onclick: () => show(view),
      },
      h("img", { src: imageUrl(view.key, "thumbnail"), alt: "" }),
      h("span", { "aria-hidden": "true" }, view.kind),
    ),
  );
  return h("div", { class: "strip", role: "group", "aria-label": "Choose a picture" }, tabs);
}

function toolsOf(view, shown, onMark) {
  const tools = [];
  if (shown instanceof Overlay && !shown.empty) {
    const eye = button({ icon: "eye", label: "Show what was found", "aria-pressed": "true", class: "button round eye" });
    eye.addEventListener("click", () => {
      shown.show(!shown.all);
      eye.setAttribute("aria-pressed", String(shown.all));
    });
    tools.push(eye);
    tools.push(button({ icon: "download-marked", label: "Download with what was found", onclick: () => saveDrawn(shown, view.key) }));
  }
  const link = h("a", { class: "button round", href: imageUrl(view.key), download: view.key, "aria-label": "Download the picture" });
  link.title = "Download the picture";
  link.append(...button({ icon: "download" }).childNodes);
  tools.push(link);
  if (onMark) {
    const mark = () => onMark({ ...view.picture, ...sizeOf(shown) });
    tools.push(button({ icon: "pen", label: "Mark this picture and ask about it", onclick: mark }));
  }
  return tools;
}

function sizeOf({ image }) {
  return image.naturalWidth ? { width: image.naturalWidth, height: image.naturalHeight } : {};
}

function saveDrawn(shown, name) {
  shown.composed().toBlob((blob) => {
    const url = URL.createObjectURL(blob);
    h("a", { href: url, download: `${name}-found.png` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }, "image/png");
}
