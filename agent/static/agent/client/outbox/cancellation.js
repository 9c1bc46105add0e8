// @ts-check
// Cancelling: everything (Stop), or one query that waits. Gives texts back that were never
// answered, so that nothing that somebody wrote is lost. What could not be sent is sent on the next
// connection. A query that went out and was not confirmed may have arrived or not: once stopped it is
// not sent again, and wherever it turns up it is cancelled.

/** @typedef {import("../transcript/entries.js").Frame} Frame */
/** @typedef {import("../transcript/entries.js").Turn} Turn */
/** @typedef {import("./outbox.js").Outbox} Outbox */
/** @typedef {import("./outbox.js").Unsent} Unsent */
/** @typedef {import("../transcript/transcript.js").Transcript} Transcript */

/**
 * @typedef {object} Return of texts, when all of some turns have ended
 * @property {Set<string>} turns that have not
 * @property {string[]} texts in the order of ending
 * @property {boolean} partial also of one that had begun to be answered
 */

export class Cancelling {
  #transcript;
  #outbox;
  #cancel;
  #giveBack;
  /** Arguments of the commands that have to be sent. @type {Record<string, unknown>[]} */
  #due = [];
  /** @type {Return[]} */
  #returns = [];
  /** Client ids of stopped queries that the server is being asked about. @type {Set<string>} */
  #asked = new Set();
  /** Those that had not arrived then; a dying socket may yet deliver them. @type {Set<string>} */
  #missing = new Set();

  /**
   * @param {Transcript} transcript
   * @param {Outbox} outbox
   * @param {(args: Record<string, unknown>) => Promise<Frame | null>} cancel sends the command,
   *   gives its reply
   * @param {(texts: string[]) => void} giveBack
   */
  constructor(transcript, outbox, cancel, giveBack) {
    this.#transcript = transcript;
    this.#outbox = outbox;
    this.#cancel = cancel;
    this.#giveBack = giveBack;
  }

  /** Ends the running turn and all that wait, there and here. */
  all() {
    const { pending } = this.#outbox;
    const unsent = pending.filter(({ id }) => this.#outbox.neverSent(id));
    for (const { id } of pending) this.#outbox.stop(id);
    for (const { id } of unsent) this.#outbox.remove(id);
    const replaced = new Set(pending.map(({ instead }) => instead)); // the same text
    const waiting = this.#transcript.waiting().filter(({ id }) => !replaced.has(id));
    this.#returns.push({ turns: new Set(waiting.map(({ id }) => id)), texts: [], partial: false });
    if (this.#transcript.busy) this.#due.push({ all: true });
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

  /**
   * Ends the waiting turn in whose place a query is about to be sent.
   *
   * @param {Unsent} entry
   * @returns {boolean} false: that turn began meanwhile, so there is nothing to ask
   */
  makeWay({ instead }) {
    if (!instead) return true;
    const turn = this.#transcript.turn(instead);
    if (turn?.state === "running") return false;
    if (turn?.state === "ended") return wasCancelled(turn, false);
    void this.#cancel({ turn: instead }); // if it is lost, so is what is sent behind it
    return true;
  }

  /**
   * A query has arrived at the server.
   *
   * @param {string} ref its client id
   * @param {string} turn
   * @param {Unsent | undefined} entry that it was until now
   */
  arrived(ref, turn, entry) {
    if (entry?.stopped) {
      this.#returns.push({ turns: new Set([turn]), texts: [], partial: false });
      this.one(turn);
    } else if (this.#missing.delete(ref)) this.one(turn);
  }

  /** Sends what is due. Call it whenever there is a connection. */
  async flush() {
    const due = this.#due;
    this.#due = [];
    const replies = due.map((args) => this.#cancel(args));
    void this.#ask();
    const settled = await Promise.all(replies);
    // lost on the way: again on the next connection
    this.#due.push(...due.filter((_, i) => !settled[i]));
  }

  /** Cancels the stopped queries, wherever they are; gives back those that never arrived. */
  async #ask() {
    const stopped = this.#outbox.stopped.filter(({ id }) => !this.#asked.has(id));
    for (const { id } of stopped) this.#asked.add(id);
    const replies = await Promise.all(stopped.map(({ id }) => this.#cancel({ ref: id })));
    /** @type {string[]} */
    const texts = [];
    stopped.forEach(({ id, content }, i) => {
      this.#asked.delete(id);
      const reply = replies[i];
      const isMissing = reply?.type === "error" && reply.code === "not_found";
      if (reply?.type === "error" ? !isMissing : !reply) return; // not known yet
      if (!this.#outbox.remove(id) || !isMissing) return;
      this.#missing.add(id);
      texts.push(content);
    });
    if (texts.length) this.#giveBack(texts);
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
