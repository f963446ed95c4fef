/** Where a question is written, with its pictures and marks. Nothing in it is lost: it is kept until it is sent. */

import { announce } from "./announce.js";
import { upload } from "./api.js";
import { attachedPicture } from "./attached.js";
import { part } from "./dom.js";
import { mark } from "./editor.js";
import { summaryOf } from "./marks.js";
import { keep, kept } from "./settings.js";

const DRAFT = "draft";

export class Composer {
  /**
   * @param onSend called with { text, pictures, reference, mode }
   * @param onStop called when the running answer is to be stopped
   * @param current gives the conversation's newest picture { id, width, height }, or null
   */
  constructor({ onSend, onStop, current }) {
    this.onSend = onSend;
    this.current = current;
    this.box = part("question");
    this.pictures = [];
    this.reference = null;
    this.running = false;
    this.#restoreDraft();
    this.#listen(onStop);
    this.#refresh();
  }

  /** Whether an answer is on its way: then there is a stop button instead of the one that sends. */
  set busy(running) {
    const focused = document.activeElement;
    this.running = running;
    part("stop").hidden = !running;
    part("send").hidden = running;
    // To the button that takes its place, and not into the text: on a phone that would bring the keys up.
    if (focused === part("stop") || focused === part("send")) part(running ? "stop" : "send").focus();
  }

  focus() {
    this.box.focus();
  }

  /** Puts a question back, or an example in. */
  fill({ text, pictures = [], reference = null, mode }) {
    this.box.value = text;
    this.pictures = pictures.map((picture) => ({ ...picture }));
    this.reference = reference;
    if (mode) part("mode").value = mode;
    this.#refresh();
    this.focus();
  }

  /** Uploads files and adds them to the question. */
  async attach(files) {
    const pictures = [...files].filter((file) => !file.type || file.type.startsWith("image/"));
    if (!pictures.length) return announce("Only pictures can be added.");
    await Promise.all(pictures.map((file) => this.#attachOne(file)));
  }

  /** Opens the editor on a picture that the gateway has, and adds it to the question with its marks. */
  async markPicture(picture) {
    const known = this.pictures.find((one) => one.id === picture.id);
    const marks = await mark(known ?? picture);
    if (marks === undefined) return this.focus();
    // Marks belong to one picture of a message, the last one.
    const others = this.pictures.filter((one) => one.id !== picture.id).map((one) => ({ ...one, marks: null }));
    this.pictures = [...others, { ...(known ?? picture), marks }];
    this.#refresh();
    this.focus();
  }

  #listen(onStop) {
    part("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.box.addEventListener("input", () => {
      part("hint").textContent = "";
      this.#refresh();
    });
    this.box.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
    part("stop").addEventListener("click", onStop);
    part("choose").addEventListener("click", () => part("file").click());
    part("file").addEventListener("change", () => this.#chosen(part("file"), (files) => this.attach(files)));
    part("draw").addEventListener("click", () => this.#markLast());
    part("example").addEventListener("click", () => part("example-file").click());
    part("example-file").addEventListener("change", () => this.#chosen(part("example-file"), ([file]) => this.#addExample(file)));
    part("mode").addEventListener("change", () => keep("mode", part("mode").value));
    part("mode").value = kept("mode", "fly");
    this.#listenForDrops();
  }

  #listenForDrops() {
    const zone = part("chat");
    const over = (on) => zone.classList.toggle("dropping", on);
    for (const name of ["dragenter", "dragover"]) {
      document.addEventListener(name, (event) => {
        event.preventDefault();
        if (!zone.hidden) over(true);
      });
    }
    document.addEventListener("dragleave", (event) => event.relatedTarget === null && over(false));
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      over(false);
      if (!zone.hidden && event.dataTransfer.files.length) this.attach(event.dataTransfer.files);
    });
    document.addEventListener("paste", (event) => {
      if (zone.hidden || document.querySelector("dialog[open]") || !event.clipboardData.files.length) return;
      event.preventDefault();
      this.attach(event.clipboardData.files);
    });
  }

