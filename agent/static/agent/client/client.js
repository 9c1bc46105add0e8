// @ts-check
// The JavaScript client of Agent WebSocket: one session, kept up to date over one WebSocket that
// may break. Any page or program that can import an ES module can use it; it knows no DOM. A query
// stays in the outbox until the server has acknowledged it, and is sent again with the same id after
// every reconnect. The rules are in docs/protocol.md, the use of this class in docs/client.md.
//
// One name for each action:
//   stop      ends the running turn and everything that waits
//   cancel    ends one turn on the server (the command `cancel`)
//   recall    cancels a waiting turn and returns its text
//   withdraw  takes a refused query out of the outbox and returns its text; the server never had it
//   resend    sends a refused query again

import { SYSTEM_CLOCK } from "./connection/clock.js";
import { Connection } from "./connection/connection.js";
import { Identity } from "./connection/identity.js";
import { Events } from "./events.js";
import { Incoming } from "./incoming.js";
import { Cancellation } from "./outbox/cancellation.js";
import { Outbox } from "./outbox/outbox.js";
import { excessOf, Sender } from "./outbox/sender.js";
import { GapRecovery } from "./requests/gaps.js";
import { History } from "./requests/history.js";
import { Requests } from "./requests/requests.js";
import { callerStore, memoryStore } from "./storage.js";
import { Transcript } from "./transcript/transcript.js";

export const VERSION = "1.0.0";

/** @typedef {import("./transcript/entries.js").Frame} Frame */
/** @typedef {import("./options.js").Options} Options */
/** @typedef {import("./options.js").ClientEvents} ClientEvents */

/** @extends {Events<ClientEvents>} */
export class AgentClient extends Events {
  transcript = new Transcript();
  #connection;
  #identity;
  #requests;
  #gaps;
  #history;
  #cancellation;
  #sender;
  #incoming;

