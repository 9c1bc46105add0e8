// @ts-check
// One WebSocket after another to the same session: opens them, watches that they live, and opens
// the next one when and if it should. Knows frames only as far as that needs; the conversation is
// `client.js`'s.

import { afterClose } from "./reconnect.js";

/** @typedef {import("../transcript/entries.js").Frame} Frame */
/** @typedef {import("./reconnect.js").PassingReason} PassingReason */
/** @typedef {import("./reconnect.js").FinalReason} FinalReason */

/**
 * @typedef {object} ConnectionState
 * @property {"idle" | "connecting" | "replaying" | "ready" | "waiting" | "stopped"} phase
 *   `replaying`: welcome is here, `ready` is not; `waiting`: for the next attempt;
 *   `stopped`: until somebody calls `open`
 * @property {PassingReason | FinalReason | "offline" | null} reason why it is not ready
 * @property {string} words what the server said about it
 * @property {number | null} lostAt since when it is not ready, ms since the epoch
 * @property {number | null} retryAt of the next attempt, ms since the epoch
 */

/**
 * @typedef {object} Clock
 * @property {() => number} now ms since the epoch
 * @property {(callback: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 */

/**
 * @typedef {object} Wiring
 * @property {() => string} url where to connect now: the cursor moves
 * @property {() => string[]} protocols
 * @property {(frame: Frame) => void} onFrame
 * @property {(code: number | null) => void} onState the state changed; the code after a close
 * @property {typeof WebSocket} [WebSocket]
 * @property {Clock} [clock]
 * @property {() => number} [random]
 */

const HANDSHAKE_MS = 15_000;
const PROBE_MS = 5_000;
/** A page that slept gets this long to read what came meanwhile. */
const GRACE_MS = 1_000;
/** A connection that was ready for this long makes the backoff start anew. */
const STABLE_MS = 5_000;
const LOST = 1006;

