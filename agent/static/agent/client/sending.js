// @ts-check
// Sends what is in the outbox, oldest first, and waits when the server asks for time. A query
// leaves the outbox when the server has it; one that the server refused stays until somebody
// decides.

/** @typedef {import("./connection.js").Clock} Clock */
/** @typedef {import("./entries.js").Frame} Frame */
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
  /** @type {any} */
  #timer = null;

  /**
   * @param {Outbox} outbox
   * @param {(frame: Frame) => boolean} send false: not connected
   * @param {Clock} clock
   * @param {() => void} due it is time to call `flush` again
   */
  constructor(outbox, send, clock, due) {
    this.#outbox = outbox;
    this.#send = send;
    this.#clock = clock;
    this.#due = due;
  }

  /** What is to be sent now. */
  get waiting() {
    if (this.heldUntil !== null) return [];
    return this.#outbox.pending.filter(({ id }) => !this.#outbox.sent.has(id));
  }

  /** Sends what waits. Call it only on a connection that is ready. */
  flush() {
    for (const { id, content, timestamp, options } of this.waiting) {
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
    if (!ref || !this.#outbox.get(ref)) return false;
    if (code === "rate_limited") this.#hold(ref, retry_after ?? LIMITED_SECONDS);
    else this.#outbox.refuse(ref, { code, content });
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
