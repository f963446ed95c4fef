/** A picture that a tool works on: chosen, dropped or pasted, and marked where that helps. */

import { announce } from "./announce.js";
import { imageUrl, upload } from "./api.js";
import { button, h } from "./dom.js";
import { marksLayer } from "./overlay.js";

const ACCEPT = "image/png,image/jpeg,image/webp,image/gif,image/bmp,image/tiff";

export class PictureField {
  /** @param draw called with the picture when the person wants to draw on it; without it nothing is drawn. */
  constructor(name, label, { draw = null, drawLabel = "Mark", onChange = () => {} } = {}) {
    this.name = name;
    this.picture = null;
    this.draw = draw;
    this.drawLabel = drawLabel;
    this.onChange = onChange;
    this.input = h("input", { type: "file", class: "unseen", accept: ACCEPT, tabindex: -1, "aria-label": label });
    this.input.addEventListener("change", () => this.take(this.input.files[0]));
    this.shown = h("span", { class: "fit" });
    this.state = h("small", { role: "status" });
    this.choose = button({ icon: "picture", text: "Choose", class: "button", onclick: () => this.input.click() });
    this.choose.setAttribute("aria-label", `Choose: ${label}`);
    this.pen = draw && button({ icon: "pen", text: drawLabel, onclick: () => draw(this) });
    if (this.pen) this.pen.disabled = true;
    this.element = h(
      "div",
      { class: "field picture-field", role: "group", "aria-label": label },
      h("span", { class: "label" }, h("code", {}, name), " ", label),
      this.shown,
      h("span", { class: "actions" }, this.choose, this.pen, this.input),
      this.state,
    );
    this.#acceptDrops();
  }

  async take(file) {
    if (!file) return;
    this.state.textContent = "Uploading…";
    try {
      const { id, width, height } = await upload(file);
      this.set({ id, width, height, name: file.name || "picture", marks: null });
      announce(`${file.name || "Picture"} is chosen.`);
    } catch (error) {
      this.state.textContent = `${error.message} ${error.advice}`;
    }
    this.input.value = "";
  }

  set(picture) {
    this.picture = picture;
    this.state.textContent = picture.name ?? "";
    this.shown.replaceChildren(
      ...[h("img", { src: imageUrl(picture.id, "thumbnail"), alt: "" }), picture.marks && marksLayer(picture.marks)].filter(Boolean),
    );
    if (this.pen) this.pen.disabled = false;
    this.onChange(this);
  }

  #acceptDrops() {
    const over = (on) => this.element.classList.toggle("over", on);
    this.element.addEventListener("dragover", () => over(true));
    this.element.addEventListener("dragleave", () => over(false));
    this.element.addEventListener("drop", (event) => {
      over(false);
      this.take(event.dataTransfer.files[0]);
    });
  }
}
