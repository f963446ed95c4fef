/** A picture with what was found in it: boxes, masks and maps over it, and a list of them to reach each by key. */

import { imageUrl } from "./api.js";
import { h, s } from "./dom.js";
import { MapLayer, MaskLayer } from "./mask_layer.js";

/** As many labels are written on the picture; of more, only that of the thing that is pointed at. */
const LABELS_SHOWN_MAX = 8;
/** A longer list is folded, and so are lines of text, which the picture and the answer show already. */
const LIST_MAX = 12;

export class Overlay {
  /**
   * @param picture { id, width, height, alt }
   * @param findings { items, maps }; of several maps the last is drawn.
   * @param marks drawn by the person: { points, labels, boxes, mask }, or null.
   */
  constructor(picture, { items = [], maps = [] } = {}, marks = null) {
    this.picture = picture;
    this.items = items;
    this.map = maps.at(-1) ?? null;
    this.classes = this.map?.classes ?? [];
    this.hidden = new Set();
    this.active = null;
    this.all = true;
    this.#build(marks);
  }

  get empty() {
    return !this.items.length && !this.map;
  }

  /** Shows or hides everything that was found. */
  show(all) {
    this.all = all;
    this.#paint();
  }

  /** The picture as shown, with everything drawn on it: a canvas of its own size. */
  composed() {
    const [width, height] = [this.image.naturalWidth, this.image.naturalHeight];
    const canvas = h("canvas", { width, height });
    const context = canvas.getContext("2d");
    context.drawImage(this.image, 0, 0, width, height);
    if (!this.all) return canvas;
    for (const layer of [this.mapCanvas, this.maskCanvas]) {
      if (layer?.width) context.drawImage(layer, 0, 0, width, height);
    }
    const line = Math.max(2, Math.round(Math.max(width, height) / 300));
    context.lineWidth = line;
    context.font = `600 ${line * 6}px system-ui, sans-serif`;
    this.items.forEach((item, index) => {
      if (item.box && item.outlined && !this.hidden.has(index)) drawn(context, item, width, height, line);
    });
    return canvas;
  }

  #build(marks) {
    const { id, alt, width, height } = this.picture;
    this.image = h("img", { src: imageUrl(id), alt, decoding: "async", draggable: "false", width, height });
    this.image.addEventListener("error", () => this.#gone());
    this.image.addEventListener("load", () => this.#sized());
    this.mapCanvas = this.map && h("canvas", { class: "layer map", "aria-hidden": "true" });
    this.maskCanvas = h("canvas", { class: "layer masks", "aria-hidden": "true", width: 1, height: 1 });
    this.boxes = s("svg", { class: "layer boxes", viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" });
    this.tags = h("div", { class: "layer tags", "aria-hidden": "true" });
    this.masks = new MaskLayer(this.maskCanvas, this.items);
    this.frame = h("div", { class: "frame" }, this.image, this.mapCanvas, this.maskCanvas, this.boxes, this.tags);
    this.shapes = this.items.map((item) => this.#shape(item));
    this.labels = this.items.map((item, index) => this.#tag(item, index));
    this.mapTag = h("span", { class: "tag floating", hidden: true });
    if (this.map) this.tags.append(this.mapTag);
    if (marks) this.frame.append(marksLayer(marks));
    if (width && height) this.#fit(width, height);
    this.legend = this.#legend();
    if (!this.empty) this.#listen();
    if (this.map) this.#loadMap();
    this.element = h("div", { class: "picture" }, this.frame);
    this.#paint();
  }

  #fit(width, height) {
    this.frame.style.aspectRatio = `${width} / ${height}`;
    this.frame.style.setProperty("--ratio", width / height);
  }

  #sized() {
    this.#fit(this.image.naturalWidth, this.image.naturalHeight);
  }

  #gone() {
    const words = "This picture is no longer kept.";
    this.frame.replaceChildren(h("p", { class: "gone" }, words));
    this.frame.classList.add("lost");
  }

  #shape(item) {
    if (!item.box || !item.outlined) return null;
    const [x0, y0, x1, y1] = item.box;
    const rect = (kind) => s("rect", { class: kind, x: x0, y: y0, width: x1 - x0, height: y1 - y0 });
    const shape = s("g", {}, rect("casing"), rect("line"));
    shape.lastChild.style.stroke = item.colour;
    this.boxes.append(shape);
    return shape;
  }

  #tag(item, index) {
    const extent = item.box ?? this.masks.extent(index)?.box;
    if (!extent) return null;
    const tag = h("span", { class: "tag" }, named(item));
    tag.style.left = `${extent[0] * 100}%`;
    tag.style.top = `${extent[1] * 100}%`;
    tag.style.setProperty("--colour", item.colour);
    // Near the right edge a label grows to the left, near the top it goes inside.
    if (extent[0] > 0.6) Object.assign(tag.style, { left: "auto", right: `${(1 - extent[2]) * 100}%` });
    if (extent[1] < 0.08) tag.classList.add("inside");
    this.tags.append(tag);
    return tag;
  }

