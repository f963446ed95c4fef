/** One conversation: what was asked in it, and the answer that is on its way, also while another one is shown. */

import { paintedBy, recordsOf } from "./findings.js";

export class Conversation {
  /** @param session its id on the server, null before the first answer */
  constructor(session = null) {
    this.session = session;
    this.turns = [];
    this.newest = null;
    this.running = null;
    this.waiting = false;
    this.cancelRetry = null;
  }

  get title() {
    return this.turns[0]?.question.text ?? "";
  }

  /** Whether an answer is on its way, or will be when the gateway is back. */
  get unfinished() {
    return Boolean(this.running) || this.waiting;
  }

  /** Whether its last question has no answer. */
  get unanswered() {
    return this.turns.length > 0 && !this.turns.at(-1).whole;
  }

  stop() {
    this.running?.abort();
  }

  /** Notes the picture that a turn leaves: what a question without one is about. */
  remember(turn) {
    const shown = paintedBy(recordsOf(turn.steps)).at(-1)?.handle ?? turn.question.pictures.at(-1)?.id;
    const sent = turn.question.pictures.find(({ id }) => id === shown);
    if (shown) this.newest = { name: "the last picture", ...sent, id: shown, marks: null };
  }

  /** The newest picture as the server knows it. */
  end(handle) {
    if (handle && this.newest?.id !== handle) this.newest = { id: handle, name: "the last picture", marks: null };
  }
}

/** A stored turn's question, as it was asked. */
export function questionOf({ question: text, images, image_names: names, marks: given, mode }) {
  const { points, point_labels: labels, boxes, mask: area, reference_image: id, reference_mask: over } = given;
  const pictures = images.map((handle, index) => ({ id: handle, name: names[index] ?? "" }));
  const marked = points.length || boxes.length || area;
  if (marked && pictures.length) pictures.at(-1).marks = { points, labels, boxes, mask: null, area };
  const reference = id ? { id, name: "the example", marks: { mask: null, area: over } } : null;
  return { text, pictures, reference, mode };
}
