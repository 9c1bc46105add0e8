// @ts-check
// Puts queries into the outbox and sends them, oldest first; pauses while the server limits the
// rate. A query leaves the outbox when the server has acknowledged it. A refused one stays until it
// is sent again or withdrawn.

import { newId } from "../ids.js";

/** @typedef {import("../connection/clock.js").Clock} Clock */
/** @typedef {import("../transcript/entries.js").Frame} Frame */
/** @typedef {import("../transcript/entries.js").Question} Question */
/** @typedef {import("./outbox.js").Outbox} Outbox */
/** @typedef {import("./outbox.js").Unsent} Unsent */

const TOO_LARGE = 1009;
/** Pause when the server does not say how long. */
const DEFAULT_PAUSE_SECONDS = 5;

export class Sender {
  /** The server accepts no query before this time, ms since the epoch. @type {number | null} */
  pausedUntil = null;
  #outbox;
  #send;
  #clock;
  #onDue;
  #beforeSend;
  /** @type {any} */
  #timer = null;

  /**
   * @param {Outbox} outbox
   * @param {(frame: Frame) => boolean} send false: not connected
   * @param {Clock} clock
   * @param {() => void} onDue it is time to call `flush` again
   * @param {(entry: Unsent) => boolean} beforeSend false: the query is not needed any more
   */
  constructor(outbox, send, clock, onDue, beforeSend) {
    this.#outbox = outbox;
    this.#send = send;
    this.#clock = clock;
    this.#onDue = onDue;
    this.#beforeSend = beforeSend;
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
   * Puts the question of a waiting turn into the outbox once more, as an interruption. Does so at
   * most once for each turn.
   *
   * @param {string} turn
   * @param {Question | null | undefined} question
   */
  addReplacement(turn, question) {
    const isThere = this.#outbox.entries.some(({ instead }) => instead === turn);
    if (!question || isThere) return;
    const { content, replaces } = question;
    const options = { on_busy: "interrupt", ...(replaces ? { replaces } : {}) };
    this.add({ content, options, instead: turn });
  }

  /** The queries to send now. */
  get due() {
    if (this.pausedUntil !== null) return [];
    return this.#outbox.pending.filter(({ id }) => !this.#outbox.sent.has(id));
  }

  /** Sends all queries that are due. Call it only on a connection that is ready. */
  flush() {
    for (const entry of this.due) {
      const { id, content, timestamp, options } = entry;
      if (!this.#beforeSend(entry)) {
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
      for (const id of [...this.#outbox.sent]) this.#outbox.setRefusal(id, refusal);
    }
    this.#outbox.sent.clear();
  }

  /**
   * Handles an error frame that may be about a query.
   *
   * @param {Frame} error
   * @returns {boolean} it was about a query of the outbox
   */
  refused({ ref, code, content, retry_after }) {
    const entry = this.#outbox.get(ref);
    if (!entry) return false;
    if (code === "rate_limited") this.#pause(ref, retry_after ?? DEFAULT_PAUSE_SECONDS);
    else if (!entry.stopped) this.#outbox.setRefusal(ref, { code, content });
    return true;
  }

  /** @param {string} id of the query to send again @param {number} seconds */
  #pause(id, seconds) {
    this.#outbox.markUnsent(id);
    const until = this.#clock.now() + seconds * 1000;
    this.pausedUntil = Math.max(this.pausedUntil ?? 0, until);
    this.#clock.clearTimeout(this.#timer);
    this.#timer = this.#clock.setTimeout(() => {
      this.pausedUntil = null;
      this.#onDue();
    }, this.pausedUntil - this.#clock.now());
  }
}

/**
 * By how many characters a text is longer than the limit.
 *
 * @param {string} content
 * @param {number} [limit]
 */
export function excessOf(content, limit) {
  if (!limit || content.length <= limit) return 0;
  return Math.max(0, [...content].length - limit); // code points
}
