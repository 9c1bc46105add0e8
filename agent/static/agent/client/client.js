// @ts-check
// The JavaScript client of Agent WebSocket: one session, kept up to date over one WebSocket that
// may break. For any page or program that can import an ES module; it knows no DOM.
//
//     const client = new AgentClient({ url: "wss://example.org/ws/agent/" });
//     client.on("change", () => draw(client.transcript.entries(), client.outbox.entries));
//     client.on("ended", (turn) => console.log(turn.answer?.content));
//     client.connect();
//     client.ask("Hello");
//
// A query stays in the outbox until the server has acknowledged it, and is sent again with the
// same id after every reconnect: the server runs an id once. Frames, close codes and the rules
// behind all this are in docs/protocol.md.

import { Commands, newId } from "./commands.js";
import { Connection } from "./connection.js";
import { Events } from "./events.js";
import { Healing } from "./healing.js";
import { Outbox } from "./outbox.js";
import { Stopping } from "./stopping.js";
import { memoryStore } from "./storage.js";
import { Transcript } from "./transcript.js";

export const VERSION = "1.0.0";

/** @typedef {import("./entries.js").Frame} Frame */
/** @typedef {import("./options.js").Options} Options */
/** @typedef {import("./options.js").ClientEvents} ClientEvents */

const TOO_LARGE = 1009;

/** @extends {Events<ClientEvents>} */
export class AgentClient extends Events {
  transcript = new Transcript();
  /** The last welcome frame. @type {Frame | null} */
  welcome = null;
  /** What the server cannot reach now (`degraded`), with its words. @type {Map<string, string>} */
  degraded = new Map();
  /** @type {string | null} */
  session;
  #options;
  #connection;
  #commands;
  #healing;
  #stopping;
  /** @type {string | null} */
  #token;
  /** The session's name came from outside, so it is worth telling that it is gone. */
  #named;
  /** `session` was told. */
  #kept = false;

