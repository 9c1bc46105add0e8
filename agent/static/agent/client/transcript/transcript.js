// @ts-check
// The conversation as plain data, built from the server's frames. No socket, no DOM, no clock.
//
// It stays right whatever comes twice: durable frames are told apart by `seq`, deltas by attempt
// and index, statuses only change turns that have not ended.
// The order of the entries is `sequence.js`'s.

import { assemble } from "./deltas.js";
import { answerOf, begun, failureOf, newTurn, noteOf, questionOf } from "./entries.js";
import { Sequence } from "./sequence.js";

/** @typedef {import("./entries.js").Frame} Frame */
/** @typedef {import("./entries.js").Turn} Turn */
/** @typedef {import("./entries.js").Entry} Entry */
/** @typedef {{rating: "up" | "down" | null, comment: string}} Opinion */

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
  /** The first one that is held or, while there is none, will be. */
  firstSeq = 1;
  /** The name that the session was given. @type {string | null} */
  title = null;
  /** The turn that runs. @type {Turn | null} */
  running = null;
  /** @type {Map<string, Turn>} */
  #turns = new Map();
  /** Keys of the turns, to give each its own. @type {Set<string>} */
  #keys = new Set();
  #sequence = new Sequence();
  /** What was thought of answers, by message id. @type {Map<string, Opinion>} */
  #opinions = new Map();

  /** Everything, in the order of reading. */
  entries() {
    return this.#sequence.entries();
  }

  /** The turns that wait and whose query is known, the next one first. */
  waiting() {
    return this.#sequence.waiting();
  }

  /** Changes when an entry comes, moves or gets a question; not with the text of an answer. */
  get shape() {
    return this.#sequence.shape;
  }

  /** Some turn runs or waits. */
  get busy() {
    return this.running !== null || this.#sequence.anyWaits;
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
    this.firstSeq = 1;
    this.title = null;
    this.#opinions.clear();
    this.running = null;
    this.#turns.clear();
    this.#keys.clear();
    this.#sequence.clear();
  }

  /**
   * Takes in the first frame of a connection.
   *
   * @param {Frame} welcome
   */
  begin(welcome) {
    if (this.lastSeq > welcome.last_seq) this.forget();
    if (this.lastSeq === 0) this.firstSeq = (welcome.replay_from ?? 0) + 1;
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
   * @param {import("../outbox/outbox.js").Unsent} query
   */
  expect(received, { content, timestamp, options }) {
    if (received.state === "ended" && received.seq <= this.lastSeq) return;
    const turn = this.#turn(received.turn, received.ref);
    turn.question ??= {
      ...{ id: null, seq: null, content, timestamp, replaces: options.replaces ?? null },
    };
    turn.version += 1;
    this.#sequence.moved();
  }

  /**
   * Takes in a page of what came before.
   *
   * @param {Frame[]} frames durable ones, oldest first, up to the one before `firstSeq`
   */
  prepend(frames) {
    if (!frames.length) return;
    const older = new Transcript();
    older.lastSeq = frames[0].seq - 1;
    for (const frame of frames) older.apply(frame);
    this.#sequence.prepend(older.entries().filter((entry) => this.#adopt(entry)));
    this.firstSeq = frames[0].seq;
    this.title ??= older.title;
    this.#opinions = new Map([...older.#opinions, ...this.#opinions]);
  }

  /** Whether an older entry is a new one here. @param {Entry} entry */
  #adopt(entry) {
    if (entry.kind === "note") return true;
    const known = this.#turns.get(entry.id);
    if (known) {
      known.question ??= entry.question; // it was asked on that page and ended on ours
      known.version += 1;
      return false;
    }
    if (this.#keys.has(entry.key)) entry.key = entry.id;
    this.#keys.add(entry.key);
    this.#turns.set(entry.id, entry);
    if (entry.answer) Object.assign(entry.answer, this.#opinions.get(entry.answer.id ?? ""));
    return true;
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
        return this.#grow(frame, "held");
      case "reasoning":
        return this.#grow(frame, "heldReasoning");
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
    this.#sequence.moved();
    return "applied";
  }

  /** @param {Frame} frame @returns {Outcome} */
  #status({ status, turn: id, ref, attempt, position }) {
    if (!id || !["queued", "thinking", "restarted"].includes(status)) return "foreign";
    const turn = this.#turn(id, ref);
    if (turn.state === "ended") return "repeated";
    if (status === "queued") {
      turn.position = position ?? null;
      this.#sequence.moved();
    } else {
      this.#start(turn);
      if (attempt > turn.held.attempt) Object.assign(turn, begun(attempt));
    }
    turn.version += 1;
    return "applied";
  }

  /**
   * A piece of the running answer, or of the reasoning before it.
   *
   * @param {Frame} frame
   * @param {"held" | "heldReasoning"} part
   * @returns {Outcome}
   */
  #grow(frame, part) {
    const turn = this.#turn(frame.turn, frame.ref);
    if (turn.state === "ended") return "repeated";
    this.#start(turn);
    const before = turn[part];
    if (frame.attempt > turn.held.attempt) Object.assign(turn, begun(frame.attempt));
    const { held, hole } = assemble(turn[part], /** @type {any} */ (frame));
    if (held !== before) turn.version += 1;
    turn[part] = held;
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
    if (frame.event === "renamed") this.title = frame.title ?? null;
    else if (frame.content || frame.event === "expired")
      this.#sequence.place(noteOf(frame), this.running !== null);
    return "applied";
  }

  /** @param {Frame} frame @returns {Outcome} */
  #feedback({ target, rating = null, content }) {
    const opinion = { rating, comment: content ?? "" };
    this.#opinions.set(target, opinion);
    for (const turn of this.#turns.values()) {
      if (!turn.answer || turn.answer.id !== target) continue;
      Object.assign(turn.answer, opinion);
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
    this.#sequence.add(turn);
    return turn;
  }

  /** @param {Turn} turn */
  #start(turn) {
    if (turn.state !== "waiting") return;
    turn.state = "running";
    turn.position = null;
    this.running = turn;
    this.#sequence.settle(turn);
  }

  /** @param {Turn} turn @returns {Outcome} */
  #end(turn) {
    const neverRan = turn.state === "waiting" && turn.answer?.content === "";
    if (neverRan) this.#sequence.drop(turn, this.running !== null);
    else if (turn.state === "waiting") this.#sequence.settle(turn);
    if (this.running === turn) this.running = null;
    turn.state = "ended";
    turn.position = null;
    Object.assign(turn, begun(0));
    turn.version += 1;
    this.#sequence.moved();
    return "applied";
  }
}
