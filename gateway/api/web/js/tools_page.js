/** The tools one by one: a list, a form for each made from its schema, and the result drawn on the picture. */

import { ApiError, request } from "./api.js";
import { button, h, part } from "./dom.js";
import { mark } from "./editor.js";
import { PictureField } from "./picture_field.js";
import { duration, pretty } from "./plan.js";
import { resultText } from "./result_text.js";
import { FieldError, schemaForm } from "./schema_form.js";
import { stage } from "./stage.js";

const INPUTS = {
  image: "Picture",
  mask: "Mask, white inside",
  image_seg: "Segmentation map",
  reference_image: "Example picture",
  reference_mask: "Mask of the example, white inside",
};
const PAINTED_OVER = { mask: "image", reference_mask: "reference_image" };

export class ToolsPage {
  /** @param tools as the gateway lists them; @param onOpen called with a tool's name. */
  constructor(tools, onOpen) {
    this.tools = tools;
    this.onOpen = onOpen;
    this.kept = new Map();
    const rows = tools.map((tool) => this.#row(tool));
    part("tool-list").replaceChildren(...rows);
    part("tools-state").textContent = tools.length ? "" : "This deployment offers no tools.";
  }

  /** Shows a tool's form; the first one's where the name is unknown. */
  open(name) {
    const tool = this.tools.find((one) => one.name === name || one.aliases.includes(name)) ?? this.tools[0];
    if (!tool || tool === this.tool) return;
    this.tool = tool;
    for (const row of part("tool-list").querySelectorAll("button")) {
      row.setAttribute("aria-current", row.dataset.tool === tool.name ? "true" : "false");
    }
    this.#form();
  }

  #row(tool) {
    return h(
      "li",
      {},
      h(
        "button",
        { type: "button", class: "tool", "data-tool": tool.name, onclick: () => this.onOpen(tool.name) },
        h("strong", {}, tool.name),
        h("small", {}, tool.summary),
      ),
    );
  }

