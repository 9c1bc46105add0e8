// @ts-check
// Recovers from a gap: when a frame arrives before an earlier one, asks the server for the missing
// frames with `resume`, one request at a time.

/** @typedef {import("../transcript/entries.js").Frame} Frame */
/** @typedef {import("../transcript/transcript.js").Transcript} Transcript */

/** Least time between two requests for missing deltas: the response will bring the text anyway. */
const DELTAS_EVERY_MS = 1_000;

export class GapRecovery {
  #transcript;
  #resume;
  #reconnect;
  #inProgress = false;
  /** Time of the last request, and the `lastSeq` at that time. */
  #at = -Infinity;
  #seq = -1;

  /**
   * @param {Transcript} transcript
   * @param {(lastSeq: number) => Promise<Frame | null>} resume sends the command, returns its reply
   * @param {() => void} reconnect opens another connection
   */
  constructor(transcript, resume, reconnect) {
    this.#transcript = transcript;
    this.#resume = resume;
    this.#reconnect = reconnect;
  }

  /** The replay has ended, or the connection has. */
  done() {
    this.#inProgress = false;
  }

  /** @param {Frame} early a frame that arrived before an earlier one */
  async recover(early) {
    if (this.#inProgress) return;
    const { lastSeq } = this.#transcript;
    if (early.seq && this.#seq === lastSeq) {
      this.#transcript.skipTo(early.seq - 1); // the server does not have it either
      this.#transcript.apply(early);
      return;
    }
    if (!early.seq && Date.now() - this.#at < DELTAS_EVERY_MS) return;
    this.#inProgress = true;
    this.#at = Date.now();
    if (early.seq) this.#seq = lastSeq;
    const reply = await this.#resume(lastSeq);
    if (reply?.type === "error") this.#reconnect();
  }
}
