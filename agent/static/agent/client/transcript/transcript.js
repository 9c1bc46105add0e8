// @ts-check
// The conversation as plain data, built from the server's frames. No socket, no DOM, no clock.
//
// A frame may arrive twice without harm: durable frames are recognised by `seq`, deltas by attempt
// and index, and statuses only change turns that have not ended. `turns.js` keeps the turns.

import { assemble } from "./deltas.js";
import { answerOf, emptyStreams, failureOf, noteOf, questionOf } from "./entries.js";
import { Turns } from "./turns.js";

/** @typedef {import("./entries.js").Frame} Frame */
/** @typedef {{rating: "up" | "down" | null, comment: string}} Feedback */

/**
 * `applied`: the frame changed the transcript or could have; `repeated`: it was here already; `gap`:
 * a frame before it is missing, and it was not applied; `foreign`: it is not part of the
 * conversation.
 *
 * @typedef {"applied" | "repeated" | "gap" | "foreign"} Outcome
 */

/** Notifications about a connection, not about the conversation. */
const CONNECTION_EVENTS = new Set(["connected", "draining", "degraded"]);

export class Transcript {
  /** Number of the last durable frame that is here. */
  lastSeq = 0;
  /** Number of the first frame that is here or, while there is none, of the one that will be. */
  firstSeq = 1;
  /** The title that the session was given. @type {string | null} */
  title = null;
  #turns = new Turns();
  /** The newest feedback on each answer, by message id. @type {Map<string, Feedback>} */
  #feedback = new Map();

  /** All entries, in the order of reading. */
  entries() {
    return this.#turns.entries();
  }

  /** The turns that wait and whose query is known, the next one first. */
  waiting() {
    return this.#turns.waiting();
  }

  /** Changes when an entry is added, moves or gets a question; not with the text of an answer. */
  get shape() {
    return this.#turns.shape;
  }

  /** Some turn runs or waits. */
  get busy() {
    return this.#turns.busy;
  }

  /** The turn that runs. */
  get running() {
    return this.#turns.running;
  }

  get isEmpty() {
    return this.lastSeq === 0 && this.#turns.isEmpty;
  }

  /** @param {string} id */
  turn(id) {
    return this.#turns.get(id);
  }

  clear() {
    this.lastSeq = 0;
    this.firstSeq = 1;
    this.title = null;
    this.#feedback.clear();
    this.#turns.clear();
  }

  /**
   * Applies the first frame of a connection.
   *
   * @param {Frame} welcome
   */
  begin(welcome) {
    if (this.lastSeq > welcome.last_seq) this.clear();
    if (this.lastSeq === 0) this.firstSeq = (welcome.replay_from ?? 0) + 1;
    this.lastSeq = Math.max(this.lastSeq, welcome.replay_from ?? 0);
    for (const { turn, ref, state, position } of welcome.turns ?? []) {
      // a running one stays among the waiting until the replay has reached it
      const known = this.#turns.ensure(turn, ref);
      if (state === "queued" && known.state === "waiting") known.position = position;
      known.version += 1;
    }
  }

  /**
   * The server acknowledged a query of ours; its `query` frame may arrive later.
   *
   * @param {Frame} received
   * @param {import("../outbox/outbox.js").Unsent} query
   */
  expect(received, { content, timestamp, options }) {
    if (received.state === "ended" && received.seq <= this.lastSeq) return;
    const turn = this.#turns.ensure(received.turn, received.ref);
    const replaces = options.replaces ?? null;
    turn.question ??= { id: null, seq: null, content, timestamp, replaces };
    this.#turns.changed(turn);
  }

