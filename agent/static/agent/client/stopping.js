// @ts-check
// Stopping everything: the running turn, the ones that wait, and what was not sent yet. Gives the
// texts back that were never answered, so that nothing that somebody wrote is lost.

/** @typedef {import("./entries.js").Frame} Frame */
/** @typedef {import("./entries.js").Turn} Turn */
/** @typedef {import("./outbox.js").Outbox} Outbox */
/** @typedef {import("./transcript.js").Transcript} Transcript */

export class Stopping {
  #cancel;
  #giveBack;
  /** The command has to be sent. */
  #due = false;
  /** Turns that waited when everything was stopped, and have not ended. @type {Set<string>} */
  #waiting = new Set();
  /** Texts of those that have, in their order. @type {string[]} */
  #texts = [];

  /**
   * @param {() => Promise<Frame | null>} cancel sends the command, gives its reply
   * @param {(texts: string[]) => void} giveBack
   */
  constructor(cancel, giveBack) {
    this.#cancel = cancel;
    this.#giveBack = giveBack;
  }

  /** @param {Transcript} transcript @param {Outbox} outbox */
  stop(transcript, outbox) {
    const unsent = outbox.pending.filter(({ id }) => outbox.neverSent(id));
    for (const { id } of unsent) outbox.remove(id);
    for (const { id } of transcript.waiting()) this.#waiting.add(id);
    this.#due ||= transcript.busy || outbox.pending.length > 0;
    if (unsent.length) this.#giveBack(unsent.map(({ content }) => content));
  }

  /** Sends the command if it is due. Call it whenever there is a connection. */
  async flush() {
    if (!this.#due) return;
    this.#due = false;
    const reply = await this.#cancel();
    if (!reply) this.#due = true; // lost on the way: again on the next connection
  }

  /** @param {Turn} turn that ended */
  ended({ id, question, answer }) {
    if (!this.#waiting.delete(id)) return;
    const unanswered = answer?.finishReason === "cancelled" && answer.content === "";
    if (unanswered && question) this.#texts.push(question.content);
    if (this.#waiting.size || !this.#texts.length) return;
    this.#giveBack(this.#texts);
    this.#texts = [];
  }
}