  #form() {
    const { tool } = this;
    this.form = schemaForm(tool.arguments);
    this.inputs = tool.consumes.toSorted((one, other) => order(one) - order(other)).map((symbol) => this.#input(symbol));
    this.result = h("div", { class: "tool-result", "aria-live": "polite" });
    this.run = button({ text: "Run", icon: "play", class: "button primary", type: "submit" });
    const aliases = tool.aliases.length ? h("p", { class: "quiet" }, `Also called ${tool.aliases.join(", ")}.`) : null;
    const form = h(
      "form",
      { class: "tool-form", novalidate: true },
      this.inputs.map((input) => input.element),
      this.form.element,
      h("div", { class: "actions" }, this.run),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#call();
    });
    part("tool").replaceChildren(h("h2", { tabindex: -1 }, tool.name), h("div", { class: "lead" }, paragraphs(tool.description)), ...[aliases].filter(Boolean), form, this.result);
  }

  #input(symbol) {
    const over = PAINTED_OVER[symbol];
    const label = INPUTS[symbol] ?? symbol;
    const options = { onChange: (field) => this.kept.set(symbol, field.picture) };
    if (symbol === "image" && this.#marks.length) {
      Object.assign(options, { draw: (field) => this.#drawArguments(field), drawLabel: "Mark" });
    }
    const field = new PictureField(symbol, label, options);
    if (over && this.tool.consumes.includes(over)) {
      field.element.querySelector(".actions").append(
        button({ icon: "brush", text: "Paint", onclick: () => this.#paint(field, over) }),
      );
    }
    const known = this.kept.get(symbol);
    if (known) field.set({ ...known, marks: null });
    return field;
  }

  /** Arguments that are points or boxes in the picture. */
  get #marks() {
    return ["boxes", "points", "point"].filter((name) => name in (this.tool.arguments.properties ?? {}));
  }

  async #drawArguments(field) {
    const names = this.#marks;
    const points = names.some((name) => name.startsWith("point"));
    const beside = "point_labels" in this.tool.arguments.properties;
    const only = [points && "point", beside && "beside", names.includes("boxes") && "box"].filter(Boolean);
    const marks = await mark(field.picture, { only });
    if (marks === undefined) return;
    field.set({ ...field.picture, marks });
    const { points: at = [], labels = [], boxes = [] } = marks ?? {};
    this.#fill("boxes", boxes);
    this.#fill("point", at);
    // One object is meant by all points together.
    this.#fill("points", at.length ? [at] : []);
    if (beside) this.#fill("point_labels", at.length ? [labels] : []);
  }

  #fill(name, value) {
    const control = part("tool").querySelector(`#field-${name}`);
    if (!control) return;
    if (value.length) this.form.write(name, value);
    else control.value = "";
  }

  async #paint(field, over) {
    const under = this.inputs.find(({ name }) => name === over).picture;
    if (!under) {
      field.state.textContent = `Choose the ${INPUTS[over].toLowerCase()} first.`;
      return;
    }
    const marks = await mark({ ...under, marks: field.picture?.code ? { mask: field.picture.code } : null }, {
      title: "Paint the mask", only: ["brush", "eraser"],
    });
    if (!marks?.mask) return;
    field.set({ id: under.id, name: "painted", marks, code: marks.mask });
  }

  async #call() {
    this.result.replaceChildren();
    let body;
    try {
      body = this.#body();
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      this.#failed(error.message, "");
      error.control?.focus();
      return;
    }
    this.run.disabled = true;
    this.result.replaceChildren(h("p", { class: "status" }, h("span", { class: "pulse", "aria-hidden": "true" }), "Running"));
    const { tool } = this;
    try {
      const answer = await request(`/v1/tools/${encodeURIComponent(tool.name)}`, { method: "POST", body });
      if (tool === this.tool) this.#show(answer);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (tool === this.tool) this.#failed(error.message, error.advice, error.requestId);
    } finally {
      this.run.disabled = false;
    }
  }

  #body() {
    const pictures = this.inputs.map((input) => {
      if (!input.picture) throw new FieldError(`Choose: ${INPUTS[input.name] ?? input.name}.`, input.choose);
      return [input.name, input.picture.code ?? input.picture.id];
    });
    return { ...Object.fromEntries(pictures), arguments: this.form.read() };
  }

  #show({ tool, result, images, cached, checkpoint, timing }) {
    const shown = stage({ sent: sentOf(images), records: [{ skill: tool, result, images, args: {} }] });
    const time = `${cached ? "from the cache" : duration(timing.total_ms)}, ${checkpoint}`;
    const raw = h("details", {}, h("summary", {}, "Result as JSON"), h("pre", { tabindex: 0, "aria-label": "Result as JSON" }, pretty(result)));
    this.result.replaceChildren(...[h("p", { class: "quiet" }, time), shown, resultText(result), raw].filter(Boolean));
  }

  #failed(message, advice, id) {
    const words = [h("p", {}, h("strong", {}, message)), advice && h("p", {}, advice), id && h("p", { class: "request-id" }, `Request id: ${id}`)];
    this.result.replaceChildren(h("div", { class: "error", role: "alert" }, words.filter(Boolean)));
  }
}

/** Only the picture itself is shown: what a mask covers is seen in the result. */
function sentOf({ image }) {
  return image ? [{ id: image, name: "", marks: null }] : [];
}

/** Text as docstrings have it: an empty line ends a paragraph, backquotes are around code. */
function paragraphs(text) {
  return text.split(/\n\s*\n/).map((one) => {
    const pieces = one.replace(/\s+/g, " ").split("`");
    return h("p", {}, pieces.map((piece, index) => (index % 2 ? h("code", {}, piece) : piece)));
  });
}

function order(symbol) {
  return Object.keys(INPUTS).indexOf(symbol);
}
