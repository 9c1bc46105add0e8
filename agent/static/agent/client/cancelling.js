// @ts-check
// Cancelling: everything (Stop), or one query that waits. Gives texts back that were never
// answered, so that nothing that somebody wrote is lost. What could not be sent is sent on the next
// connection.

/** @typedef {import("./entries.js").Frame} Frame */
/** @typedef {import("./entries.js").Turn} Turn */
/** @typedef {import("./outbox.js").Outbox} Outbox */
/** @typedef {import("./transcript.js").Transcript} Transcript */

/**
 * @typedef {object} Return of texts, when all of some turns have ended
 * @property {Set<string>} turns that have not
 * @property {string[]} texts in the order of ending
 * @property {boolean} partial also of one that had begun to be answered
 */

export class Cancelling {
  #cancel;
  #giveBack;
  /** Arguments of the commands that have to be sent. @type {Record<string, unknown>[]} */
  #due = [];
  /** @type {Return[]} */
  #returns = [];

  /**
   * @param {(args: Record<string, unknown>) => Promise<Frame | null>} cancel sends the command,
   *   gives its reply
   * @param {(texts: string[]) => void} giveBack
   */
  constructor(cancel, giveBack) {
    this.#cancel = cancel;
    this.#giveBack = giveBack;
  }

  /** Ends the running turn and all that wait. @param {Transcript} transcript @param {Outbox} outbox */
  all(transcript, outbox) {
    const unsent = outbox.pending.filter(({ id }) => outbox.neverSent(id));
    for (const { id } of unsent) outbox.remove(id);
    const waiting = transcript.waiting().map(({ id }) => id);
    this.#returns.push({ turns: new Set(waiting), texts: [], partial: false });
    if (transcript.busy || outbox.pending.length > 0) this.#due.push({ all: true });
    if (unsent.length) this.#giveBack(unsent.map(({ content }) => content));
  }

  /** Ends one turn. @param {string} turn */
  one(turn) {
    this.#due.push({ turn });
  }

  /** Ends one turn and gives its text back, unless it was answered meanwhile. @param {string} turn */
  takeBack(turn) {
    this.#returns.push({ turns: new Set([turn]), texts: [], partial: true });
    this.one(turn);
  }

  /** Sends what is due. Call it whenever there is a connection. */
  async flush() {
    const due = this.#due;
    this.#due = [];
    const replies = await Promise.all(due.map((args) => this.#cancel(args)));
    // lost on the way: again on the next connection
    this.#due.push(...due.filter((_, i) => !replies[i]));
  }

  /** @param {Turn} turn that ended */
  ended(turn) {
    for (const due of this.#returns) {
      if (!due.turns.delete(turn.id)) continue;
      if (turn.question && wasCancelled(turn, due.partial)) due.texts.push(turn.question.content);
      if (!due.turns.size && due.texts.length) this.#giveBack(due.texts);
    }
    this.#returns = this.#returns.filter((due) => due.turns.size);
  }
}

/** @param {Turn} turn @param {boolean} partial */
function wasCancelled({ answer }, partial) {
  return answer?.finishReason === "cancelled" && (partial || answer.content === "");
}