  /** @param {Options} options */
  constructor(options) {
    super();
    const { local = memoryStore(), tab = memoryStore(), caller = "", clock, random } = options;
    const { transcript } = this;
    const identity = new Identity(options);
    const connection = new Connection({
      url: () => identity.url(options.url, transcript.lastSeq, options.tail ?? 0),
      protocols: () => identity.protocols,
      onFrame: (frame) => this.#incoming.receive(frame),
      onState: (code) => this.#connectionChanged(code),
      WebSocket: options.WebSocket,
      clock,
      random,
    });
    const outbox = new Outbox(
      callerStore(local, caller),
      callerStore(tab, caller),
      identity.session,
    );
    const requests = new Requests((frame) => connection.send(frame));
    const gaps = new GapRecovery(
      transcript,
      (lastSeq) => this.command("resume", { last_seq: lastSeq }),
      () => connection.reconnect(),
    );
    const cancellation = new Cancellation(
      transcript,
      outbox,
      (args) => this.command("cancel", args),
      (texts) => this.emit("returned", texts),
    );
    const sender = new Sender(
      outbox,
      (frame) => connection.send(frame),
      clock ?? SYSTEM_CLOCK,
      () => this.#flush(),
      (entry) => cancellation.cancelReplaced(entry),
    );
    this.outbox = outbox;
    this.#connection = connection;
    this.#identity = identity;
    this.#requests = requests;
    this.#gaps = gaps;
    this.#cancellation = cancellation;
    this.#sender = sender;
    this.#history = new History(transcript, (args) => this.command("history", args));
    this.#incoming = new Incoming({
      connection,
      identity,
      transcript,
      outbox,
      sender,
      cancellation,
      requests,
      gaps,
      keepSession: () => this.#keepSession(),
      emit: (name, detail) => this.emit(name, detail),
    });
  }

  /** The session's id; null until the first welcome of a new one. */
  get session() {
    return this.#identity.session;
  }

  /** The state of the connection, as plain data. */
  get connection() {
    return this.#connection.state;
  }

  /** The last welcome frame. */
  get welcome() {
    return this.#incoming.welcome;
  }

  /** Parts that the server cannot reach now (`degraded`), with a message. */
  get degraded() {
    return this.#incoming.degraded;
  }

  /** The server accepts no query before this time, ms since the epoch. */
  get pausedUntil() {
    return this.#sender.pausedUntil;
  }

  /** Connects, or tries again now. */
  connect() {
    this.#connection.open();
  }

  /** Closes the connection. The outbox keeps its queries. */
  close() {
    this.#connection.close();
  }

  /** Call it when the page was hidden or asleep and is back. */
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
   * @throws {RangeError} the text is empty or longer than the server accepts
   */
  ask(content, options = {}) {
    if (!content.trim()) throw new RangeError("A query needs content.");
    if (this.excess(content) > 0) throw new RangeError("The query is too long.");
    const id = this.#sender.add({ content, options });
    this.#flush();
    return id;
  }

  /** By how many characters a text is longer than the server accepts. @param {string} content */
  excess(content) {
    return excessOf(content, this.welcome?.limits?.query_chars);
  }

  /** Sends a refused query again. @param {string} id */
  resend(id) {
    this.outbox.setRefusal(id, null);
    this.#flush();
  }

  /** Takes a refused query out of the outbox. @param {string} id @returns {string} its text */
  withdraw(id) {
    const entry = this.outbox.remove(id);
    this.emit("change", null);
    return entry?.content ?? "";
  }

  /** Ends the running turn and all waiting ones; the event `returned` has the texts of those. */
  stop() {
    this.#cancellation.stop();
    this.#flush();
  }

  /** Ends one turn. @param {string} turn */
  cancel(turn) {
    this.#cancellation.cancel(turn);
    this.#flush();
  }

  /** Ends one turn; the event `returned` has its text, unless it was answered. @param {string} turn */
  recall(turn) {
    this.#cancellation.recall(turn);
    this.#flush();
  }

  /** Asks a waiting query again, before everything else. @param {string} turn */
  sendNow(turn) {
    this.#sender.addReplacement(turn, this.transcript.turn(turn)?.question);
    this.#flush();
  }

  /**
   * Sends a command; its reply is `history`, `status` `done` or `error`, or null when the
   * connection was lost before the reply arrived.
   *
   * @param {string} name
   * @param {Record<string, unknown>} [args]
   */
  command(name, args = {}) {
    return this.#requests.send({ type: "command", content: name, args });
  }

  /**
   * Rates an answer; the newest feedback counts. The reply is `feedback` or `error`, or null as
   * above.
   *
   * @param {string} target message id of the answer
   * @param {"up" | "down" | null} rating null: no rating any more
   */
  sendFeedback(target, rating, comment = "") {
    const frame = { type: "human_feedback", target, rating };
    return this.#requests.send(comment ? { ...frame, content: comment } : frame);
  }

  /** Loads a page of the session's history; false: there is none, or it cannot be loaded now. */
  async loadHistory() {
    const loaded = this.#connection.ready && (await this.#history.load());
    if (loaded) this.emit("change", null);
    return loaded;
  }

  /** Leaves a session that is closed to this caller; unsent queries go to the next new session. */
  abandon() {
    this.close();
    this.#startOver();
  }

  #startOver() {
    this.#identity.startOver();
    this.transcript.clear();
    this.outbox.moveTo(null);
  }

  /** @param {number | null} code of the close, if there was one */
  #connectionChanged(code) {
    if (code !== null) {
      this.#sender.disconnected(code);
      this.#incoming.disconnected();
      this.#gaps.done();
      this.#requests.disconnected();
    }
    const isGone = this.connection.phase === "stopped" && this.connection.reason === "gone";
    if (isGone && this.session && !this.#identity.isChosen && this.transcript.isEmpty) {
      // a new session of which nothing was stored leaves nothing behind: open another one
      this.#startOver();
      this.connect();
      return;
    }
    this.#flush();
  }

  /** The session has, or may get, a row on the server: a program may come back to it. */
  #keepSession() {
    if (!this.session || this.#identity.isKept) return;
    this.#identity.isKept = true;
    this.outbox.moveTo(this.session);
    this.emit("session", this.session);
  }

  /** Sends everything that is due, if there is a connection. */
  #flush() {
    if (this.#connection.ready) {
      void this.#cancellation.flush();
      if (this.#sender.due.length) this.#keepSession();
      this.#sender.flush();
    }
    this.emit("change", null);
  }
}
