/** Whether the gateway answers. Once it did not, it is asked until it does, more and more seldom. */

import { announce } from "./announce.js";
import { part } from "./dom.js";

const WAITS_S = [0.5, 1, 2, 4, 8];

export class Connection {
  #timer = null;
  #tries = 0;
  #waiting = new Set();

  constructor() {
    part("offline-retry").addEventListener("click", () => this.#ask());
    window.addEventListener("online", () => this.#timer && this.#ask());
  }

  /** Calls `back` once, when the gateway answers again. Gives a function that takes this back. */
  lost(back) {
    this.#waiting.add(back);
    if (this.#timer === null) {
      this.#tries = 0;
      part("offline").hidden = false;
      this.#later();
    }
    return () => this.#waiting.delete(back);
  }

  #later() {
    clearTimeout(this.#timer);
    const wait = WAITS_S[Math.min(this.#tries, WAITS_S.length - 1)];
    this.#tries += 1;
    this.#timer = setTimeout(() => this.#ask(), wait * 1000);
  }

  async #ask() {
    clearTimeout(this.#timer);
    const up = await fetch("/healthz", { cache: "no-store" }).then((answer) => answer.ok, () => false);
    if (this.#timer === null) return; // another question, asked by hand meanwhile, was answered first
    if (!up) return this.#later();
    this.#timer = null;
    part("offline").hidden = true;
    announce("The gateway answers again.");
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const back of waiting) back();
  }
}
