// @ts-check
// Watches whether the server is still there, and reports a connection that stays silent for too
// long. Every frame of the server is a sign of life. Opens, closes and sends nothing.

/** @typedef {import("./clock.js").Clock} Clock */

const HANDSHAKE_MS = 15_000;
const PROBE_MS = 5_000;
/** A page that slept gets this long to read the frames that arrived meanwhile. */
const GRACE_MS = 1_000;

export class Liveness {
  #clock;
  #onSilence;
  /** The one timer: of the handshake, the heartbeat or a probe. @type {any} */
  #timer = null;
  #heardAt = 0;
  /** Longest time between two signs of life of a healthy server. */
  #heartbeatMs = 0;

  /** @param {Clock} clock @param {() => void} onSilence the connection is lost */
  constructor(clock, onSilence) {
    this.#clock = clock;
    this.#onSilence = onSilence;
  }

  /** A handshake begins. Reports silence if the welcome does not arrive in time. */
  begin() {
    this.heard();
    this.#heartbeatMs = HANDSHAKE_MS;
    this.#startTimer(HANDSHAKE_MS, this.#onSilence);
  }

  /** The server sent a frame. */
  heard() {
    this.#heardAt = this.#clock.now();
  }

  /** The server has been silent for longer than its heartbeat allows. */
  get isOverdue() {
    return this.#silenceMs > this.#heartbeatMs;
  }

  /** Reports silence of twice the heartbeat from now on. @param {number} seconds of the heartbeat */
  watch(seconds) {
    this.#heartbeatMs = seconds * 1000;
    this.#watch();
  }

  /** The server was asked for a sign of life. Reports silence if none arrives soon. */
  probed() {
    this.#reportUnlessHeard(PROBE_MS);
  }

  stop() {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
  }

  get #silenceMs() {
    return this.#clock.now() - this.#heardAt;
  }

  #watch() {
    this.#startTimer(Math.max(this.#heartbeatMs * 2 - this.#silenceMs, 0), () => {
      if (this.#silenceMs < this.#heartbeatMs * 2) this.#watch();
      else this.#reportUnlessHeard(GRACE_MS);
    });
  }

  /** @param {number} ms */
  #reportUnlessHeard(ms) {
    const heardAt = this.#heardAt;
    this.#startTimer(ms, () => {
      if (this.#heardAt === heardAt) this.#onSilence();
      else this.#watch();
    });
  }

  /** @param {number} ms @param {() => void} callback */
  #startTimer(ms, callback) {
    this.stop();
    this.#timer = this.#clock.setTimeout(callback, ms);
  }
}
