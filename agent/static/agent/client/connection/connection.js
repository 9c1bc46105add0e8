// @ts-check
// One WebSocket after another to the same session: opens a socket, notices when it is lost, and
// opens the next one if and when the close code allows it. Reads only the frames that are about
// the connection itself; the conversation belongs to `client.js`.

import { SYSTEM_CLOCK } from "./clock.js";
import { ClosingHints } from "./closing-hints.js";
import { Liveness } from "./liveness.js";
import { afterClose } from "./reconnect.js";

/** @typedef {import("../transcript/entries.js").Frame} Frame */
/** @typedef {import("./clock.js").Clock} Clock */
/** @typedef {import("./reconnect.js").PassingReason} PassingReason */
/** @typedef {import("./reconnect.js").FinalReason} FinalReason */

/**
 * @typedef {object} ConnectionState
 * @property {"idle" | "connecting" | "replaying" | "ready" | "waiting" | "stopped"} phase
 *   `replaying`: the welcome has arrived, `ready` has not; `waiting`: for the next attempt;
 *   `stopped`: until `open` is called
 * @property {PassingReason | FinalReason | "offline" | null} reason why it is not ready
 * @property {string} message what the server said about it
 * @property {number | null} lostAt when it stopped being ready, ms since the epoch
 * @property {number | null} retryAt time of the next attempt, ms since the epoch
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

/** A connection that was ready for this long resets the backoff. */
const STABLE_MS = 5_000;
const DEFAULT_HEARTBEAT_SECONDS = 25;
const NORMAL_CLOSURE = 1000;
const ABNORMAL_CLOSURE = 1006;

/** @type {ConnectionState} */
const IDLE = { phase: "idle", reason: null, message: "", lostAt: null, retryAt: null };

export class Connection {
  state = IDLE;
  #wiring;
  #clock;
  #liveness;
  /** @type {WebSocket | null} */
  #socket = null;
  /** Of the next attempt. @type {any} */
  #timer = null;
  #online = true;
  /** Attempts since the connection was last stable. */
  #tries = 0;
  #readyAt = 0;
  #hints = new ClosingHints();

  /** @param {Wiring} wiring */
  constructor(wiring) {
    this.#wiring = wiring;
    this.#clock = wiring.clock ?? SYSTEM_CLOCK;
    this.#liveness = new Liveness(this.#clock, () => this.#closed(ABNORMAL_CLOSURE, ""));
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

  /** Closes until `open` is called. */
  close() {
    this.#discard();
    this.#become(IDLE);
  }

  /** Closes until `open`, for a reason that no close code has. @param {FinalReason} reason */
  stop(reason) {
    this.#discard();
    const lostAt = this.#clock.now();
    this.#become(
      { phase: "stopped", reason, message: "", lostAt, retryAt: null },
      ABNORMAL_CLOSURE,
    );
  }

  /** Gives up the present socket and resumes on a new one. */
  reconnect() {
    if (this.#socket) this.#closed(ABNORMAL_CLOSURE, "");
  }

  /**
   * Sends a frame, if there is an open connection.
   *
   * @param {Frame} frame
   * @returns {boolean} false: there is none
   */
  send(frame) {
    if (this.#socket?.readyState !== 1) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** The page woke up or was shown: a timer that slept too must not delay the next attempt. */
  wake() {
    if (this.state.phase === "waiting") {
      // but a server that asked for time gets it
      if (this.state.reason === "lost" || this.state.reason === "offline") this.open();
    } else if (this.#socket && this.#liveness.isOverdue) {
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
    this.#hints = new ClosingHints();
    const { WebSocket: Socket = globalThis.WebSocket, url, protocols } = this.#wiring;
    const socket = new Socket(url(), protocols());
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
    this.#liveness.begin();
    this.#become({ ...this.state, phase: "connecting", retryAt: null });
  }

  /** @param {unknown} data */
  #receive(data) {
    this.#liveness.heard();
    const frame = parsed(data);
    if (!frame) return;
    if (frame.type === "ping") this.send({ type: "pong" });
    this.#hints.note(frame);
    if (frame.type === "notification" && frame.event === "connected") this.#welcomed(frame);
    this.#wiring.onFrame(frame);
    if (frame.type === "status" && frame.status === "ready") this.#becomeReady();
  }

  /** @param {Frame} welcome */
  #welcomed(welcome) {
    this.#liveness.watch(welcome.heartbeat || DEFAULT_HEARTBEAT_SECONDS);
    this.#become({ ...this.state, phase: "replaying" });
  }

  #becomeReady() {
    if (this.ready || !this.#socket) return;
    this.#readyAt = this.#clock.now();
    this.#become({ ...IDLE, phase: "ready" });
  }

  #probe() {
    this.send({ type: "ping" });
    this.#liveness.probed();
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #closed(code, reason) {
    const wasStable = this.ready && this.#clock.now() - this.#readyAt >= STABLE_MS;
    this.#discard();
    if (wasStable) this.#tries = 0;
    const { draining, retryAfter } = this.#hints;
    const { random } = this.#wiring;
    const next = afterClose(code, { tries: this.#tries, draining, retryAfter, random });
    const message = this.#hints.message || reason;
    const lostAt = this.state.lostAt ?? this.#clock.now();
    if (!next.again) {
      this.#become({ phase: "stopped", reason: next.reason, message, lostAt, retryAt: null }, code);
      return;
    }
    this.#tries += 1;
    const retryAt = this.#clock.now() + next.delayMs;
    this.#timer = this.#clock.setTimeout(() => this.#connect(), next.delayMs);
    this.#become(
      { phase: "waiting", ...this.#weightier(next.reason, message), lostAt, retryAt },
      code,
    );
    if (!this.#online) this.#waitForNetwork();
  }

  /**
   * An attempt that fails says less than what the server said before.
   *
   * @param {PassingReason} reason @param {string} message
   * @returns {Pick<ConnectionState, "reason" | "message">}
   */
  #weightier(reason, message) {
    const { reason: known, message: said } = this.state;
    const isKnown = known === "restarting" || known === "limited";
    return reason === "lost" && isKnown ? { reason: known, message: said } : { reason, message };
  }

  #waitForNetwork() {
    this.#stopTimer();
    this.#become({ ...this.state, phase: "waiting", reason: "offline", retryAt: null });
  }

  /** Lets go of the socket without waiting for the closing handshake. */
  #discard() {
    this.#stopTimer();
    this.#liveness.stop();
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    if (socket.readyState < 2) socket.close(NORMAL_CLOSURE);
  }

  #stopTimer() {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
  }

  /**
   * @param {ConnectionState} state
   * @param {number | null} [code]
   */
  #become(state, code = null) {
    this.state = state;
    this.#wiring.onState(code);
  }
}

/** @param {unknown} data @returns {Frame | null} */
function parsed(data) {
  try {
    const frame = JSON.parse(String(data));
    return typeof frame?.type === "string" ? frame : null;
  } catch {
    return null; // a missing `seq` shows later whether the frame mattered
  }
}
