/**
 * What a person marks in a picture, as data that can be taken back step by step. Coordinates are 0..1. A mask that was
 * painted here is a run-length code, `mask`; one of a stored question is the handle of a picture, `area`.
 */

const STEPS_MAX = 100;
const MARKS_MAX = 64;

export class Marks {
  #past = [];

  constructor({ points = [], labels = [], boxes = [], mask = null } = {}) {
    this.now = { points, labels, boxes, mask };
  }

  get empty() {
    return !this.now.points.length && !this.now.boxes.length && !this.now.mask;
  }

  get undoable() {
    return this.#past.length > 0;
  }

  /** False when there are as many as the gateway takes. */
  addPoint(x, y, label) {
    if (this.now.points.length >= MARKS_MAX) return false;
    const { points, labels } = this.now;
    this.#change({ points: [...points, [rounded(x), rounded(y)]], labels: [...labels, label] });
    return true;
  }

  /** The box between two corners. */
  addBox([x0, y0], [x1, y1]) {
    if (this.now.boxes.length >= MARKS_MAX) return false;
    const corners = [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
    this.#change({ boxes: [...this.now.boxes, corners.map(rounded)] });
    return true;
  }

  setMask(mask) {
    this.#change({ mask });
  }

  clear() {
    if (!this.empty) this.#change({ points: [], labels: [], boxes: [], mask: null });
  }

  undo() {
    if (this.#past.length) this.now = this.#past.pop();
  }

  /** In words: "2 points, 1 box, a mask". */
  get summary() {
    return summaryOf(this.now);
  }

  #change(part) {
    this.#past = [...this.#past, this.now].slice(-STEPS_MAX);
    this.now = { ...this.now, ...part };
  }
}

export function summaryOf({ points = [], boxes = [], mask = null }) {
  const counted = (count, one, many) => (count ? `${count} ${count === 1 ? one : many}` : null);
  return [counted(points.length, "point", "points"), counted(boxes.length, "box", "boxes"), mask && "a mask"]
    .filter(Boolean)
    .join(", ");
}

/** The parts of a message that say what was marked, as the chat interface takes them. */
export function partsOf({ points = [], labels = [], boxes = [], mask = null, area = null }) {
  return [
    points.length && { type: "points", points, labels },
    boxes.length && { type: "boxes", boxes },
    (mask || area) && { type: "mask", mask: mask ?? area },
  ].filter(Boolean);
}

function rounded(value) {
  return Math.round(Math.min(1, Math.max(0, value)) * 1e4) / 1e4;
}
