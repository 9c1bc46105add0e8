// @ts-check
// The order of a transcript's entries. Pure; knows no frames.
//
// Turns stand in the order in which they started, notifications where they came; then the queries
// that wait, the next one first. A notification that came while a turn ran stands behind that turn,
// live and in a replay alike.

/** @typedef {import("./entries.js").Turn} Turn */
/** @typedef {import("./entries.js").Entry} Entry */

export class Sequence {
  /** Grows when an entry comes, moves or gets a question; not with the text of an answer. */
  shape = 0;
  /** Turns that started or ended, and notifications. @type {Entry[]} */
  #settled = [];
  /** What stands behind the next turn that starts. @type {Entry[]} */
  #floating = [];
  /** Turns that have not started. @type {Set<Turn>} */
  #waiting = new Set();

  /** Everything, in the order of reading. @returns {Entry[]} */
  entries() {
    return [...this.#settled, ...this.#floating, ...this.waiting()];
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
    this.#settled = [];
    this.#floating = [];
    this.#waiting.clear();
    this.shape += 1;
  }

  /** Something moved or got a question. */
  moved() {
    this.shape += 1;
  }

  /** @param {Turn} turn that is new */
  add(turn) {
    this.#waiting.add(turn);
    this.shape += 1;
  }

  /** A turn started, or ended without our having seen it run. @param {Turn} turn */
  settle(turn) {
    this.#waiting.delete(turn);
    this.#settled.push(turn, ...this.#floating);
    this.#floating = [];
    this.shape += 1;
  }

  /** A turn ended that never ran. @param {Turn} turn @param {boolean} anyRuns */
  drop(turn, anyRuns) {
    this.#waiting.delete(turn);
    this.place(turn, anyRuns);
  }

  /**
   * Puts an entry behind what was asked before it.
   *
   * @param {Entry} entry
   * @param {boolean} anyRuns
   */
  place(entry, anyRuns) {
    const turnIsComing = !anyRuns && this.waiting().length > 0;
    (turnIsComing ? this.#floating : this.#settled).push(entry);
    this.shape += 1;
  }

  /** @param {Entry[]} older entries, which come before all of these */
  prepend(older) {
    this.#settled = [...older, ...this.#settled];
    this.shape += 1;
  }
}
