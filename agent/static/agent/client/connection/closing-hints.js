// @ts-check
// What the server announced about the end of one connection: a restart, the time of the next
// attempt, and the reason in a sentence.

/** @typedef {import("../transcript/entries.js").Frame} Frame */

export class ClosingHints {
  /** The server announced its restart. */
  draining = false;
  /** Seconds that the server asked for. @type {number | null} */
  retryAfter = null;
  /** The text of the last frame, if that frame can be the reason of a close. */
  message = "";

  /** @param {Frame} frame */
  note(frame) {
    const event = frame.type === "notification" ? frame.event : null;
    const refusal = frame.type === "error" && !frame.seq;
    this.message = refusal || event === "closed" ? (frame.content ?? "") : "";
    if (refusal) this.retryAfter = frame.retry_after ?? this.retryAfter;
    if (event === "draining") {
      this.draining = true;
      this.retryAfter = frame.retry_after ?? null;
    }
  }
}