  #legend() {
    const rows = this.classes.length
      ? this.classes.map((one) => ({ ...one, colour: `rgb(${one.colour.join(" ")})`, label: one.name, score: one.area }))
      : this.items;
    if (!rows.length) return null;
    const chips = rows.map((row, index) => this.#chip(row, index));
    const list = h("ul", { class: "legend", "aria-label": "Found in the picture" }, chips);
    const lines = rows.every(({ text }) => text);
    if (!lines && rows.length <= LIST_MAX) return list;
    const count = `${rows.length} ${lines ? "lines of text" : "things"} found`;
    return h("details", { class: "found" }, h("summary", {}, count), list);
  }

  #chip(row, index) {
    const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.background = row.colour;
    const score = typeof row.score === "number" && h("span", { class: "score" }, percent(row.score));
    const chip = h("button", { type: "button", class: "chip", "aria-pressed": "true" }, swatch, h("span", {}, row.label), score);
    chip.title = "Point at it to see where it is; press to hide it";
    for (const name of ["pointerenter", "focus"]) chip.addEventListener(name, () => this.#activate(index));
    for (const name of ["pointerleave", "blur"]) chip.addEventListener(name, () => this.#activate(null));
    chip.addEventListener("click", () => {
      if (this.hidden.delete(index)) this.#activate(index);
      else this.hidden.add(index);
      chip.setAttribute("aria-pressed", String(!this.hidden.has(index)));
      this.#paint();
    });
    return h("li", {}, chip);
  }

  #listen() {
    const pointed = (event) => {
      const { left, top, width, height } = this.frame.getBoundingClientRect();
      const [x, y] = [(event.clientX - left) / width, (event.clientY - top) / height];
      this.#activate(this.#at(x, y));
      if (this.map) this.#floatMapTag(x, y);
    };
    this.frame.addEventListener("pointermove", pointed);
    this.frame.addEventListener("pointerdown", pointed);
    this.frame.addEventListener("pointerleave", () => {
      this.mapTag.hidden = true;
      this.#activate(null);
    });
  }

