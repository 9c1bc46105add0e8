// @ts-check
// Loads what came before the first frame that is held, one page at a time.

/** @typedef {import("../transcript/entries.js").Frame} Frame */
/** @typedef {import("../transcript/transcript.js").Transcript} Transcript */

const LIMIT = 100;

export class History {
  #transcript;
  #command;
  /** @type {Promise<boolean> | null} */
  #loading = null;

  /**
   * @param {Transcript} transcript
   * @param {(args: Record<string, unknown>) => Promise<Frame | null>} command sends `history`, gives
   *   its reply
   */
  constructor(transcript, command) {
    this.#transcript = transcript;
    this.#command = command;
  }

  /** @returns {Promise<boolean>} false: there is nothing, or it could not be had now */
  load() {
    this.#loading ??= this.#load().finally(() => {
      this.#loading = null;
    });
    return this.#loading;
  }

  async #load() {
    const before = this.#transcript.firstSeq;
    if (before <= 1) return false;
    const page = await this.#command({ before, limit: LIMIT });
    // the transcript may have been forgotten meanwhile
    if (page?.type !== "history" || this.#transcript.firstSeq !== before) return false;
    this.#transcript.prepend(page.frames);
    return page.frames.length > 0;
  }
}