  /**
   * Puts a page of the session's history before everything else.
   *
   * @param {Frame[]} frames durable ones, oldest first, up to the one before `firstSeq`
   */
  prepend(frames) {
    if (!frames.length) return;
    const earlier = new Transcript();
    earlier.lastSeq = frames[0].seq - 1;
    for (const frame of frames) earlier.apply(frame);
    for (const entry of earlier.entries()) {
      if (entry.kind !== "turn" || !entry.answer) continue;
      Object.assign(entry.answer, this.#feedback.get(entry.answer.id ?? ""));
    }
    this.#turns.prepend(earlier.entries());
    this.firstSeq = frames[0].seq;
    this.title ??= earlier.title;
    this.#feedback = new Map([...earlier.#feedback, ...this.#feedback]);
  }

  /** Steps over a gap that the server could not fill. @param {number} seq */
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
    if (durable && frame.seq > this.lastSeq + 1) return "gap";
    if (durable) this.lastSeq = frame.seq;
    switch (frame.type) {
      case "query":
        return this.#applyQuery(frame);
      case "status":
        return this.#applyStatus(frame);
      case "delta":
        return this.#applyDelta(frame, "streamed");
      case "reasoning":
        return this.#applyDelta(frame, "streamedReasoning");
      case "response":
        return this.#applyResponse(frame);
      case "error":
        return durable ? this.#applyFailure(frame) : "foreign";
      case "notification":
        return this.#applyNotification(frame);
      case "feedback":
        return this.#applyFeedback(frame);
      default:
        return "foreign";
    }
  }

  /** @param {Frame} frame @returns {Outcome} */
  #applyQuery(frame) {
    const turn = this.#turns.ensure(frame.turn, frame.ref);
    turn.question = questionOf(frame);
    this.#turns.changed(turn);
    return "applied";
  }

  /** @param {Frame} frame @returns {Outcome} */
  #applyStatus({ status, turn: id, ref, attempt, position }) {
    if (!id || !["queued", "thinking", "restarted"].includes(status)) return "foreign";
    const turn = this.#turns.ensure(id, ref);
    if (turn.state === "ended") return "repeated";
    if (status === "queued") {
      turn.position = position ?? null;
      this.#turns.changed(turn);
      return "applied";
    }
    this.#turns.start(turn);
    if (attempt > turn.streamed.attempt) Object.assign(turn, emptyStreams(attempt));
    turn.version += 1;
    return "applied";
  }

  /**
   * A piece of the running answer, or of the reasoning before it.
   *
   * @param {Frame} frame
   * @param {"streamed" | "streamedReasoning"} stream
   * @returns {Outcome}
   */
  #applyDelta(frame, stream) {
    const turn = this.#turns.ensure(frame.turn, frame.ref);
    if (turn.state === "ended") return "repeated";
    this.#turns.start(turn);
    const before = turn[stream];
    if (frame.attempt > turn.streamed.attempt) Object.assign(turn, emptyStreams(frame.attempt));
    const { text, gap } = assemble(turn[stream], /** @type {any} */ (frame));
    if (text !== before) turn.version += 1;
    turn[stream] = text;
    return gap ? "gap" : "applied";
  }

  /** @param {Frame} frame @returns {Outcome} */
  #applyResponse(frame) {
    const turn = this.#turns.ensure(frame.turn ?? frame.id, frame.ref);
    turn.answer = answerOf(frame);
    this.#turns.end(turn);
    return "applied";
  }

  /** @param {Frame} frame @returns {Outcome} */
  #applyFailure(frame) {
    const turn = this.#turns.ensure(frame.turn ?? `error-${frame.seq}`, frame.ref);
    turn.failure = failureOf(frame);
    this.#turns.end(turn);
    return "applied";
  }

  /** @param {Frame} frame @returns {Outcome} */
  #applyNotification(frame) {
    if (CONNECTION_EVENTS.has(frame.event)) return "foreign";
    if (frame.event === "closed" && !frame.seq) return "foreign";
    if (frame.event === "renamed") this.title = frame.title ?? null;
    else if (frame.content || frame.event === "expired") this.#turns.addNote(noteOf(frame));
    return "applied";
  }

  /** @param {Frame} frame @returns {Outcome} */
  #applyFeedback({ target, rating = null, content }) {
    const feedback = { rating, comment: content ?? "" };
    this.#feedback.set(target, feedback);
    for (const turn of this.#turns.withAnswer(target)) {
      if (turn.answer) Object.assign(turn.answer, feedback);
      turn.version += 1;
    }
    return "applied";
  }
}
