// @ts-check
// The conversation as plain data, built from the server's frames. No socket, no DOM, no clock.
//
// It stays right whatever comes twice: durable frames are told apart by `seq`, deltas by attempt
// and index, statuses only change turns that have not ended.
//
// The order of the entries: turns in the order in which they started, notifications where they
// came; then the queries that wait, the next one first. A notification that came while a turn ran
// stands behind that turn, live and in a replay alike.

import { assemble, nothingOf } from "./deltas.js";
import { answerOf, failureOf, newTurn, noteOf, questionOf } from "./entries.js";

/** @typedef {import("./entries.js").Frame} Frame */
/** @typedef {import("./entries.js").Turn} Turn */
/** @typedef {import("./entries.js").Entry} Entry */

/**
 * `applied`: taken in; `repeated`: held already; `hole`: something before it is missing, and it was
 * not taken in; `foreign`: not part of the conversation.
 *
 * @typedef {"applied" | "repeated" | "hole" | "foreign"} Outcome
 */

/** Notifications that tell of a connection, not of the conversation. */
const CONNECTION_EVENTS = new Set(["connected", "draining", "degraded"]);

export class Transcript {
  /** The last durable frame that is held. */
  lastSeq = 0;
  /** The turn that runs. @type {Turn | null} */
  running = null;
  /** @type {Map<string, Turn>} */
  #turns = new Map();
  /** Keys of the turns, to give each its own. @type {Set<string>} */
  #keys = new Set();
  /** Turns that started or ended, and notifications. @type {Entry[]} */
  #settled = [];
  /** What stands behind the next turn that starts. @type {Entry[]} */
  #floating = [];
  /** Turns that have not started. @type {Set<Turn>} */
  #waiting = new Set();

  /** Everything, in the order of reading. @returns {Entry[]} */
  entries() {
    return [...this.#settled, ...this.#floating, ...this.waiting()];
  }

  /** The turns that wait and whose query is known, the next one first. @returns {Turn[]} */
  waiting() {
    const last = Number.MAX_SAFE_INTEGER;
    return [...this.#waiting]
      .filter((turn) => turn.question)
      .sort((a, b) => (a.position ?? last) - (b.position ?? last));
  }

  /** Some turn runs or waits. */
  get busy() {
    return this.running !== null || this.#waiting.size > 0;
  }

  get isEmpty() {
    return this.lastSeq === 0 && this.#turns.size === 0;
  }

  /** @param {string} id */
  turn(id) {
    return this.#turns.get(id);
  }

  /** Forgets everything. */
  forget() {
    this.lastSeq = 0;
    this.running = null;
    this.#turns.clear();
    this.#keys.clear();
    this.#settled = [];
    this.#floating = [];
    this.#waiting.clear();
  }

  /**
   * Takes in the first frame of a connection.
   *
   * @param {Frame} welcome
   */
  begin(welcome) {
    if (this.lastSeq > welcome.last_seq) this.forget();
    this.lastSeq = Math.max(this.lastSeq, welcome.replay_from ?? 0);
    for (const { turn, ref, state, position } of welcome.turns ?? []) {
      // a running one stays among the waiting until the replay has reached it
      const known = this.#turn(turn, ref);
      if (state === "queued" && known.state === "waiting") known.position = position;
      known.version += 1;
    }
  }

  /**
   * Our own query was acknowledged; its `query` frame may come later.
   *
   * @param {Frame} received
   * @param {{content: string, timestamp: string}} query
   */
  expect(received, { content, timestamp }) {
    if (received.state === "ended" && received.seq <= this.lastSeq) return;
    const turn = this.#turn(received.turn, received.ref);
    turn.question ??= { id: null, content, timestamp, replaces: null };
    turn.version += 1;
  }

  /** A hole that the server could not fill: go on behind it. @param {number} seq */
  skipTo(seq) {
    this.lastSeq = Math.max(this.lastSeq, seq);
  }

  /**
   * @param {Frame} frame
   * @returns {Outcome}
   */
  apply(frame) {
    const durable = Number.isInteger(frame.seq) && frame.type !== "status";
    if (durable && frame.seq <= this.lastSeq) return "repeated";
    if (durable && frame.seq > this.lastSeq + 1) return "hole";
    if (durable) this.lastSeq = frame.seq;
    switch (frame.type) {
      case "query":
        return this.#query(frame);
      case "status":
        return this.#status(frame);
      case "delta":
        return this.#delta(frame);
      case "response":
        return this.#response(frame);
      case "error":
        return durable ? this.#failure(frame) : "foreign";
      case "notification":
        return this.#notification(frame);
      case "feedback":
        return this.#feedback(frame);
      default:
        return "foreign";
    }
  }

  /** @param {Frame} frame @returns {Outcome} */
  #query(frame) {
    const turn = this.#turn(frame.turn, frame.ref);
    turn.question = questionOf(frame);
    turn.version += 1;
    return "applied";
  }

  /** @param {Frame} frame @returns {Outcome} */
  #status({ status, turn: id, ref, attempt, position }) {
    if (!id || !["queued", "thinking", "restarted"].includes(status)) return "foreign";
    const turn = this.#turn(id, ref);
    if (turn.state === "ended") return "repeated";
    if (status === "queued") {
      turn.position = position ?? null;
    } else {
      this.#start(turn);
      if (attempt > turn.held.attempt) turn.held = nothingOf(attempt);
    }
    turn.version += 1;
    return "applied";
  }

