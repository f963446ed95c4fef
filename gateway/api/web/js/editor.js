/** The dialog in which a picture is marked: points, boxes and a painted mask, by mouse, finger or keyboard. */

import { announce } from "./announce.js";
import { imageUrl, request } from "./api.js";
import { Brush } from "./brush.js";
import { h, part } from "./dom.js";
import { Marks } from "./marks.js";
import { marksLayer } from "./overlay.js";

const STEP = 0.02;
const SMALL_STEP = 0.005;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const TOOLS = {
  point: { key: "1", help: "Click what you mean.", keys: "Arrows move the cross, Enter sets a point." },
  beside: { key: "2", help: "Click what you do not mean.", keys: "Arrows move the cross, Enter sets a point." },
  box: { key: "3", help: "Drag a box around it.", keys: "Enter sets a corner, arrows move, Enter sets the other." },
  brush: { key: "4", help: "Paint over it.", keys: "Enter puts the brush down or lifts it, arrows paint." },
  eraser: { key: "5", help: "Rub out paint.", keys: "Enter puts the eraser down or lifts it, arrows rub." },
};

/**
 * Lets a person mark a picture { id, marks } and, where it is known, { width, height }.
 *
 * @param only tools that are offered; all by default.
 * @returns the marks (null when none are left), or undefined when the person goes back.
 */
export async function mark(picture, { title = "Mark the picture", only = Object.keys(TOOLS) } = {}) {
  const { width, height } = picture.width ? picture : await request(`/v1/images/${picture.id}/info`);
  return new Editor({ ...picture, width, height }, title, only).result;
}

class Editor {
  constructor(picture, title, only) {
    this.dialog = part("editor");
    this.marks = new Marks(picture.marks ?? {});
    this.brush = new Brush(picture.width, picture.height);
    this.cross = [0.5, 0.5];
    this.corner = null;
    this.pressed = false;
    this.down = false;
    this.listening = new AbortController();
    this.#build(picture, title, only);
    this.result = new Promise((resolve) => {
      this.resolve = resolve;
    });
    this.choose(only[0]);
    this.brush.write(this.marks.now.mask);
    this.show();
    this.dialog.showModal();
    this.pad.focus({ focusVisible: true });
  }

  #build(picture, title, only) {
    part("editor-title").textContent = title;
    this.image = h("img", { src: imageUrl(picture.id), alt: "", draggable: "false" });
    this.drawn = h("div", { class: "layer" });
    this.rubber = h("span", { class: "rubber", hidden: true });
    this.aim = h("span", { class: "aim", hidden: true });
    this.pad = h(
      "div",
      {
        class: "pad", tabindex: 0, role: "application", "aria-label": "Picture to mark",
        "aria-describedby": "editor-help editor-marks",
      },
      this.image, this.brush.canvas, this.drawn, this.rubber, this.aim,
    );
    this.pad.style.aspectRatio = `${picture.width} / ${picture.height}`;
    this.pad.style.setProperty("--ratio", picture.width / picture.height);
    part("editor-pad").replaceChildren(this.pad);
    const { signal } = this.listening;
    const on = (node, name, listener) => node.addEventListener(name, listener, { signal });
    for (const control of this.dialog.querySelectorAll("[data-tool]")) {
      control.hidden = !only.includes(control.dataset.tool);
      on(control, "click", () => this.choose(control.dataset.tool));
    }
    on(part("editor-undo"), "click", () => this.undo());
    on(part("editor-clear"), "click", () => this.clear());
    on(part("editor-back"), "click", () => this.dialog.close("back"));
    on(part("editor-done"), "click", () => this.dialog.close("done"));
    on(this.dialog, "close", () => this.#end());
    on(this.dialog, "keydown", (event) => this.#shortcut(event, only));
    on(this.pad, "pointerdown", (event) => this.#press(event));
    on(this.pad, "pointermove", (event) => this.#move(event));
    on(this.pad, "pointerup", () => this.#release());
    on(this.pad, "pointercancel", () => this.#cancel());
    on(this.pad, "keydown", (event) => this.#key(event));
    on(this.pad, "blur", () => this.#lift());
  }

  choose(tool) {
    this.#lift();
    this.tool = tool;
    this.corner = null;
    this.rubber.hidden = true;
    for (const control of this.dialog.querySelectorAll("[data-tool]")) {
      control.setAttribute("aria-pressed", String(control.dataset.tool === tool));
    }
    part("editor-size-row").hidden = !this.#painting;
    const { help, keys } = TOOLS[tool];
    part("editor-help").replaceChildren(`${help} `, h("span", { class: "keys" }, `With keys: ${keys}`));
  }

  undo() {
    this.marks.undo();
    this.brush.write(this.marks.now.mask);
    this.show("Taken back.");
  }

  clear() {
    this.marks.clear();
    this.brush.write(null);
    this.show("Cleared.");
  }

  /** Draws the marks and says how many there are. */
  show(said = "") {
    this.drawn.replaceChildren(marksLayer({ ...this.marks.now, mask: null }));
    part("editor-marks").textContent = this.marks.summary || "Nothing is marked yet.";
    part("editor-undo").disabled = !this.marks.undoable;
    part("editor-clear").disabled = this.marks.empty;
    if (said) announce(`${said} ${this.marks.summary}`);
  }

  get #painting() {
    return this.tool === "brush" || this.tool === "eraser";
  }

  #place(event) {
    const { left, top, width, height } = this.pad.getBoundingClientRect();
    return [clamped((event.clientX - left) / width), clamped((event.clientY - top) / height)];
  }

  #press(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.pad.focus();
    this.aim.hidden = true;
    this.pad.setPointerCapture(event.pointerId);
    this.pressed = true;
    this.cross = this.#place(event);
    if (this.tool === "box") this.corner = this.cross;
    else if (this.#painting) this.#paint();
  }

  #move(event) {
    if (!this.pressed) return;
    this.cross = this.#place(event);
    if (this.corner) this.#stretch();
    else if (this.#painting) this.#paint();
  }

  #release() {
    if (!this.pressed) return;
    this.pressed = false;
    if (this.#painting) this.#keepPaint();
    else if (this.tool === "box") this.#closeBox();
    else this.#setPoint();
  }

  #cancel() {
    this.pressed = false;
    this.corner = null;
    this.rubber.hidden = true;
    if (this.#painting) this.#keepPaint();
  }

  #key(event) {
    const arrow = ARROWS[event.key];
    if (arrow) this.#step(arrow, event.shiftKey ? SMALL_STEP : STEP);
    else if (event.key === "Enter" || event.key === " ") this.#act();
    else return;
    event.preventDefault();
  }

  #step([dx, dy], step) {
    this.cross = [clamped(this.cross[0] + dx * step), clamped(this.cross[1] + dy * step)];
    this.#showAim();
    if (this.corner) this.#stretch();
    else if (this.down) this.#paint();
    announce(inWords(this.cross));
  }

  #act() {
    this.#showAim();
    if (this.#painting) {
      if (this.down) return this.#lift();
      this.down = true;
      this.aim.classList.add("down");
      this.#paint();
      announce("Down. Arrows paint, Enter lifts.");
    } else if (this.tool !== "box") this.#setPoint();
    else if (this.corner) this.#closeBox();
    else {
      this.corner = this.cross;
      announce(`Corner at ${inWords(this.cross)}. Move and press Enter for the other corner.`);
    }
  }

  #lift() {
    if (!this.down) return;
    this.down = false;
    this.aim.classList.remove("down");
    this.#keepPaint();
  }

  #paint() {
    this.brush.stroke(...this.cross, part("editor-size").value / 100, this.tool === "eraser");
  }

