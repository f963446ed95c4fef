/** Sends questions, shows answers as they come, opens stored conversations. */

import { announce } from "./announce.js";
import { ApiError, chat, request } from "./api.js";
import { Conversation, questionOf } from "./conversation.js";
import { part } from "./dom.js";
import { partsOf } from "./marks.js";
import { TurnView } from "./turn.js";

const RETRIES_MAX = 3;
const NEAR_PX = 120;

export class Chat {
  /**
   * @param connection tells when the gateway answers again
   * @param onSession called with the id of the shown conversation when it has one, and after each answer
   * @param onBusy called with whether an answer is on its way in the shown conversation
   * @param onAway called with the conversations that are answered, or failed, while another one is shown
   */
  constructor({ connection, onSession, onBusy, onAway, onMark, onEdit }) {
    this.connection = connection;
    this.onSession = onSession;
    this.onBusy = onBusy;
    this.onAway = onAway;
    this.actions = { onMark, onEdit, onRetry: (turn) => this.#retry(turn) };
    this.list = part("turns");
    this.scroller = part("conversation");
    this.planWanted = false;
    this.away = new Set();
    this.shown = new Conversation();
  }

  /** The newest picture, which a question without one is about. */
  get current() {
    return this.shown.newest;
  }

  get session() {
    return this.shown.session;
  }

  ask(question) {
    const turn = this.#add(this.shown, question);
    this.#draw(turn);
    this.scroller.scrollTo({ top: this.scroller.scrollHeight });
    turn.key = crypto.randomUUID?.() ?? `page-${Date.now()}-${Math.random()}`;
    turn.tries = 0;
    return this.#run(this.shown, turn);
  }

  stop() {
    this.shown.stop();
  }

  /** A new, empty conversation. */
  clear() {
    this.show(new Conversation());
  }

  /** Shows a conversation; the answer that the one before waits for goes on. */
  show(conversation) {
    const left = this.shown;
    if (left !== conversation && left.unfinished) this.away.add(left);
    this.away.delete(conversation);
    this.shown = conversation;
    this.list.replaceChildren();
    part("welcome").hidden = false;
    for (const turn of conversation.turns) this.#draw(turn);
    this.onBusy(Boolean(conversation.running));
    this.onAway([...this.away]);
  }

  /** Shows a conversation by its id: with the answer that is on its way, or as it is stored. */
  async open(id) {
    const known = [...this.away].find(({ session }) => session === id);
    this.show(known ?? (await this.#stored(id)));
    requestAnimationFrame(() => this.scroller.scrollTo({ top: this.scroller.scrollHeight }));
  }

  showPlan(wanted) {
    this.planWanted = wanted;
    for (const turn of this.shown.turns) turn.showPlan(wanted);
  }

  async #stored(id) {
    const stored = await request(`/v1/sessions/${encodeURIComponent(id)}?debug=true`);
    const conversation = new Conversation(stored.id);
    for (const one of stored.turns) {
      const turn = this.#add(conversation, questionOf(one));
      turn.write(one.answer);
      turn.finish({ steps: one.steps, made: one.produced_images });
      conversation.remember(turn);
    }
    conversation.end(stored.images.at(-1));
    return conversation;
  }

  #add(conversation, question) {
    const turn = new TurnView(question, this.actions);
    conversation.turns.push(turn);
    return turn;
  }

  #draw(turn) {
    turn.showPlan(this.planWanted);
    this.list.append(turn.element);
    part("welcome").hidden = true;
  }

  async #run(conversation, turn) {
    const control = new AbortController();
    conversation.running = control;
    conversation.waiting = false;
    turn.begin();
    this.#told(conversation);
    announce("Thinking");
    try {
      await this.#answer(conversation, turn, control.signal);
      const where = conversation === this.shown ? "Answer" : `Answer to “${conversation.title}”`;
      announce(`${where}: ${turn.text}`);
    } catch (error) {
      this.#failed(conversation, turn, error, control);
    } finally {
      if (conversation.running === control) conversation.running = null;
      this.#told(conversation);
    }
  }

  /** Says how a conversation stands now. */
  #told(conversation) {
    if (conversation === this.shown) {
      this.onBusy(Boolean(conversation.running));
      return;
    }
    if (!conversation.unanswered) this.away.delete(conversation);
    this.onAway([...this.away]);
  }

  async #answer(conversation, turn, signal) {
    for await (const event of chat(body(conversation, turn.question), turn.key, signal)) {
      const near = this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight < NEAR_PX;
      if (event.progress) turn.progress(event.progress);
      const text = event.choices?.[0]?.delta?.content;
      if (text) turn.write(text);
      if (event.session_id) {
        conversation.session = event.session_id;
        turn.finish({ steps: event.debug?.steps, made: event.produced_images, cached: event.cached });
        conversation.remember(turn);
        if (conversation === this.shown) this.onSession(event.session_id);
      }
      if (near && conversation === this.shown) this.#follow(turn);
    }
  }

  #failed(conversation, turn, error, control) {
    if (control.signal.aborted) {
      turn.stopped();
      announce("Stopped.");
      return;
    }
    const known = error instanceof ApiError ? error : new ApiError({ message: "The page failed on this answer.", code: "page" });
    if (!(error instanceof ApiError)) console.error(error);
    if (known.code === "session_not_found") conversation.session = null;
    const again = known.unreachable && turn.tries < RETRIES_MAX;
    turn.fail(known, again);
    if (known.unreachable) this.#whenBack(conversation, turn, again);
  }

  /** Sends the message again when the gateway is back: it has a key, so it is answered once. */
  #whenBack(conversation, turn, again) {
    conversation.waiting = again;
    conversation.cancelRetry = this.connection.lost(() => {
      const wanted = conversation === this.shown || this.away.has(conversation);
      if (!again || conversation.running || !wanted) return;
      turn.tries += 1;
      this.#run(conversation, turn);
    });
  }

  #retry(turn) {
    const conversation = this.shown;
    if (conversation.running) return announce("Another answer is on its way.");
    conversation.cancelRetry?.();
    conversation.waiting = false;
    turn.tries = 0;
    // The key stays: where the first try was answered after all, that is the answer.
    return this.#run(conversation, turn);
  }

  /** Keeps the end of the answer in view, but never scrolls its question away. */
  #follow(turn) {
    const bottom = this.scroller.scrollHeight - this.scroller.clientHeight;
    const above = turn.element.getBoundingClientRect().top - this.scroller.getBoundingClientRect().top;
    this.scroller.scrollTo({ top: Math.min(bottom, this.scroller.scrollTop + above) });
  }
}

/** The request that asks a question. */
function body({ session }, { text, pictures, reference, mode }) {
  const marks = pictures.at(-1)?.marks;
  const content = [
    { type: "text", text },
    ...pictures.map(({ id }) => ({ type: "image_url", image_url: { url: id } })),
    ...(marks ? partsOf(marks) : []),
    ...(reference ? [{ type: "reference", image: reference.id, mask: reference.marks.mask ?? reference.marks.area }] : []),
  ];
  const asked = { messages: [{ role: "user", content }], stream: true, debug: true, mode };
  return session ? { ...asked, session_id: session } : asked;
}
