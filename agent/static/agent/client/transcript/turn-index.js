// @ts-check
// The turns of a transcript by their ids, each with a key of its own. Pure.

import { newTurn } from "./entries.js";

/** @typedef {import("./entries.js").Turn} Turn */

export class TurnIndex {
  /** @type {Map<string, Turn>} */
  #turns = new Map();
  /** @type {Set<string>} */
  #keys = new Set();
  #onNew;

  /** @param {(turn: Turn) => void} onNew a turn was made by `ensure` */
  constructor(onNew) {
    this.#onNew = onNew;
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
    this.#onNew(turn);
    return turn;
  }

  /** Adds a turn of another transcript, which gets another key if its own is taken. @param {Turn} turn */
  adopt(turn) {
    if (this.#keys.has(turn.key)) turn.key = turn.id;
    this.#keys.add(turn.key);
    this.#turns.set(turn.id, turn);
  }

  clear() {
    this.#turns.clear();
    this.#keys.clear();
  }
}
