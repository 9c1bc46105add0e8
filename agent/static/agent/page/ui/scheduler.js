// @ts-check
// When to render: at most once per animation frame, and less often when rendering takes long, so
// that typing stays responsive. Knows nothing of what is rendered.

/** A rendering that takes longer than this is followed by a pause of the same length. */
const LONG_MS = 24;

export class RenderScheduler {
  #render;
  #frame = 0;
  /** Until the next rendering may begin. @type {any} */
  #pause = null;
  #stopped = false;

  /** @param {() => void} render */
  constructor(render) {
    this.#render = render;
  }

  /** Renders with the next frame, or after the pause. */
  request() {
    if (this.#frame || this.#pause || this.#stopped) return;
    this.#frame = requestAnimationFrame((began) => {
      this.#frame = 0;
      this.#render();
      const took = performance.now() - began;
      if (took >= LONG_MS) this.#rest(took);
    });
  }

  /** Renders at once, instead of with the next frame. */
  runNow() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (!this.#stopped) this.#render();
  }

  /** Renders nothing any more. */
  stop() {
    this.#stopped = true;
    clearTimeout(this.#pause);
    cancelAnimationFrame(this.#frame);
  }

  /** @param {number} ms */
  #rest(ms) {
    this.#pause = setTimeout(() => {
      this.#pause = null;
      this.request();
    }, ms);
  }
}
