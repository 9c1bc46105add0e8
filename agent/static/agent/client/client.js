// @ts-check
// The JavaScript client of Agent WebSocket: one session, kept up to date over one WebSocket that
// may break. For any page or program that can import an ES module; it knows no DOM. A query stays
// in the outbox until the server has acknowledged it, and is sent again with the same id after
// every reconnect. The rules are in docs/protocol.md, and how to use this in docs/client.md.

import { Connection, SYSTEM_CLOCK } from "./connection/connection.js";
import { Identity } from "./connection/identity.js";
import { Events } from "./events.js";
import { Cancelling } from "./outbox/cancellation.js";
import { Outbox } from "./outbox/outbox.js";
import { excessOf, Sending } from "./outbox/sending.js";
import { Healing } from "./requests/gaps.js";
import { History } from "./requests/history.js";
import { Commands } from "./requests/requests.js";
import { memoryStore, ownStore } from "./storage.js";
import { Transcript } from "./transcript/transcript.js";

export const VERSION = "1.0.0";

/** @typedef {import("./transcript/entries.js").Frame} Frame */
/** @typedef {import("./options.js").Options} Options */
/** @typedef {import("./options.js").ClientEvents} ClientEvents */

/** @extends {Events<ClientEvents>} */
export class AgentClient extends Events {
  transcript = new Transcript();
  /** The last welcome frame. @type {Frame | null} */
  welcome = null;
  /** What the server cannot reach now (`degraded`), with its words. @type {Map<string, string>} */
  degraded = new Map();
  #connection;
  #commands;
  #healing;
  #cancelling;
  #sending;
  #identity;
  #history;

