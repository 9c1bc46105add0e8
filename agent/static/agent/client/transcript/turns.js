// @ts-check
// The turns of a transcript from asking to ending: found by id, each with a key of its own, kept in
// order together with the notifications between them. Pure; knows no frames.

import { emptyStreams, newTurn } from "./entries.js";
import { Sequence } from "./sequence.js";

/** @typedef {import("./entries.js").Turn} Turn */
/** @typedef {import("./entries.js").Note} Note */
/** @typedef {import("./entries.js").Entry} Entry */

export class Turns {
  /** The turn that runs. @type {Turn | null} */
  running = null;
  /** @type {Map<string, Turn>} */
  #turns = new Map();
  /** @type {Set<string>} */
  #keys = new Set();
  #sequence = new Sequence();

  /** All entries, in the order of reading. */
  entries() {
    return this.#sequence.entries();
  }

  /** The turns that wait and whose query is known, the next one first. */
  waiting() {
    return this.#sequence.waiting();
  }

  /** Changes when an entry is added, moves or gets a question; not with the text of an answer. */
  get shape() {
    return this.#sequence.shape;
  }

  /** Some turn runs or waits. */
  get busy() {
    return this.running !== null || this.#sequence.anyWaits;
  }

  get isEmpty() {
    return this.#turns.size === 0;
  }

  /** @param {string} id */
  get(id) {
    return this.#turns.get(id);
  }

  /** @param {string} messageId of an answer */
  withAnswer(messageId) {
    return [...this.#turns.values()].filter(({ answer }) => answer?.id === messageId);
  }

  /**
   * The turn with that id, a new one if need be.
   *
   * @param {string} id
   * @param {string | null | undefined} ref
   * @returns {Turn}
   */
  ensure(id, ref) {
    const known = this.#turns.get(id);
    if (known) {
      known.ref ??= ref ?? null;
      return known;
    }
    // the key of a query stays the same when the server accepts it; a retry has the same ref
    const key = ref && !this.#keys.has(ref) ? ref : id;
    const turn = newTurn(key, id, ref ?? null);
    this.#turns.set(id, turn);
    this.#keys.add(key);
    this.#sequence.addWaiting(turn);
    return turn;
  }

  /** The question or the position of a turn changed. @param {Turn} turn */
  changed(turn) {
    turn.version += 1;
    this.#sequence.moved();
  }

  /** @param {Turn} turn */
  start(turn) {
    if (turn.state !== "waiting") return;
    turn.state = "running";
    turn.position = null;
    this.running = turn;
    this.#sequence.start(turn);
  }

  /** @param {Turn} turn with its answer or failure */
  end(turn) {
    const neverRan = turn.state === "waiting" && turn.answer?.content === "";
    if (neverRan) this.#sequence.endWaiting(turn, this.running !== null);
    else if (turn.state === "waiting") this.#sequence.start(turn);
    if (this.running === turn) this.running = null;
    turn.state = "ended";
    turn.position = null;
    Object.assign(turn, emptyStreams(0));
    this.changed(turn);
  }

  /** @param {Note} note */
  addNote(note) {
    this.#sequence.append(note, this.running !== null);
  }

  /**
   * Puts entries of another transcript before all others. A turn that is here already only gets its
   * question from there: the question stands on an earlier page than its answer.
   *
   * @param {Entry[]} earlier
   */
  prepend(earlier) {
    this.#sequence.prepend(earlier.filter((entry) => entry.kind === "note" || this.#adopt(entry)));
  }

  /** Whether a turn is new here. @param {Turn} turn */
  #adopt(turn) {
    const known = this.#turns.get(turn.id);
    if (known) {
      known.question ??= turn.question;
      known.version += 1;
      return false;
    }
    if (this.#keys.has(turn.key)) turn.key = turn.id;
    this.#keys.add(turn.key);
    this.#turns.set(turn.id, turn);
    return true;
  }

  clear() {
    this.running = null;
    this.#turns.clear();
    this.#keys.clear();
    this.#sequence.clear();
  }
}