  #keepPaint() {
    this.brush.lift();
    this.marks.setMask(this.brush.read());
    this.show(this.tool === "eraser" ? "Rubbed out." : "Painted.");
  }

  #setPoint() {
    const label = this.tool === "beside" ? 0 : 1;
    const added = this.marks.addPoint(...this.cross, label);
    this.show(added ? `${label ? "Point" : "Point beside it"} at ${inWords(this.cross)}.` : "No more points are taken.");
  }

  #closeBox() {
    const corner = this.corner;
    this.corner = null;
    this.rubber.hidden = true;
    const large = corner.every((value, axis) => Math.abs(value - this.cross[axis]) > SMALL_STEP / 2);
    if (!large) return this.show("A box needs two corners.");
    this.show(this.marks.addBox(corner, this.cross) ? "Box set." : "No more boxes are taken.");
  }

  #stretch() {
    const [[x0, y0], [x1, y1]] = [this.corner, this.cross];
    this.rubber.hidden = false;
    Object.assign(this.rubber.style, {
      left: `${Math.min(x0, x1) * 100}%`, top: `${Math.min(y0, y1) * 100}%`,
      width: `${Math.abs(x1 - x0) * 100}%`, height: `${Math.abs(y1 - y0) * 100}%`,
    });
  }

  #showAim() {
    this.aim.hidden = false;
    Object.assign(this.aim.style, { left: `${this.cross[0] * 100}%`, top: `${this.cross[1] * 100}%` });
  }

  #shortcut(event, only) {
    const tool = only.find((name) => TOOLS[name].key === event.key);
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") this.undo();
    else if ((event.ctrlKey || event.metaKey) && event.key === "Enter") this.dialog.close("done");
    else if (tool && !event.ctrlKey && !event.metaKey && !event.altKey) this.choose(tool);
    else return;
    event.preventDefault();
  }

  #end() {
    this.#lift();
    this.listening.abort();
    const done = this.dialog.returnValue === "done";
    this.dialog.returnValue = "";
    this.resolve(done ? (this.marks.empty ? null : this.marks.now) : undefined);
  }
}

function inWords([x, y]) {
  return `${Math.round(x * 100)}% across, ${Math.round(y * 100)}% down`;
}

function clamped(value) {
  return Math.min(1, Math.max(0, value));
}
