// @ts-check
// The order of a transcript's entries. Pure; knows no frames.
//
// Turns stand in the order in which they started, notifications where they arrived; behind them the
// queries that wait, the next one first. A notification that arrived while a turn ran stands behind
// that turn, live and in a replay alike.

/** @typedef {import("./entries.js").Turn} Turn */
/** @typedef {import("./entries.js").Entry} Entry */

export class Sequence {
  /** Grows when an entry is added, moves or gets a question; not with the text of an answer. */
  shape = 0;
  /** Turns that started or ended, and notifications. @type {Entry[]} */
  #ordered = [];
  /** Entries that will stand behind the next turn that starts. @type {Entry[]} */
  #floating = [];
  /** Turns that have not started. @type {Set<Turn>} */
  #waiting = new Set();

  /** All entries, in the order of reading. @returns {Entry[]} */
  entries() {
    return [...this.#ordered, ...this.#floating, ...this.waiting()];
  }

  /** The turns that wait and whose query is known, the next one first. @returns {Turn[]} */
  waiting() {
    const last = Number.MAX_SAFE_INTEGER;
    return [...this.#waiting]
      .filter((turn) => turn.question)
      .sort((a, b) => (a.position ?? last) - (b.position ?? last));
  }

  get anyWaits() {
    return this.#waiting.size > 0;
  }

  clear() {
    this.#ordered = [];
    this.#floating = [];
    this.#waiting.clear();
    this.shape += 1;
  }

  /** An entry moved or got a question. */
  moved() {
    this.shape += 1;
  }

  /** @param {Turn} turn a new one, which waits */
  addWaiting(turn) {
    this.#waiting.add(turn);
    this.shape += 1;
  }

  /** A turn started, or ended without having been seen to run. @param {Turn} turn */
  start(turn) {
    this.#waiting.delete(turn);
    this.#ordered.push(turn, ...this.#floating);
    this.#floating = [];
    this.shape += 1;
  }

  /** A turn ended that never ran. @param {Turn} turn @param {boolean} anyRuns */
  endWaiting(turn, anyRuns) {
    this.#waiting.delete(turn);
    this.append(turn, anyRuns);
  }

  /**
   * Puts an entry behind everything that was asked before it.
   *
   * @param {Entry} entry
   * @param {boolean} anyRuns
   */
  append(entry, anyRuns) {
    const turnIsComing = !anyRuns && this.waiting().length > 0;
    (turnIsComing ? this.#floating : this.#ordered).push(entry);
    this.shape += 1;
  }

  /** @param {Entry[]} earlier entries, which stand before all others */
  prepend(earlier) {
    this.#ordered = [...earlier, ...this.#ordered];
    this.shape += 1;
  }
}
