/** Masks and maps as pixels over a picture: drawing them, and telling what is under the pointer. */

import { decode } from "./rle.js";

const INSIDE = 0.42;
const FADED = 0.12;
const STRONG = 0.58;

/** Draws the masks of items into one canvas, each with its edge in full colour. */
export class MaskLayer {
  constructor(canvas, items) {
    this.canvas = canvas;
    this.masks = items.map((item) => item.mask && { ...decode(item.mask), colour: rgbOf(item.colour) });
    const first = this.masks.find(Boolean);
    if (!first) return;
    canvas.width = first.width;
    canvas.height = first.height;
  }

  /** Paints the masks that `shown(index)` allows; `active` is the index of the one that stands out, or null. */
  paint(shown, active) {
    const context = this.canvas.getContext("2d");
    const { width, height } = this.canvas;
    context.clearRect(0, 0, width, height);
    this.masks.forEach((mask, index) => {
      if (!mask || !shown(index)) return;
      const strength = active === null ? INSIDE : active === index ? STRONG : FADED;
      context.drawImage(tinted(mask, strength, active === null || active === index), 0, 0, width, height);
    });
  }

  /** Whether the item's mask covers a place (0..1); null when it has none. */
  covers(index, x, y) {
    const mask = this.masks[index];
    if (!mask) return null;
    const [column, row] = [Math.floor(x * mask.width), Math.floor(y * mask.height)];
    return mask.data[row * mask.width + column] === 1;
  }

  /** Part of the picture that the mask covers, and the box around it (0..1); null when it has none or is empty. */
  extent(index) {
    const mask = this.masks[index];
    if (!mask) return null;
    mask.extent ??= extentOf(mask);
    return mask.extent;
  }
}

/** A segmentation map: its colours mixed into the picture. */
export class MapLayer {
  constructor(canvas, classes) {
    this.canvas = canvas;
    this.classes = classes;
  }

  /** Takes the map's loaded `<img>`. */
  load(image) {
    [this.canvas.width, this.canvas.height] = [image.naturalWidth, image.naturalHeight];
    const context = this.canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    this.pixels = context.getImageData(0, 0, this.canvas.width, this.canvas.height);
  }

  /** Shows the classes that `shown(index)` allows, one of them stronger. */
  paint(shown, active) {
    if (!this.pixels) return;
    const { data, width, height } = this.pixels;
    const out = new ImageData(width, height);
    const strength = new Map(
      this.classes.map((one, index) => {
        const alpha = active === null ? 0.55 : active === index ? 0.75 : 0.1;
        return [keyOf(one.colour), shown(index) ? Math.round(alpha * 255) : 0];
      }),
    );
    for (let at = 0; at < data.length; at += 4) {
      const alpha = strength.get((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]);
      const known = alpha ?? (this.classes.length ? 0 : 140);
      out.data.set([data[at], data[at + 1], data[at + 2], known], at);
    }
    this.canvas.getContext("2d").putImageData(out, 0, 0);
  }

  /** Index of the class at a place (0..1), or -1. */
  at(x, y) {
    if (!this.pixels) return -1;
    const { data, width, height } = this.pixels;
    const at = (Math.floor(y * height) * width + Math.floor(x * width)) * 4;
    const key = (data[at] << 16) | (data[at + 1] << 8) | data[at + 2];
    return this.classes.findIndex((one) => keyOf(one.colour) === key);
  }
}

export function rgbOf(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

function keyOf([red, green, blue]) {
  return (red << 16) | (green << 8) | blue;
}

function tinted(mask, strength, edged) {
  const { width, height, data, colour } = mask;
  const pixels = new ImageData(width, height);
  const inside = Math.round(strength * 255);
  // An edge must be seen in a picture of 4000 pixels as in one of 200.
  const thick = Math.max(1, Math.round(Math.max(width, height) / 400));
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const at = y * width + x;
      if (!data[at]) continue;
      const edge = edged && isEdge(data, x, y, width, height, thick);
      pixels.data.set([...colour, edge ? 255 : inside], at * 4);
    }
  }
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

function isEdge(data, x, y, width, height, thick) {
  if (x < thick || y < thick || x >= width - thick || y >= height - thick) return false;
  const at = y * width + x;
  return !(data[at - thick] && data[at + thick] && data[at - thick * width] && data[at + thick * width]);
}

function extentOf({ width, height, data }) {
  let [left, top, right, bottom, area] = [width, height, -1, -1, 0];
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      if (!data[y * width + x]) continue;
      area += 1;
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < top) top = y;
      if (y > bottom) bottom = y;
    }
  }
  if (!area) return null;
  return { area: area / (width * height), box: [left / width, top / height, (right + 1) / width, (bottom + 1) / height] };
}
