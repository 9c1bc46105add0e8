// @ts-check
// Puts queries into the outbox and sends what is there, oldest first; waits when the server asks for
// time. A query leaves the outbox when the server has it; one that the server refused stays until somebody
// decides.

import { newId } from "../requests/requests.js";

/** @typedef {import("../connection/connection.js").Clock} Clock */
/** @typedef {import("../transcript/entries.js").Frame} Frame */
/** @typedef {import("../transcript/entries.js").Question} Question */
/** @typedef {import("./outbox.js").Outbox} Outbox */
/** @typedef {import("./outbox.js").Unsent} Unsent */

const TOO_LARGE = 1009;
/** When the server does not say how long. */
const LIMITED_SECONDS = 5;

export class Sending {
  /** Until when the server wants no more queries, ms since the epoch. @type {number | null} */
  heldUntil = null;
  #outbox;
  #send;
  #clock;
  #due;
  #makeWay;
  /** @type {any} */
  #timer = null;

  /**
   * @param {Outbox} outbox
   * @param {(frame: Frame) => boolean} send false: not connected
   * @param {Clock} clock
   * @param {() => void} due it is time to call `flush` again
   * @param {(entry: Unsent) => boolean} makeWay is called before one is sent; false: not needed
   */
  constructor(outbox, send, clock, due, makeWay) {
    this.#outbox = outbox;
    this.#send = send;
    this.#clock = clock;
    this.#due = due;
    this.#makeWay = makeWay;
  }

  /**
   * Puts a new query into the outbox.
   *
   * @param {Pick<Unsent, "content" | "options" | "instead">} query
   * @returns {string} its client id
   */
  add(query) {
    const id = newId();
    this.#outbox.add({ ...query, id, timestamp: new Date().toISOString(), refusal: null });
    return id;
  }

  /**
   * Puts the question of a waiting turn into the outbox, before everything else; once.
   *
   * @param {string} turn
   * @param {Question | null | undefined} question
   */
  addInstead(turn, question) {
    const isThere = this.#outbox.entries.some(({ instead }) => instead === turn);
    if (!question || isThere) return;
    const { content, replaces } = question;
    const options = { on_busy: "interrupt", ...(replaces ? { replaces } : {}) };
    this.add({ content, options, instead: turn });
  }

  /** What is to be sent now. */
  get waiting() {
    if (this.heldUntil !== null) return [];
    return this.#outbox.pending.filter(({ id }) => !this.#outbox.sent.has(id));
  }

  /** Sends what waits. Call it only on a connection that is ready. */
  flush() {
    for (const entry of this.waiting) {
      const { id, content, timestamp, options } = entry;
      if (!this.#makeWay(entry)) {
        this.#outbox.remove(id);
        continue;
      }
      const query = { type: "query", id, content, timestamp, ...options };
      if (this.#send(query)) this.#outbox.markSent(id);
    }
  }

  /** @param {number} code of the close */
  disconnected(code) {
    if (code === TOO_LARGE) {
      const refusal = { code: "too_large", content: "This message is too large to be sent." };
      for (const id of [...this.#outbox.sent]) this.#outbox.refuse(id, refusal);
    }
    this.#outbox.sent.clear();
  }

  /**
   * Takes an error about a frame.
   *
   * @param {Frame} error
   * @returns {boolean} it was about a query of the outbox
   */
  refused({ ref, code, content, retry_after }) {
    const entry = this.#outbox.get(ref);
    if (!entry) return false;
    if (code === "rate_limited") this.#hold(ref, retry_after ?? LIMITED_SECONDS);
    else if (!entry.stopped) this.#outbox.refuse(ref, { code, content });
    return true;
  }

  /** @param {string} id @param {number} seconds */
  #hold(id, seconds) {
    this.#outbox.sent.delete(id);
    const until = this.#clock.now() + seconds * 1000;
    this.heldUntil = Math.max(this.heldUntil ?? 0, until);
    this.#clock.clearTimeout(this.#timer);
    this.#timer = this.#clock.setTimeout(() => {
      this.heldUntil = null;
      this.#due();
    }, this.heldUntil - this.#clock.now());
  }
}

/**
 * How many characters of a text are more than the limit.
 *
 * @param {string} content
 * @param {number} [limit]
 */
export function excessOf(content, limit) {
  if (!limit || content.length <= limit) return 0;
  return Math.max(0, [...content].length - limit); // code points
}