  /** A file input's choice; emptied, so that the same file can be chosen again. */
  #chosen(input, use) {
    const files = [...input.files];
    input.value = "";
    if (files.length) use(files);
  }

  async #attachOne(file) {
    const waiting = { name: file.name || "pasted picture", file, loading: true };
    this.pictures = [...this.pictures, waiting];
    this.#refresh();
    await this.#load(waiting);
  }

  async #load(waiting) {
    Object.assign(waiting, { loading: true, error: null });
    this.#refresh();
    try {
      const { id, width, height } = await upload(waiting.file);
      Object.assign(waiting, { id, width, height, loading: false, file: null });
      announce(`${waiting.name} is added.`);
    } catch (error) {
      Object.assign(waiting, { loading: false, error });
    }
    this.#refresh();
  }

  async #markLast() {
    const picture = this.pictures.findLast((one) => one.id) ?? this.current();
    if (picture?.id) await this.markPicture(picture);
  }

  async #addExample(file) {
    const waiting = { name: file.name || "example", file, loading: true };
    this.reference = waiting;
    await this.#load(waiting);
    if (!waiting.id) return;
    await this.#markExample(waiting);
  }

  async #markExample(reference) {
    const marks = await mark(reference, { title: "Paint over the example", only: ["brush", "eraser"] });
    if (marks?.mask) this.reference = { ...reference, marks };
    else if (!reference.marks) {
      this.reference = null;
      announce("An example needs a painted region; nothing was added.");
    }
    this.#refresh();
    this.focus();
  }

  #send() {
    const text = this.box.value.trim();
    if (this.running) return announce("An answer is on its way. Press Escape to stop it.");
    const unready = [...this.pictures, this.reference].some((one) => one && !one.id);
    if (!text || unready) {
      this.box.focus();
      part("hint").textContent = unready ? "A picture is not there yet: wait, or remove it." : "Write a question first.";
      return;
    }
    // The marked picture goes last: marks are about the message's last picture.
    const pictures = this.pictures.toSorted((one, other) => Boolean(one.marks) - Boolean(other.marks));
    part("hint").textContent = "";
    const draft = { text, pictures, reference: this.reference, mode: part("mode").value };
    this.box.value = "";
    this.pictures = [];
    this.reference = null;
    this.#refresh();
    this.onSend(draft);
  }

  #restoreDraft() {
    const draft = kept(DRAFT);
    if (!draft) return;
    this.box.value = draft.text ?? "";
    this.pictures = draft.pictures ?? [];
    this.reference = draft.reference ?? null;
  }

  #refresh() {
    const stored = this.pictures.filter(({ id }) => id);
    const empty = !this.box.value && !stored.length && !this.reference?.id;
    keep(DRAFT, empty ? null : { text: this.box.value, pictures: stored, reference: this.reference?.id ? this.reference : null });
    part("draw").disabled = !(stored.length || this.current());
    this.#fitBox();
    const rows = this.pictures.map((picture) =>
      attachedPicture(picture, {
        summary: picture.marks ? summaryOf(picture.marks) : "",
        onMark: () => this.markPicture(picture),
        onRetry: () => this.#load(picture),
        onRemove: () => this.#remove(() => (this.pictures = this.pictures.filter((one) => one !== picture))),
      }),
    );
    if (this.reference) {
      const { reference } = this;
      rows.push(
        attachedPicture(reference, {
          summary: "example region",
          onMark: () => this.#markExample(reference),
          onRetry: () => this.#load(reference),
          onRemove: () => this.#remove(() => (this.reference = null)),
        }),
      );
    }
    part("attached").replaceChildren(...rows);
    part("attached").hidden = !rows.length;
  }

  #remove(change) {
    change();
    part("hint").textContent = "";
    this.#refresh();
    this.focus();
    announce("Removed.");
  }

  /** The box grows with its text, up to what the style allows. */
  #fitBox() {
    this.box.style.height = "auto";
    this.box.style.height = `${this.box.scrollHeight + 2}px`;
  }

  /** What depends on the conversation is shown anew. */
  refresh() {
    this.#refresh();
  }
}
