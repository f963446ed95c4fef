/** The conversation: sends questions, shows answers as they come, opens stored ones. */

import { announce } from "./announce.js";
import { ApiError, chat, request } from "./api.js";
import { part } from "./dom.js";
import { paintedBy, recordsOf } from "./findings.js";
import { partsOf } from "./marks.js";
import { TurnView } from "./turn.js";

const RETRIES_MAX = 3;
const NEAR_PX = 120;

export class Chat {
  /**
   * @param connection tells when the gateway answers again
   * @param onSession called with the conversation's id when it has one, and after each answer
   * @param onBusy called with whether an answer is on its way
   */
  constructor({ connection, onSession, onBusy, onMark, onEdit }) {
    this.connection = connection;
    this.onSession = onSession;
    this.onBusy = onBusy;
    this.actions = { onMark, onEdit, onRetry: (turn) => this.#retry(turn) };
    this.list = part("turns");
    this.scroller = part("conversation");
    this.planWanted = false;
    this.clear();
  }

  /** The newest picture, which a question without one is about. */
  get current() {
    return this.newest;
  }

  ask(question) {
    const turn = this.#add(question);
    turn.key = crypto.randomUUID?.() ?? `page-${Date.now()}-${Math.random()}`;
    turn.tries = 0;
    return this.#run(turn);
  }

  stop() {
    this.running?.abort();
  }

  /** A new, empty conversation. */
  clear() {
    this.stop();
    this.cancelRetry?.();
    this.session = null;
    this.newest = null;
    this.turns = [];
    this.list.replaceChildren();
    part("welcome").hidden = false;
  }

  /** Shows a stored conversation. */
  async open(id) {
    const stored = await request(`/v1/sessions/${encodeURIComponent(id)}?debug=true`);
    this.clear();
    this.session = stored.id;
    for (const one of stored.turns) {
      const pictures = one.images.map((handle) => ({ id: handle, name: "" }));
      const turn = this.#add({ text: one.question, pictures, reference: null, mode: one.mode });
      turn.write(one.answer);
      turn.finish({ steps: one.steps, made: one.produced_images });
      this.#remember(turn);
    }
    this.newest = newestOf(stored.images.at(-1), this.newest);
    requestAnimationFrame(() => this.scroller.scrollTo({ top: this.scroller.scrollHeight }));
  }

  showPlan(wanted) {
    this.planWanted = wanted;
    for (const turn of this.turns) turn.showPlan(wanted);
  }

  #add(question) {
    const turn = new TurnView(question, this.actions);
    turn.showPlan(this.planWanted);
    this.turns.push(turn);
    this.list.append(turn.element);
    part("welcome").hidden = true;
    this.scroller.scrollTo({ top: this.scroller.scrollHeight });
    return turn;
  }

  async #run(turn) {
    const control = new AbortController();
    this.running = control;
    this.onBusy(true);
    turn.begin();
    announce("Thinking");
    try {
      await this.#answer(turn, control.signal);
      announce(`Answer: ${turn.text}`);
    } catch (error) {
      this.#failed(turn, error, control);
    } finally {
      if (this.running === control) {
        this.running = null;
        this.onBusy(false);
      }
    }
  }

  async #answer(turn, signal) {
    for await (const event of chat(this.#body(turn.question), turn.key, signal)) {
      const near = this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight < NEAR_PX;
      if (event.progress) turn.progress(event.progress);
      const text = event.choices?.[0]?.delta?.content;
      if (text) turn.write(text);
      if (event.session_id && this.turns.includes(turn)) {
        this.session = event.session_id;
        turn.finish({ steps: event.debug?.steps, made: event.produced_images, cached: event.cached });
        this.#remember(turn);
        this.onSession(event.session_id);
      }
      if (near) this.#follow(turn);
    }
  }

  #body({ text, pictures, reference, mode }) {
    const marks = pictures.at(-1)?.marks;
    const content = [
      { type: "text", text },
      ...pictures.map(({ id }) => ({ type: "image_url", image_url: { url: id } })),
      ...(marks ? partsOf(marks) : []),
      ...(reference ? [{ type: "reference", image: reference.id, mask: reference.marks.mask }] : []),
    ];
    const body = { messages: [{ role: "user", content }], stream: true, debug: true, mode };
    return this.session ? { ...body, session_id: this.session } : body;
  }

  #failed(turn, error, control) {
    if (control.signal.aborted) {
      turn.stopped();
      announce("Stopped.");
      return;
    }
    const known = error instanceof ApiError ? error : new ApiError({ message: "The page failed on this answer.", code: "page" });
    if (!(error instanceof ApiError)) console.error(error);
    if (known.code === "session_not_found") this.session = null;
    const again = known.unreachable && turn.tries < RETRIES_MAX;
    turn.fail(known, again);
    if (known.unreachable) this.#whenBack(turn, again);
  }

  /** Sends the message again when the gateway is back: it has a key, so it is answered once. */
  #whenBack(turn, again) {
    this.cancelRetry = this.connection.lost(() => {
      if (!again || this.running || !this.turns.includes(turn)) return;
      turn.tries += 1;
      this.#run(turn);
    });
  }

  #retry(turn) {
    if (this.running) return announce("Another answer is on its way.");
    this.cancelRetry?.();
    turn.tries = 0;
    // The key stays: where the first try was answered after all, that is the answer.
    return this.#run(turn);
  }

  #remember(turn) {
    const shown = paintedBy(recordsOf(turn.steps)).at(-1)?.handle ?? turn.question.pictures.at(-1)?.id;
    const sent = turn.question.pictures.find(({ id }) => id === shown);
    if (shown) this.newest = { name: "the last picture", ...sent, id: shown, marks: null };
  }

  /** Keeps the end of the answer in view, but never scrolls its question away. */
  #follow(turn) {
    const bottom = this.scroller.scrollHeight - this.scroller.clientHeight;
    const above = turn.element.getBoundingClientRect().top - this.scroller.getBoundingClientRect().top;
    this.scroller.scrollTo({ top: Math.min(bottom, this.scroller.scrollTop + above) });
  }
}

function newestOf(handle, known) {
  if (!handle || known?.id === handle) return known;
  return { id: handle, name: "the last picture", marks: null };
}
