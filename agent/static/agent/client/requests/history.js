// @ts-check
// Loads the history of a session: the frames before the first one that the client has, one page at
// a time.

/** @typedef {import("../transcript/entries.js").Frame} Frame */
/** @typedef {import("../transcript/transcript.js").Transcript} Transcript */

const PAGE_FRAMES = 100;

export class History {
  #transcript;
  #request;
  /** @type {Promise<boolean> | null} */
  #loading = null;

  /**
   * @param {Transcript} transcript
   * @param {(args: Record<string, unknown>) => Promise<Frame | null>} request sends the command
   *   `history`, returns its reply
   */
  constructor(transcript, request) {
    this.#transcript = transcript;
    this.#request = request;
  }

  /** @returns {Promise<boolean>} false: there is no earlier frame, or the request failed */
  load() {
    this.#loading ??= this.#load().finally(() => {
      this.#loading = null;
    });
    return this.#loading;
  }

  async #load() {
    const before = this.#transcript.firstSeq;
    if (before <= 1) return false;
    const page = await this.#request({ before, limit: PAGE_FRAMES });
    // the transcript may have been cleared meanwhile
    if (page?.type !== "history" || this.#transcript.firstSeq !== before) return false;
    this.#transcript.prepend(page.frames);
    return page.frames.length > 0;
  }
}