  /** @param {Options} options */
  constructor(options) {
    super();
    this.#identity = new Identity(options);
    const { local = memoryStore(), tab = memoryStore(), caller = "", clock } = options;
    this.outbox = new Outbox(ownStore(local, caller), ownStore(tab, caller), this.session);
    this.#connection = new Connection({
      url: () => this.#identity.url(options.url, this.transcript.lastSeq, options.tail ?? 0),
      protocols: () => this.#identity.protocols,
      onFrame: (frame) => this.#receive(frame),
      onState: (code) => this.#connectionChanged(code),
      WebSocket: options.WebSocket,
      clock,
      random: options.random,
    });
    this.#commands = new Commands((frame) => this.#connection.send(frame));
    this.#healing = new Healing(
      this.transcript,
      (lastSeq) => this.command("resume", { last_seq: lastSeq }),
      () => this.#connection.restart(),
    );
    this.#history = new History(this.transcript, (args) => this.command("history", args));
    this.#cancelling = new Cancelling(
      this.transcript,
      this.outbox,
      (args) => this.command("cancel", args),
      (texts) => this.emit("withdrawn", texts),
    );
    this.#sending = new Sending(
      this.outbox,
      (frame) => this.#connection.send(frame),
      clock ?? SYSTEM_CLOCK,
      () => this.#flush(),
      (entry) => this.#cancelling.makeWay(entry),
    );
  }

  /** The session's id; null until the first welcome of a new one. */
  get session() {
    return this.#identity.session;
  }

  /** The state of the connection, as plain data. */
  get connection() {
    return this.#connection.state;
  }

  /** Until when the server takes no more queries, ms since the epoch. */
  get heldUntil() {
    return this.#sending.heldUntil;
  }

  /** Connects, or tries again now. */
  connect() {
    this.#connection.open();
  }

  /** Closes the connection. What is in the outbox stays there. */
  close() {
    this.#connection.close();
  }

  /** Tell it when its page was hidden or asleep and is back. */
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
   * @param {import("./outbox/outbox.js").Unsent["options"]} [options]
   * @returns {string} the client id of the query, its `ref` in frames and turns
   * @throws {RangeError} nothing in it, or more than the server takes
   */
  ask(content, options = {}) {
    if (!content.trim()) throw new RangeError("A query needs content.");
    if (this.excess(content) > 0) throw new RangeError("The query is too long.");
    const id = this.#sending.add({ content, options });
    this.#flush();
    return id;
  }

  /** How many characters of a text are more than the server takes. @param {string} content */
  excess(content) {
    return excessOf(content, this.welcome?.limits?.query_chars);
  }

  /** Sends a refused query again. @param {string} id */
  resend(id) {
    this.outbox.refuse(id, null);
    this.#flush();
  }

  /** Takes a refused query back. @param {string} id @returns {string} its text */
  withdraw(id) {
    const entry = this.outbox.remove(id);
    this.emit("change", null);
    return entry?.content ?? "";
  }

  /** Ends the running turn and all waiting ones; `withdrawn` returns the texts of those. */
  stop() {
    this.#cancelling.all();
    this.#flush();
  }

  /** Ends one turn. @param {string} turn */
  cancel(turn) {
    this.#cancelling.one(turn);
    this.#flush();
  }

  /** Ends one turn; `withdrawn` returns its text, unless it was answered. @param {string} turn */
  takeBack(turn) {
    this.#cancelling.takeBack(turn);
    this.#flush();
  }

  /** Asks a waiting query again, before everything else. @param {string} turn */
  sendNow(turn) {
    this.#sending.addInstead(turn, this.transcript.turn(turn)?.question);
    this.#flush();
  }

  /**
   * Sends a command; its reply is `history`, `status` `done` or `error`, or null when the
   * connection was lost before it came.
   *
   * @param {string} name
   * @param {Record<string, unknown>} [args]
   */
  command(name, args = {}) {
    return this.#commands.run(name, args);
  }

  /**
   * Judges an answer; the newest counts. The reply is `feedback` or `error`, or null as above.
   *
   * @param {string} target message id of the answer
   * @param {"up" | "down" | null} rating null: withdrawn
   */
  judge(target, rating, comment = "") {
    return this.#commands.judge(target, rating, comment);
  }

  /** Loads a page of what came before; false: there is nothing, or it could not be had now. */
  async loadOlder() {
    const loaded = this.#connection.ready && (await this.#history.load());
    if (loaded) this.emit("change", null);
    return loaded;
  }

  /** Lets go of a session that is closed to us; what is unsent goes to the next new one. */
  abandon() {
    this.close();
    this.#startOver();
  }

  #startOver() {
    this.#identity.startOver();
    this.transcript.forget();
    this.outbox.moveTo(null);
  }

  /** @param {number | null} code of the close, if there was one */
  #connectionChanged(code) {
    if (code !== null) {
      this.#sending.disconnected(code);
      this.degraded.clear();
      this.#healing.done();
      this.#commands.lost();
    }
    const gone = this.connection.phase === "stopped" && this.connection.reason === "gone";
    if (gone && this.session && !this.#identity.named && this.transcript.isEmpty) {
      // a new session that never stored anything leaves nothing behind: take another
      this.#startOver();
      this.connect();
      return;
    }
    this.#flush();
  }

  /** @param {Frame} frame */
  #receive(frame) {
    if (frame.type === "notification") this.#notified(frame);
    if (frame.type === "status" && frame.status === "received") this.#arrived(frame);
    const known = this.#commands.settle(frame);
    const isProblem =
      frame.type === "error" && !frame.seq && !known && !this.#sending.refused(frame);
    if (isProblem && this.#connection.ready) this.emit("problem", frame);
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
    if (outcome !== "hole" && frame.type === "query") this.#arrived(frame);
    if (outcome !== "applied" || !frame.seq) return;
    this.#keepSession();
    const turn = this.transcript.turn(frame.turn ?? frame.id);
    if (turn?.state !== "ended") return;
    this.#cancelling.ended(turn);
    if (watched) this.emit("ended", turn);
  }

  /** @param {Frame} frame a query, or that it was received */
  #arrived(frame) {
    const entry = this.outbox.remove(frame.ref);
    if (frame.type === "status" && entry && !entry.stopped) this.transcript.expect(frame, entry);
    this.#cancelling.arrived(frame.ref, frame.turn, entry);
    if (this.#connection.ready) void this.#cancelling.flush();
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
    if (this.#identity.isOther(welcome)) return this.#connection.stop("changed");
    if (this.#identity.welcomed(welcome)) this.transcript.forget();
    this.welcome = welcome;
    this.transcript.begin(welcome);
    this.emit("welcome", welcome);
    if (welcome.last_seq > 0) this.#keepSession();
  }

  /** From here on the session is worth coming back to: it has, or may get, a row. */
  #keepSession() {
    if (!this.session || this.#identity.kept) return;
    this.#identity.kept = true;
    this.outbox.moveTo(this.session);
    this.emit("session", this.session);
  }

  /** Sends what has to be sent, if it can now. */
  #flush() {
    if (this.#connection.ready) {
      this.#cancelling.flush();
      if (this.#sending.waiting.length) this.#keepSession();
      this.#sending.flush();
    }
    this.emit("change", null);
  }
}