  /** @param {Frame} frame @returns {Outcome} */
  #delta(frame) {
    const turn = this.#turn(frame.turn, frame.ref);
    if (turn.state === "ended") return "repeated";
    this.#start(turn);
    const { held, hole } = assemble(turn.held, /** @type {any} */ (frame));
    if (held !== turn.held) turn.version += 1;
    turn.held = held;
    return hole ? "hole" : "applied";
  }

  /** @param {Frame} frame @returns {Outcome} */
  #response(frame) {
    const turn = this.#turn(frame.turn ?? frame.id, frame.ref);
    turn.answer = answerOf(frame);
    return this.#end(turn);
  }

  /** @param {Frame} frame @returns {Outcome} */
  #failure(frame) {
    const turn = this.#turn(frame.turn ?? `error-${frame.seq}`, frame.ref);
    turn.failure = failureOf(frame);
    return this.#end(turn);
  }

  /** @param {Frame} frame @returns {Outcome} */
  #notification(frame) {
    if (CONNECTION_EVENTS.has(frame.event)) return "foreign";
    if (frame.event === "closed" && !frame.seq) return "foreign";
    if (frame.event !== "expired" && frame.content) this.#place(noteOf(frame));
    return "applied";
  }

  /** @param {Frame} frame @returns {Outcome} */
  #feedback({ target, rating = null }) {
    for (const turn of this.#turns.values()) {
      if (!turn.answer || turn.answer.id !== target) continue;
      turn.answer.rating = rating;
      turn.version += 1;
    }
    return "applied";
  }

  /**
   * The turn of that id, a new one if need be.
   *
   * @param {string} id
   * @param {string | null | undefined} ref
   * @returns {Turn}
   */
  #turn(id, ref) {
    const known = this.#turns.get(id);
    if (known) {
      known.ref ??= ref ?? null;
      return known;
    }
    // the key of a query does not change when it is sent; a retry has the same ref
    const key = ref && !this.#keys.has(ref) ? ref : id;
    const turn = newTurn(key, id, ref ?? null);
    this.#turns.set(id, turn);
    this.#keys.add(key);
    this.#waiting.add(turn);
    return turn;
  }

  /** @param {Turn} turn */
  #start(turn) {
    if (turn.state !== "waiting") return;
    turn.state = "running";
    turn.position = null;
    this.running = turn;
    this.#settle(turn);
  }

  /** @param {Turn} turn @returns {Outcome} */
  #end(turn) {
    const neverRan = turn.state === "waiting" && turn.answer?.content === "";
    if (neverRan) {
      this.#waiting.delete(turn);
      this.#place(turn);
    } else if (turn.state === "waiting") {
      this.#settle(turn);
    }
    if (this.running === turn) this.running = null;
    turn.state = "ended";
    turn.position = null;
    turn.held = nothingOf(0);
    turn.version += 1;
    return "applied";
  }

  /** @param {Turn} turn */
  #settle(turn) {
    this.#waiting.delete(turn);
    this.#settled.push(turn, ...this.#floating);
    this.#floating = [];
  }

  /**
   * Puts an entry behind what was asked before it.
   *
   * @param {Entry} entry
   */
  #place(entry) {
    const turnIsComing = !this.running && this.waiting().length > 0;
    (turnIsComing ? this.#floating : this.#settled).push(entry);
  }
}
