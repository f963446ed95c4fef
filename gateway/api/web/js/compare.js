/** Before and after on one place, with a slider between them that keys, mouse and fingers move. */

import { imageUrl } from "./api.js";
import { h, icon } from "./dom.js";

const START = 50;

/** @param after { id, alt }; @param before handle of the picture that was changed. */
export function compare(after, before) {
  const old = h("img", { class: "before", src: imageUrl(before), alt: "Before the change", draggable: "false" });
  const made = h("img", { class: "after", src: imageUrl(after.id), alt: after.alt, draggable: "false" });
  const slider = h("input", {
    type: "range", min: 0, max: 100, step: 1, value: START, class: "divide", "aria-label": "Before and after",
  });
  const bar = h("span", { class: "bar", "aria-hidden": "true" }, h("span", { class: "grip" }, icon("compare")));
  const frame = h(
    "div",
    { class: "frame compare" },
    made,
    old,
    h("span", { class: "corner left", "aria-hidden": "true" }, "Before"),
    h("span", { class: "corner right", "aria-hidden": "true" }, "After"),
    bar,
    slider,
  );
  const moved = () => {
    frame.style.setProperty("--cut", `${slider.value}%`);
    slider.setAttribute("aria-valuetext", `${slider.value}% before, ${100 - slider.value}% after`);
  };
  slider.addEventListener("input", moved);
  moved();
  made.addEventListener("load", () => {
    frame.style.aspectRatio = `${made.naturalWidth} / ${made.naturalHeight}`;
    frame.style.setProperty("--ratio", made.naturalWidth / made.naturalHeight);
  });
  return { element: h("div", { class: "picture" }, frame), image: made };
}