/** @type {Clock} */
export const SYSTEM_CLOCK = {
  now: () => Date.now(),
  setTimeout: (callback, ms) => setTimeout(callback, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

export class Connection {
  /** @type {ConnectionState} */
  state = { phase: "idle", reason: null, words: "", lostAt: null, retryAt: null };
  #wiring;
  #clock;
  /** @type {WebSocket | null} */
  #socket = null;
  /** The one timer: of the next attempt, the handshake, the heartbeat or a probe. @type {any} */
  #timer = null;
  #online = true;
  #tries = 0;
  #heardAt = 0;
  #readyAt = 0;
  /** Seconds between two signs of life of the server. */
  #heartbeat = 0;
  // what the server said before it closed
  #draining = false;
  /** @type {number | null} */
  #retryAfter = null;
  #words = "";

  /** @param {Wiring} wiring */
  constructor(wiring) {
    this.#wiring = wiring;
    this.#clock = wiring.clock ?? SYSTEM_CLOCK;
  }

  get ready() {
    return this.state.phase === "ready";
  }

  /** Connects now, whatever it was waiting for. Does nothing while a socket is open. */
  open() {
    if (this.#socket) return;
    if (this.state.phase === "stopped") this.#tries = 0;
    this.#connect();
  }

  /** Closes for good, until `open`. */
  close() {
    this.#discard(1000);
    this.#become({ phase: "idle", reason: null, words: "", lostAt: null, retryAt: null });
  }

  /** Closes until `open`, for a reason that no close code has. @param {FinalReason} reason */
  stop(reason) {
    this.#discard(1000);
    const lostAt = this.#clock.now();
    this.#become({ phase: "stopped", reason, words: "", lostAt, retryAt: null }, LOST);
  }

  /** Gives up the present socket and resumes on a new one. */
  restart() {
    if (this.#socket) this.#lost(LOST, "");
  }

  /**
   * Sends a frame, if it can now.
   *
   * @param {Frame} frame
   * @returns {boolean} false: there is no open connection
   */
  send(frame) {
    if (this.#socket?.readyState !== 1) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** The page woke up or was shown: do not wait for a timer that slept too. */
  wake() {
    if (this.state.phase === "waiting") {
      // a server that asked for time gets it
      if (this.state.reason === "lost" || this.state.reason === "offline") this.open();
    } else if (this.#socket && this.#clock.now() - this.#heardAt > this.#heartbeat * 1000) {
      this.#probe();
    }
  }

  /** @param {boolean} online what the browser knows of its network */
  networkChanged(online) {
    this.#online = online;
    if (online) this.wake();
    else if (this.#socket) this.#probe();
    else if (this.state.phase === "waiting") this.#waitForNetwork();
  }

  #connect() {
    this.#stopTimer();
    this.#draining = false;
    this.#retryAfter = null;
    this.#words = "";
    const { WebSocket: Socket = globalThis.WebSocket, url, protocols } = this.#wiring;
    const socket = new Socket(url(), protocols());
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
    this.#heardAt = this.#clock.now();
    this.#heartbeat = HANDSHAKE_MS / 1000;
    this.#startTimer(HANDSHAKE_MS, () => this.#lost(LOST, ""));
    this.#become({ ...this.state, phase: "connecting", retryAt: null });
  }

  /** @param {unknown} data */
  #receive(data) {
    this.#heardAt = this.#clock.now();
    const frame = parsed(data);
    if (!frame) return;
    if (frame.type === "ping") this.send({ type: "pong" });
    this.#heed(frame);
    this.#wiring.onFrame(frame);
    if (frame.type === "status" && frame.status === "ready") this.#becomeReady();
  }

  /** Takes from a frame what it says about the connection. @param {Frame} frame */
  #heed(frame) {
    const event = frame.type === "notification" ? frame.event : null;
    const refusal = frame.type === "error" && !frame.seq;
    // words for the close that may follow
    this.#words = refusal || event === "closed" ? (frame.content ?? "") : "";
    if (refusal) this.#retryAfter = frame.retry_after ?? this.#retryAfter;
    if (event === "connected") this.#welcome(frame);
    if (event === "draining") {
      this.#draining = true;
      this.#retryAfter = frame.retry_after ?? null;
    }
  }

  /** @param {Frame} frame */
  #welcome(frame) {
    this.#heartbeat = frame.heartbeat || 25;
    this.#watch();
    this.#become({ ...this.state, phase: "replaying" });
  }

  #becomeReady() {
    if (this.ready || !this.#socket) return;
    this.#readyAt = this.#clock.now();
    this.#become({ phase: "ready", reason: null, words: "", lostAt: null, retryAt: null });
  }

  /** Waits until nothing was heard for twice the heartbeat. */
  #watch() {
    const due = this.#heardAt + this.#heartbeat * 2000 - this.#clock.now();
    this.#startTimer(Math.max(due, 0), () => {
      const silence = this.#clock.now() - this.#heardAt;
      if (silence < this.#heartbeat * 2000) this.#watch();
      else this.#dropUnlessHeard(GRACE_MS);
    });
  }

  #probe() {
    this.send({ type: "ping" });
    this.#dropUnlessHeard(PROBE_MS);
  }

  /** @param {number} ms */
  #dropUnlessHeard(ms) {
    const heardAt = this.#heardAt;
    this.#startTimer(ms, () => {
      if (this.#heardAt === heardAt) this.#lost(LOST, "");
      else this.#watch();
    });
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #lost(code, reason) {
    const wasStable = this.ready && this.#clock.now() - this.#readyAt >= STABLE_MS;
    this.#discard(1000);
    if (wasStable) this.#tries = 0;
    const next = afterClose(code, {
      tries: this.#tries,
      draining: this.#draining,
      retryAfter: this.#retryAfter,
      random: this.#wiring.random,
    });
    const words = this.#words || reason;
    const lostAt = this.state.lostAt ?? this.#clock.now();
    if (!next.again) {
      this.#become({ phase: "stopped", reason: next.reason, words, lostAt, retryAt: null }, code);
      return;
    }
    this.#tries += 1;
    const retryAt = this.#clock.now() + next.delayMs;
    this.#startTimer(next.delayMs, () => this.#connect());
    this.#become({ phase: "waiting", reason: next.reason, words, lostAt, retryAt }, code);
    if (!this.#online) this.#waitForNetwork();
  }

  #waitForNetwork() {
    this.#stopTimer();
    this.#become({ ...this.state, phase: "waiting", reason: "offline", retryAt: null });
  }

  /** Lets go of the socket without waiting for the other side's goodbye. @param {number} code */
  #discard(code) {
    this.#stopTimer();
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    if (socket.readyState < 2) socket.close(code);
  }

  /**
   * @param {ConnectionState} state
   * @param {number | null} [code]
   */
  #become(state, code = null) {
    this.state = state;
    this.#wiring.onState(code);
  }

  /** @param {number} ms @param {() => void} callback */
  #startTimer(ms, callback) {
    this.#stopTimer();
    this.#timer = this.#clock.setTimeout(callback, ms);
  }

  #stopTimer() {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
  }
}

/** @param {unknown} data @returns {Frame | null} */
function parsed(data) {
  try {
    const frame = JSON.parse(String(data));
    return typeof frame?.type === "string" ? frame : null;
  } catch {
    return null; // not ours to repair; the seq shows whether something is missing
  }
}
