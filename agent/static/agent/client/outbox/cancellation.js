// @ts-check
// Cancels turns on the server: all of them (Stop), or one. Returns the texts of questions that were
// never answered, so that nothing that a person wrote is lost. A cancel command that could not be
// sent is sent on the next connection.
//
// A query that was sent and not acknowledged may or may not have arrived. Once it is stopped it is
// not sent again, and if it turns up after all it is cancelled.

/** @typedef {import("../transcript/entries.js").Frame} Frame */
/** @typedef {import("../transcript/entries.js").Turn} Turn */
/** @typedef {import("../transcript/transcript.js").Transcript} Transcript */
/** @typedef {import("./outbox.js").Outbox} Outbox */
/** @typedef {import("./outbox.js").Unsent} Unsent */

/**
 * @typedef {object} Return of texts, as soon as all of some turns have ended
 * @property {Set<string>} turns that have not ended yet
 * @property {string[]} texts in the order in which their turns ended
 * @property {boolean} partial even the text of a turn that had begun to be answered
 */

export class Cancellation {
  #transcript;
  #outbox;
  #cancel;
  #returnTexts;
  /** Arguments of the cancel commands to send. @type {Record<string, unknown>[]} */
  #due = [];
  /** @type {Return[]} */
  #returns = [];
  /** Client ids of stopped queries that the server is being asked about. @type {Set<string>} */
  #asked = new Set();
  /** Ids of queries that had not arrived then; a dying socket may yet deliver them. @type {Set<string>} */
  #missing = new Set();

  /**
   * @param {Transcript} transcript
   * @param {Outbox} outbox
   * @param {(args: Record<string, unknown>) => Promise<Frame | null>} cancel sends the command,
   *   returns its reply
   * @param {(texts: string[]) => void} returnTexts
   */
  constructor(transcript, outbox, cancel, returnTexts) {
    this.#transcript = transcript;
    this.#outbox = outbox;
    this.#cancel = cancel;
    this.#returnTexts = returnTexts;
  }

  /** Ends the running turn and everything that waits, on the server and in the outbox. */
  stop() {
    const { pending } = this.#outbox;
    const unsent = pending.filter(({ id }) => this.#outbox.neverSent(id));
    for (const { id } of pending) this.#outbox.markStopped(id);
    for (const { id } of unsent) this.#outbox.remove(id);
    const replaced = new Set(pending.map(({ instead }) => instead)); // the same text
    const waiting = this.#transcript.waiting().filter(({ id }) => !replaced.has(id));
    this.#returns.push({ turns: new Set(waiting.map(({ id }) => id)), texts: [], partial: false });
    if (this.#transcript.busy) this.#due.push({ all: true });
    if (unsent.length) this.#returnTexts(unsent.map(({ content }) => content));
  }

  /** Ends one turn. @param {string} turn */
  cancel(turn) {
    this.#due.push({ turn });
  }

  /** Ends one turn and returns its text, unless it was answered meanwhile. @param {string} turn */
  recall(turn) {
    this.#returns.push({ turns: new Set([turn]), texts: [], partial: true });
    this.cancel(turn);
  }

  /**
   * Ends the waiting turn that a query replaces, right before that query is sent.
   *
   * @param {Unsent} entry
   * @returns {boolean} false: the turn began meanwhile, so the query is not needed
   */
  cancelReplaced({ instead }) {
    if (!instead) return true;
    const turn = this.#transcript.turn(instead);
    if (turn?.state === "running") return false;
    if (turn?.state === "ended") return wasCancelled(turn, false);
    void this.#cancel({ turn: instead }); // if it is lost, so is the query behind it
    return true;
  }

  /**
   * A query has arrived at the server.
   *
   * @param {string} ref its client id
   * @param {string} turn
   * @param {Unsent | undefined} entry its entry in the outbox until now
   */
  arrived(ref, turn, entry) {
    if (entry?.stopped) {
      this.#returns.push({ turns: new Set([turn]), texts: [], partial: false });
      this.cancel(turn);
    } else if (this.#missing.delete(ref)) this.cancel(turn);
  }

  /** Sends the commands that are due. Call it whenever there is a connection. */
  async flush() {
    const due = this.#due;
    this.#due = [];
    const requests = due.map((args) => this.#cancel(args));
    void this.#askAboutStopped();
    const replies = await Promise.all(requests);
    // lost on the way: again on the next connection
    this.#due.push(...due.filter((_, i) => !replies[i]));
  }

  /** Cancels the stopped queries if they arrived, and returns the texts of the others. */
  async #askAboutStopped() {
    const stopped = this.#outbox.stopped.filter(({ id }) => !this.#asked.has(id));
    for (const { id } of stopped) this.#asked.add(id);
    const replies = await Promise.all(stopped.map(({ id }) => this.#cancel({ ref: id })));
    /** @type {string[]} */
    const texts = [];
    stopped.forEach(({ id, content }, i) => {
      this.#asked.delete(id);
      const reply = replies[i];
      const isMissing = reply?.type === "error" && reply.code === "not_found";
      if (reply?.type === "error" ? !isMissing : !reply) return; // still unknown
      if (!this.#outbox.remove(id) || !isMissing) return;
      this.#missing.add(id);
      texts.push(content);
    });
    if (texts.length) this.#returnTexts(texts);
  }

  /** @param {Turn} turn that ended */
  ended(turn) {
    for (const due of this.#returns) {
      if (!due.turns.delete(turn.id)) continue;
      if (turn.question && wasCancelled(turn, due.partial)) due.texts.push(turn.question.content);
      if (!due.turns.size && due.texts.length) this.#returnTexts(due.texts);
    }
    this.#returns = this.#returns.filter((due) => due.turns.size);
  }
}

/** @param {Turn} turn @param {boolean} partial even after some text of the answer */
function wasCancelled({ answer }, partial) {
  return answer?.finishReason === "cancelled" && (partial || answer.content === "");
}
