/** One question and its answer on the page. */

import { imageUrl } from "./api.js";
import { button, h } from "./dom.js";
import { recordsOf } from "./findings.js";
import { marksLayer } from "./overlay.js";
import { planOf } from "./plan.js";
import { stage } from "./stage.js";

export class TurnView {
  /**
   * @param question { text, pictures, reference, mode }
   * @param actions { onMark, onRetry, onEdit }
   */
  constructor(question, actions) {
    this.question = question;
    this.actions = actions;
    this.text = "";
    this.steps = null;
    this.made = [];
    this.whole = false;
    this.planWanted = false;
    this.answer = h("p", { class: "answer" });
    this.status = h("p", { class: "status", hidden: true });
    this.notes = h("div", { class: "notes" });
    this.slot = h("div", { class: "stage-slot" });
    this.planSlot = h("div", { class: "plan-slot" });
    this.body = h(
      "div",
      { class: "turn-body" },
      this.slot,
      h("div", { class: "reply" }, this.status, this.answer, this.notes),
    );
    this.element = h("article", { class: "turn", "aria-label": `Question: ${short(question.text)}` }, this.#asked(), this.body, this.planSlot);
    this.#stage();
  }

  /** An answer begins: again, where an earlier try failed. */
  begin() {
    this.text = "";
    this.whole = false;
    this.running = [];
    this.answer.textContent = "";
    this.notes.replaceChildren();
    this.working("Thinking");
  }

  /** Says what is being done; nothing when `words` is empty. */
  working(words) {
    this.status.hidden = !words;
    this.status.replaceChildren(...(words ? [h("span", { class: "pulse", "aria-hidden": "true" }), words] : []));
  }

  /** What happens on the way to the answer: a tool starts or ends. */
  progress({ kind, skill }) {
    if (kind === "started") this.running.push(skill);
    if (kind === "finished") this.running = this.running.filter((_, index) => index !== this.running.indexOf(skill));
    this.working(this.running.length ? `Using ${this.running.join(", ")}` : "Thinking");
  }

  write(text) {
    this.working("");
    this.text += text;
    this.answer.textContent = this.text;
  }

  /** The answer is whole. */
  finish({ steps, made, cached = [] }) {
    this.working("");
    this.whole = true;
    this.steps = steps ?? null;
    this.made = made;
    this.#stage();
    const said = cached.length ? h("span", { class: "badge" }, "from the cache") : null;
    if (said) said.title = `Results of an earlier, equal call: ${cached.join(", ")}`;
    // Browsers have no clipboard for pages that come unencrypted from another machine.
    const copy = navigator.clipboard
      ? button({ icon: "copy", label: "Copy the answer", onclick: () => navigator.clipboard.writeText(this.text) })
      : null;
    this.notes.replaceChildren(...[copy, said].filter(Boolean));
    this.showPlan(this.planWanted);
  }

  stopped() {
    this.working("");
    const words = this.text ? "Stopped. This is what had come." : "Stopped.";
    this.notes.replaceChildren(h("p", { class: "quiet" }, words), this.#again());
  }

  /** An error with what to do about it. `waiting` says that the page will try again by itself. */
  fail(error, waiting = false) {
    this.working(waiting ? "Waiting for the gateway" : "");
    const id = error.requestId && h("p", { class: "request-id" }, `Request id: ${error.requestId}`);
    this.notes.replaceChildren(
      h(
        "div",
        { class: "error", role: "alert" },
        h("p", {}, h("strong", {}, error.message)),
        error.advice && h("p", {}, error.advice),
        id,
      ),
      this.#again(),
    );
  }

  /** Shows or hides the plan. */
  showPlan(wanted) {
    this.planWanted = wanted;
    this.planSlot.replaceChildren(...(wanted && this.steps ? [planOf(this.steps)] : []));
  }

  #again() {
    return h(
      "p",
      { class: "actions" },
      button({ icon: "again", text: "Try again", onclick: () => this.actions.onRetry(this) }),
      button({ icon: "edit", text: "Edit the question", onclick: () => this.actions.onEdit(this) }),
    );
  }

  #asked() {
    const { text, reference } = this.question;
    const example = reference && h(
      "span",
      { class: "fit reference" },
      h("img", { src: imageUrl(reference.id, "thumbnail"), alt: `Example region in ${reference.name}` }),
      reference.marks && marksLayer(reference.marks),
    );
    return h("header", { class: "asked" }, h("h2", {}, text), example);
  }

  #stage() {
    const shown = stage({
      sent: this.question.pictures,
      records: recordsOf(this.steps),
      made: this.made,
      onMark: this.actions.onMark,
    });
    this.slot.replaceChildren(...[shown].filter(Boolean));
    this.body.classList.toggle("pictured", Boolean(shown));
  }
}

function short(text) {
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}
