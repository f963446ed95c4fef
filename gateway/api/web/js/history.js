/** The list of past conversations: open one, delete one. */

import { announce } from "./announce.js";
import { request } from "./api.js";
import { button, h, part } from "./dom.js";

const PAGE = 20;
const UNITS = [["day", 86_400], ["hour", 3600], ["minute", 60]];

export class History {
  /**
   * @param onOpen called with an id; @param onDeleted called with the id that is gone
   * @param onResume called with a conversation of the page that is to be shown again
   * @param connection tells when the gateway answers again
   */
  constructor({ onOpen, onResume, onDeleted, connection }) {
    this.connection = connection;
    this.onOpen = onOpen;
    this.onResume = onResume;
    this.onDeleted = onDeleted;
    this.current = null;
    this.shown = [];
    this.away = [];
    part("more-sessions").addEventListener("click", () => this.#page(this.shown.at(-1)?.id));
  }

  /** Asks for the newest ones. */
  refresh() {
    return this.#page(null);
  }

  /** Marks the conversation that is open. */
  select(id) {
    this.current = id;
    this.#draw();
  }

  /** Tells of conversations that are answered while another one is shown; one that is over is listed anew. */
  showAway(conversations) {
    const over = this.away.length > conversations.length;
    this.away = conversations;
    this.#draw();
    if (over) this.refresh();
  }

  async #page(after) {
    const query = new URLSearchParams({ limit: PAGE, ...(after ? { after } : {}) });
    try {
      const { data, has_more: more } = await request(`/v1/sessions?${query}`);
      this.shown = after ? [...this.shown, ...data] : data;
      part("more-sessions").hidden = !more;
      part("sessions-state").textContent = this.shown.length ? "" : "Conversations that you have will be listed here.";
    } catch (error) {
      part("sessions-state").textContent = error.message;
      if (error.unreachable) this.connection.lost(() => this.refresh());
    }
    this.#draw();
  }

  #draw() {
    const focused = document.activeElement?.closest("#sessions li")?.dataset.id;
    const unstored = this.away.filter(({ session }) => !session);
    const rows = [...unstored.map((one) => this.#unstored(one)), ...this.shown.map((one) => this.#row(one))];
    part("sessions").replaceChildren(...rows);
    if (focused) part("sessions").querySelector(`[data-id="${CSS.escape(focused)}"] .open`)?.focus();
  }

  /** A conversation that the server has not stored: its first answer is on its way, or failed. */
  #unstored(conversation) {
    const words = [h("span", { class: "title" }, conversation.title), h("small", {}, standing(conversation))];
    return h("li", {}, h("button", { type: "button", class: "open", onclick: () => this.onResume(conversation) }, ...words));
  }

  #row({ id, title, last_used: lastUsed, turns }) {
    const name = title || "Without a question";
    const away = this.away.find(({ session }) => session === id);
    const time = () => h("time", { datetime: new Date(lastUsed * 1000).toISOString() }, ago(lastUsed));
    const when = away ? standing(away) : time();
    const open = h(
      "button",
      { type: "button", class: "open", "aria-current": id === this.current ? "true" : null, onclick: () => this.onOpen(id) },
      h("span", { class: "title" }, name),
      h("small", {}, when, ` · ${turns} ${turns === 1 ? "question" : "questions"}`),
    );
    const remove = button({ icon: "trash", label: `Delete: ${name}`, onclick: () => this.#delete(id, name) });
    return h("li", { "data-id": id, class: id === this.current ? "current" : "" }, open, remove);
  }

  async #delete(id, name) {
    if (!(await confirmed(`Delete “${name}”?`))) return;
    try {
      await request(`/v1/sessions/${encodeURIComponent(id)}`, { method: "DELETE" });
    } catch (error) {
      if (error.code !== "session_not_found") {
        part("sessions-state").textContent = error.message;
        return;
      }
    }
    this.shown = this.shown.filter((one) => one.id !== id);
    this.#draw();
    this.onDeleted(id);
    announce("Deleted.");
  }
}

function standing({ unfinished }) {
  return unfinished ? "being answered" : "not answered";
}

/** Asks a question that is answered with yes or no. */
function confirmed(question) {
  const dialog = part("confirm");
  part("confirm-question").textContent = question;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

function ago(seconds) {
  const passed = Date.now() / 1000 - seconds;
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  const unit = UNITS.find(([, length]) => passed >= length);
  return unit ? words.format(-Math.floor(passed / unit[1]), unit[0]) : "just now";
}
