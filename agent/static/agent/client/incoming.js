// @ts-check
// Hands each frame of the server to the parts of the client that it concerns, in the right order.
// Sends nothing itself.

/** @typedef {import("./transcript/entries.js").Frame} Frame */

/**
 * @typedef {object} Recipients
 * @property {import("./connection/connection.js").Connection} connection
 * @property {import("./connection/identity.js").Identity} identity
 * @property {import("./transcript/transcript.js").Transcript} transcript
 * @property {import("./outbox/outbox.js").Outbox} outbox
 * @property {import("./outbox/sender.js").Sender} sender
 * @property {import("./outbox/cancellation.js").Cancellation} cancellation
 * @property {import("./requests/requests.js").Requests} requests
 * @property {import("./requests/gaps.js").GapRecovery} gaps
 * @property {() => void} keepSession the session has, or may get, a row on the server
 * @property {import("./events.js").Events<import("./options.js").ClientEvents>["emit"]} emit
 */

export class Incoming {
  /** The last welcome frame. @type {Frame | null} */
  welcome = null;
  /** Parts that the server cannot reach now (`degraded`), with a message. @type {Map<string, string>} */
  degraded = new Map();
  #to;

  /** @param {Recipients} recipients */
  constructor(recipients) {
    this.#to = recipients;
  }

  /** @param {Frame} frame */
  receive(frame) {
    const { requests, sender, connection, gaps, emit } = this.#to;
    if (frame.type === "notification") this.#notified(frame);
    if (frame.type === "status" && frame.status === "received") this.#arrived(frame);
    const isReply = requests.resolve(frame);
    const isProblem = frame.type === "error" && !frame.seq && !isReply && !sender.refused(frame);
    if (isProblem && connection.ready) emit("problem", frame);
    this.#apply(frame);
    if (frame.type === "status" && frame.status === "ready") gaps.done();
    if (frame.type !== "ping" && frame.type !== "pong") emit("change", null);
  }

  /** The connection is lost. */
  disconnected() {
    this.degraded.clear();
  }

  /** @param {Frame} frame */
  #apply(frame) {
    const { transcript, gaps, cancellation, keepSession, emit } = this.#to;
    // a turn that ended while there was no connection was running when it was last seen
    const watched = !frame.replay || transcript.turn(frame.turn)?.state === "running";
    const outcome = transcript.apply(frame);
    if (outcome === "gap") void gaps.recover(frame);
    if (outcome !== "gap" && frame.type === "query") this.#arrived(frame);
    if (outcome !== "applied" || !frame.seq) return;
    keepSession();
    const turn = transcript.turn(frame.turn ?? frame.id);
    if (turn?.state !== "ended") return;
    cancellation.ended(turn);
    if (watched) emit("ended", turn);
  }

  /** A query arrived at the server. @param {Frame} frame the query itself, or its receipt */
  #arrived(frame) {
    const { transcript, outbox, cancellation, connection } = this.#to;
    const entry = outbox.remove(frame.ref);
    if (frame.type === "status" && entry && !entry.stopped) transcript.expect(frame, entry);
    cancellation.arrived(frame.ref, frame.turn, entry);
    if (connection.ready) void cancellation.flush();
  }

  /** @param {Frame} frame */
  #notified(frame) {
    if (frame.event === "connected") this.#welcomed(frame);
    if (frame.event === "degraded") {
      if (frame.level === "success") this.degraded.delete(frame.part);
      else this.degraded.set(frame.part, frame.content);
    }
  }

  /** @param {Frame} welcome */
  #welcomed(welcome) {
    const { identity, connection, transcript, keepSession, emit } = this.#to;
    if (identity.isOtherCaller(welcome)) return connection.stop("changed");
    if (identity.enter(welcome)) transcript.clear();
    this.welcome = welcome;
    transcript.begin(welcome);
    emit("welcome", welcome);
    if (welcome.last_seq > 0) keepSession();
  }
}
