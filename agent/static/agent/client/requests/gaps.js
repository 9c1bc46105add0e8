// @ts-check
// Asks the server for what is missing when a frame came too early, once at a time.

/** @typedef {import("../transcript/entries.js").Frame} Frame */
/** @typedef {import("../transcript/transcript.js").Transcript} Transcript */

/** A hole in deltas is asked for this often at most: the response will have it anyway. */
const DELTAS_EVERY_MS = 1_000;

export class Healing {
  #transcript;
  #resume;
  #restart;
  #underWay = false;
  /** When, and at which `lastSeq`, it was last tried. */
  #at = -Infinity;
  #seq = -1;

  /**
   * @param {Transcript} transcript
   * @param {(lastSeq: number) => Promise<Frame | null>} resume sends the command, gives its reply
   * @param {() => void} restart opens another connection
   */
  constructor(transcript, resume, restart) {
    this.#transcript = transcript;
    this.#resume = resume;
    this.#restart = restart;
  }

  /** The replay is over, or the connection is. */
  done() {
    this.#underWay = false;
  }

  /** @param {Frame} early the frame that came before something that is missing */
  async ask(early) {
    if (this.#underWay) return;
    const { lastSeq } = this.#transcript;
    if (early.seq && this.#seq === lastSeq) {
      this.#transcript.skipTo(early.seq - 1); // the server does not have it either
      this.#transcript.apply(early);
      return;
    }
    if (!early.seq && Date.now() - this.#at < DELTAS_EVERY_MS) return;
    this.#underWay = true;
    this.#at = Date.now();
    if (early.seq) this.#seq = lastSeq;
    const reply = await this.#resume(lastSeq);
    if (reply?.type === "error") this.#restart();
  }
}
