/** A mask that is painted and erased freely over a picture. */

import { decode, encode } from "./rle.js";
import { h } from "./dom.js";

const SIDE_MAX = 1024;
const COLOUR = "#ffb224";

export class Brush {
  /** The mask has the picture's shape; of a large picture it is smaller, which the gateway evens out. */
  constructor(width, height) {
    const scale = Math.min(1, SIDE_MAX / Math.max(width, height));
    const size = { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
    this.canvas = h("canvas", { class: "layer paint", "aria-hidden": "true", ...size });
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.from = null;
  }

  /** Paints from the last place to this one (0..1); `radius` is part of the longer side. */
  stroke(x, y, radius, erase) {
    const { width, height } = this.canvas;
    const to = [x * width, y * height];
    const from = this.from ?? to;
    const context = this.context;
    context.globalCompositeOperation = erase ? "destination-out" : "source-over";
    context.strokeStyle = COLOUR;
    context.lineCap = "round";
    context.lineJoin = "round";
    context.lineWidth = Math.max(2, radius * 2 * Math.max(width, height));
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(to[0] + 0.01, to[1]);
    context.stroke();
    this.from = to;
  }

  /** Ends a stroke: the next one starts somewhere else. */
  lift() {
    this.from = null;
  }

  /** The mask's code; null when nothing is painted. */
  read() {
    const { width, height } = this.canvas;
    const pixels = this.context.getImageData(0, 0, width, height).data;
    const data = new Uint8Array(width * height);
    for (let at = 0; at < data.length; at += 1) data[at] = pixels[at * 4 + 3] > 127 ? 1 : 0;
    return data.includes(1) ? encode({ width, height, data }) : null;
  }

  /** Shows a mask (null for none) instead of what is painted. */
  write(mask) {
    const { width, height } = this.canvas;
    this.lift();
    this.context.clearRect(0, 0, width, height);
    if (!mask) return;
    const { data, width: columns, height: rows } = decode(mask);
    const pixels = this.context.createImageData(width, height);
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        const inside = data[Math.floor((y * rows) / height) * columns + Math.floor((x * columns) / width)];
        if (inside) pixels.data.set([255, 178, 36, 255], (y * width + x) * 4);
      }
    }
    this.context.putImageData(pixels, 0, 0);
  }
}
