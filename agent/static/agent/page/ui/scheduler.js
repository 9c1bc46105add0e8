// @ts-check
// When to draw: once per animation frame at most, and less often when drawing takes long, because
// there are keys to hear too. Knows nothing of what is drawn.

/** A drawing that takes longer than this is followed by a pause of the same length. */
const LONG_MS = 24;

export class Drawing {
  #draw;
  #frame = 0;
  /** Until the next one may begin. @type {any} */
  #pause = null;
  #stopped = false;

  /** @param {() => void} draw */
  constructor(draw) {
    this.#draw = draw;
  }

  /** Draws with the next frame, or after the pause. */
  soon() {
    if (this.#frame || this.#pause || this.#stopped) return;
    this.#frame = requestAnimationFrame((began) => {
      this.#frame = 0;
      this.#draw();
      const took = performance.now() - began;
      if (took >= LONG_MS) this.#rest(took);
    });
  }

  /** Draws at once, in place of the next frame. */
  now() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (!this.#stopped) this.#draw();
  }

  /** Draws nothing any more. */
  stop() {
    this.#stopped = true;
    clearTimeout(this.#pause);
    cancelAnimationFrame(this.#frame);
  }

  /** @param {number} ms */
  #rest(ms) {
    this.#pause = setTimeout(() => {
      this.#pause = null;
      this.soon();
    }, ms);
  }
}