  /** @param {Options} options */
  constructor(options) {
    super();
    this.#options = options;
    this.#token = options.token ?? null;
    this.session = options.session ?? null;
    this.#named = this.session !== null;
    const { local = memoryStore(), tab = memoryStore() } = options;
    this.outbox = new Outbox(local, tab, this.session);
    this.#connection = new Connection({
      url: () => this.#url(),
      protocols: () => ["agent.v1", ...(this.#token ? [`bearer.${this.#token}`] : [])],
      onFrame: (frame) => this.#receive(frame),
      onState: (code) => this.#connectionChanged(code),
      WebSocket: options.WebSocket,
      clock: options.clock,
      random: options.random,
    });
    this.#commands = new Commands((frame) => this.#connection.send(frame));
    this.#healing = new Healing(
      this.transcript,
      (lastSeq) => this.command("resume", { last_seq: lastSeq }),
      () => this.#connection.restart(),
    );
    this.#stopping = new Stopping(
      () => this.command("cancel", { all: true }),
      (texts) => this.emit("withdrawn", texts),
    );
  }

  /** The state of the connection, as plain data. */
  get connection() {
    return this.#connection.state;
  }

  /** Connects, or tries again now. */
  connect() {
    this.#connection.open();
  }

  /** Closes the connection. What is in the outbox stays there. */
  close() {
    this.#connection.close();
  }

  /** Tell the client when its page was hidden or asleep and is back. */
  wake() {
    this.#connection.wake();
  }

  /** @param {boolean} online `navigator.onLine`, whenever it changes */
  networkChanged(online) {
    this.#connection.networkChanged(online);
  }

  /**
   * Asks the agent, now or as soon as there is a connection.
   *
   * @param {string} content
   * @param {import("./outbox.js").Unsent["options"]} [options]
   * @returns {string} the client id of the query, its `ref` in frames and turns
   * @throws {RangeError} nothing in it, or more than the server takes
   */
  ask(content, options = {}) {
    if (!content.trim()) throw new RangeError("A query needs content.");
    if (this.excess(content) > 0) throw new RangeError("The query is too long.");
    const id = newId();
    const timestamp = new Date().toISOString();
    this.outbox.add({ id, content, timestamp, options, refusal: null });
    this.#flush();
    this.emit("change", null);
    return id;
  }

  /** How many characters of a text are more than the server takes. @param {string} content */
  excess(content) {
    const limit = this.welcome?.limits?.query_chars;
    if (!limit || content.length <= limit) return 0;
    return Math.max(0, [...content].length - limit); // code points
  }

  /** Sends a refused query again. @param {string} id */
  resend(id) {
    this.outbox.refuse(id, null);
    this.#flush();
    this.emit("change", null);
  }

  /** Takes a refused query back. @param {string} id @returns {string} its text */
  withdraw(id) {
    const entry = this.outbox.remove(id);
    this.emit("change", null);
    return entry?.content ?? "";
  }

  /** Ends the running turn and all waiting ones; `withdrawn` returns the texts of those. */
  stop() {
    this.#stopping.stop(this.transcript, this.outbox);
    if (this.#connection.ready) this.#stopping.flush();
    this.emit("change", null);
  }

  /**
   * Sends a command.
   *
   * @param {string} name
   * @param {Record<string, unknown>} [args]
   * @returns {Promise<Frame | null>} its reply: `history`, `status` `done` or `error`; null when
   *   the connection was lost before it came
   */
  command(name, args = {}) {
    return this.#commands.run(name, args);
  }

  /** Lets go of a session that is closed to us; what is unsent goes to the next new one. */
  abandon() {
    this.close();
    this.#startOver();
  }

  #startOver() {
    this.session = null;
    this.#named = this.#kept = false;
    this.#token = this.#options.token ?? null;
    this.transcript.forget();
    this.outbox.moveTo(null);
  }

  #url() {
    if (!this.session) return this.#options.url;
    const cursor = { session: this.session, last_seq: String(this.transcript.lastSeq) };
    return `${this.#options.url}?${new URLSearchParams(cursor)}`;
  }

  /** @param {number | null} code of the close, if there was one */
  #connectionChanged(code) {
    if (code !== null) this.#disconnected(code);
    const gone = this.connection.phase === "stopped" && this.connection.reason === "gone";
    if (gone && this.session && !this.#named && this.transcript.isEmpty) {
      // a new session that never stored anything leaves nothing behind: take another
      this.#startOver();
      this.connect();
      return;
    }
    if (this.#connection.ready) {
      this.#stopping.flush();
      this.#flush();
    }
    this.emit("change", null);
  }

  /** @param {number} code */
  #disconnected(code) {
    if (code === TOO_LARGE) {
      const refusal = { code: "too_large", content: "This message is too large to be sent." };
      for (const id of [...this.outbox.sent]) this.outbox.refuse(id, refusal);
    }
    this.outbox.sent.clear();
    this.degraded.clear();
    this.#healing.done();
    this.#commands.lost();
  }

  /** @param {Frame} frame */
  #receive(frame) {
    if (frame.type === "notification") this.#notified(frame);
    if (frame.type === "status" && frame.status === "received") this.#received(frame);
    const known = this.#commands.settle(frame);
    if (frame.type === "error" && !frame.seq && !known) this.#refused(frame);
    this.#apply(frame);
    if (frame.type === "status" && frame.status === "ready") this.#healing.done();
    if (frame.type !== "ping" && frame.type !== "pong") this.emit("change", null);
  }

  /** @param {Frame} frame */
  #apply(frame) {
    // a turn whose end we missed was running when we saw it last
    const watched = !frame.replay || this.transcript.turn(frame.turn)?.state === "running";
    const outcome = this.transcript.apply(frame);
    if (outcome === "hole") this.#healing.ask(frame);
    if (outcome !== "hole" && frame.type === "query") this.outbox.remove(frame.ref);
    if (outcome !== "applied" || !frame.seq) return;
    this.#keepSession();
    const turn = this.transcript.turn(frame.turn ?? frame.id);
    if (turn?.state !== "ended") return;
    this.#stopping.ended(turn);
    if (watched) this.emit("ended", turn);
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
    if (this.session !== welcome.session) {
      this.transcript.forget();
      this.#kept = false;
    }
    this.session = welcome.session;
    this.#token ??= welcome.resume_token ?? null;
    this.welcome = welcome;
    this.transcript.begin(welcome);
    this.emit("welcome", welcome);
    if (welcome.last_seq > 0) this.#keepSession();
  }

  /** From here on the session is worth coming back to: it has, or may get, a row. */
  #keepSession() {
    if (!this.session || this.#kept) return;
    this.#kept = true;
    this.outbox.moveTo(this.session);
    this.emit("session", this.session);
  }

  /** @param {Frame} received */
  #received(received) {
    const entry = this.outbox.remove(received.ref);
    if (entry) this.transcript.expect(received, entry);
  }

  /** @param {Frame} error */
  #refused(error) {
    const { ref, code, content } = error;
    if (ref && this.outbox.get(ref)) this.outbox.refuse(ref, { code, content });
    else if (this.#connection.ready) this.emit("problem", error);
  }

  /** Sends what waits in the outbox, oldest first. */
  #flush() {
    if (!this.#connection.ready) return;
    const waiting = this.outbox.pending.filter(({ id }) => !this.outbox.sent.has(id));
    if (waiting.length) this.#keepSession();
    for (const { id, content, timestamp, options } of waiting) {
      const query = { type: "query", id, content, timestamp, ...options };
      if (this.#connection.send(query)) this.outbox.markSent(id);
    }
  }
}