  /** The smallest thing at a place (0..1), or null. */
  #at(x, y) {
    if (!this.all || x < 0 || y < 0 || x >= 1 || y >= 1) return null;
    if (this.map) return orNull(this.layer?.at(x, y));
    let found = null;
    let smallest = Infinity;
    this.items.forEach((item, index) => {
      const inMask = this.masks.covers(index, x, y);
      const inBox = item.box && x >= item.box[0] && x <= item.box[2] && y >= item.box[1] && y <= item.box[3];
      if (this.hidden.has(index) || !(inMask ?? inBox)) return;
      const area = this.masks.extent(index)?.area ?? areaOf(item.box);
      if (area < smallest) [found, smallest] = [index, area];
    });
    return found;
  }

  #floatMapTag(x, y) {
    this.mapTag.hidden = this.active === null;
    if (this.active === null) return;
    this.mapTag.textContent = this.classes[this.active].name;
    Object.assign(this.mapTag.style, { left: `${Math.min(x, 0.8) * 100}%`, top: `${y * 100}%` });
  }

  #loadMap() {
    this.layer = new MapLayer(this.mapCanvas, this.classes);
    const image = h("img", { src: imageUrl(this.map.handle), alt: "" });
    image.addEventListener("load", () => {
      this.layer.load(image);
      this.#paint();
    });
  }

  #activate(index) {
    if (this.active === index) return;
    this.active = index;
    this.#paint();
  }

  #paint() {
    const shown = (index) => this.all && !this.hidden.has(index);
    const active = this.active !== null && shown(this.active) ? this.active : null;
    this.masks.paint(this.map ? () => this.all : shown, this.map ? null : active);
    this.layer?.paint(shown, active);
    // Lines of text can be read in the picture: a label would only cover it.
    const few = this.items.length <= LABELS_SHOWN_MAX && !this.items.some(({ text }) => text);
    const state = (node, index) => {
      node?.classList.toggle("off", !shown(index));
      node?.classList.toggle("on", active === index);
      node?.classList.toggle("faded", active !== null && active !== index);
    };
    this.shapes.forEach(state);
    this.labels.forEach((tag, index) => {
      state(tag, index);
      tag?.classList.toggle("quiet", active === null && !few);
    });
  }
}

/** What a person has marked, over a picture. */
export function marksLayer({ points = [], labels = [], boxes = [], mask = null, area = null }) {
  const layer = h("div", { class: "layer marks", "aria-hidden": "true" });
  if (mask) {
    const canvas = h("canvas", { class: "layer" });
    new MaskLayer(canvas, [{ mask, colour: "#ffb224" }]).paint(() => true, null);
    layer.append(canvas);
  }
  if (area) {
    const tint = h("div", { class: "layer area" });
    tint.style.maskImage = `url("${imageUrl(area)}")`;
    layer.append(tint);
  }
  const outlines = s("svg", { class: "layer", viewBox: "0 0 1 1", preserveAspectRatio: "none" });
  for (const [x0, y0, x1, y1] of boxes) {
    for (const kind of ["casing", "line"]) {
      outlines.append(s("rect", { class: `${kind} drawn`, x: x0, y: y0, width: x1 - x0, height: y1 - y0 }));
    }
  }
  layer.append(outlines);
  points.forEach(([x, y], index) => {
    const dot = h("span", { class: labels[index] === 0 ? "dot beside" : "dot" });
    Object.assign(dot.style, { left: `${x * 100}%`, top: `${y * 100}%` });
    layer.append(dot);
  });
  return layer;
}

function drawn(context, { box, colour, label }, width, height, line) {
  const [x0, y0, x1, y1] = [box[0] * width, box[1] * height, box[2] * width, box[3] * height];
  context.strokeStyle = colour;
  context.strokeRect(x0, y0, x1 - x0, y1 - y0);
  const size = line * 6;
  const top = Math.max(0, y0 - size * 1.5);
  context.fillStyle = colour;
  context.fillRect(x0 - line / 2, top, context.measureText(label).width + size, size * 1.5);
  context.fillStyle = "#fff";
  context.fillText(label, x0 + size / 2 - line / 2, top + size * 1.1);
}

function named({ label, score }) {
  return typeof score === "number" ? `${label} ${percent(score)}` : label;
}

function percent(part) {
  return `${Math.round(part * 100)}%`;
}

function areaOf([x0, y0, x1, y1]) {
  return (x1 - x0) * (y1 - y0);
}

function orNull(index) {
  return index === undefined || index < 0 ? null : index;
}
