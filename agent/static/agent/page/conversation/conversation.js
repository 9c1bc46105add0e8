// @ts-check
// One session on the page, from opening to leaving: joins the client with what is shown.
// Renders at most once per animation frame, and not while a replay comes in.

import { AgentClient } from "../../client/client.js";
import { Reading } from "../../client/reading.js";
import { ownStore } from "../../client/storage.js";
import { Composer } from "../composer/composer.js";
import { Drafts } from "../composer/drafts.js";
import { messageOf } from "../composer/slash.js";
import { runTyped } from "../composer/typed-commands.js";
import { secondsUntil } from "../i18n/format.js";
import { t } from "../i18n/translate.js";
import { QueueView } from "../messages/queue-view.js";
import { TranscriptView } from "../messages/transcript-view.js";
import { ConnectionView } from "../status/connection-view.js";
import { NoticeView } from "../status/notice-view.js";
import { setText } from "../ui/dom.js";
import { Drawing } from "../ui/scheduler.js";
import { messageDeeds } from "./actions.js";
import { Older } from "./history-loader.js";
import { Split, splitOutbox } from "./partition.js";

/** @typedef {import("../../client/transcript/entries.js").Frame} Frame */
/** @typedef {import("../../client/transcript/entries.js").Turn} Turn */
/** @typedef {import("../../client/storage.js").Store} Store */
/** @typedef {import("../elements.js").Parts} Parts */

/**
 * @typedef {object} Surroundings
 * @property {Parts} parts
 * @property {string} url of the WebSocket
 * @property {string} signInPath
 * @property {string} caller who types here
 * @property {boolean} callerIsNew
 * @property {Store} local
 * @property {Store} tab
 * @property {() => void} newChat
 * @property {() => void} help shows what can be typed
 * @property {() => void} switchTheme
 * @property {(session: string, format: "md" | "json") => void} exportAs
 * @property {(session: string) => void} onSession the session is worth an address
 * @property {(title: string | null) => void} onTitle the session is called that now
 * @property {(turn: Turn, text: string) => void} onAnswer an answer is complete
 * @property {() => void} toEnd scrolls to the end
 */

/** Reasons for which nothing can be typed. */
const LOCKING = new Set(["signed_out", "forbidden", "gone", "broken", "changed"]);
/** Those of them after which the session cannot be reached any more. */
const TAKEN = new Set(["forbidden", "gone"]);
/** How many frames of a long session are loaded before somebody scrolls up. */
const TAIL = 60;
const PROBLEM_MS = 8_000;

export class Conversation {
  #parts;
  #client;
  #reading;
  #transcript;
  #queue;
  #split = new Split();
  #composer;
  #connection;
  #notice;
  #older;
  #drafts;
  #around;
  #drawing = new Drawing(() => this.#render());
  /** @type {any} */
  #ticker;
  /** Was there something to load, and is it here? */
  #loading;
  #shownWhole = false;
  /** The first frame that was there when this was drawn last. */
  #firstSeq = 0;
  /** What the live region said last about the connection. */
  #said = "";
  /** A passing message about something that went wrong, and until when it is shown. */
  #problem = { words: "", until: 0, ofDeed: false };

  /** @param {string | null} session @param {Surroundings} around */
  constructor(session, around) {
    const { parts, url, caller, callerIsNew, local, tab } = around;
    this.#loading = session !== null;
    this.#around = around;
    this.#parts = parts;
    const stores = { caller, callerIsNew, local, tab };
    this.#client = new AgentClient({ url, session, ...stores, tail: TAIL });
    this.#reading = new Reading(this.#client.transcript);
    const deeds = this.#messageDeeds();
    this.#transcript = new TranscriptView(parts.list, parts.agent.textContent ?? "", deeds);
    this.#queue = new QueueView(parts.queue, deeds);
    this.#drafts = new Drafts(ownStore(local, caller), ownStore(tab, caller), session);
    this.#composer = new Composer(parts.form, this.#composerDeeds(), this.#drafts);
    this.#notice = new NoticeView(parts.notice, () => this.#toLatest());
    this.#older = new Older(parts.scroller, parts.list, () => this.#client.loadOlder());
    this.#connection = new ConnectionView(parts.dot, parts.strip, around.signInPath, {
      connect: () => this.#client.connect(),
      newChat: around.newChat,
    });
  }

  start() {
    const client = this.#client;
    client.on("change", () => this.#drawing.soon());
    client.on("welcome", (welcome) => this.#welcomed(welcome));
    client.on("session", (session) => this.#named(session));
    client.on("ended", (turn) => this.#announceEnd(turn));
    client.on("withdrawn", (texts) => this.#composer.putBack(texts));
    client.on("problem", (error) => this.#tell(error.content, false));
    this.#ticker = setInterval(() => this.#tick(), 1_000);
    client.networkChanged(navigator.onLine);
    client.connect();
    this.#render();
    this.#composer.focus();
  }

  /** Leaves the session; another conversation may take the page. */
  leave() {
    clearInterval(this.#ticker);
    this.#drawing.stop();
    const { phase, reason } = this.#client.connection;
    const wasTaken = phase === "stopped" && TAKEN.has(reason ?? "");
    if (wasTaken) this.#drafts.moveTo(null); // as what is unsent does
    this.#composer.release();
    this.#drafts.release();
    this.#older.release();
    if (wasTaken) this.#client.abandon();
    else this.#client.close();
    this.#parts.list.replaceChildren();
    this.#parts.queue.replaceChildren();
    for (const part of [this.#parts.strip, this.#parts.notice, this.#parts.queue])
      part.hidden = true;
    this.#parts.newChat.hidden = false;
  }

  wake() {
    this.#client.wake();
  }

  /** @param {boolean} online */
  networkChanged(online) {
    this.#client.networkChanged(online);
  }

  /**
   * @param {string} text
   * @param {import("../../client/outbox/outbox.js").Unsent["options"]} [options]
   */
  ask(text, options) {
    const { phase, reason } = this.#client.connection;
    this.#reading.toLatest();
    this.#client.ask(text, options);
    if (phase === "stopped" && reason === "closed") this.#client.connect();
    this.#problem.until = 0;
    if (phase === "ready") this.#say(t("thinking"));
    this.#around.toEnd();
  }

  #messageDeeds() {
    return messageDeeds({
      client: this.#client,
      reading: this.#reading,
      composer: () => this.#composer,
      ask: (text, options) => this.ask(text, options),
      tell: (words) => this.#tell(words, true),
      say: (words) => this.#say(words),
      redraw: () => this.#drawing.soon(),
    });
  }

  #composerDeeds() {
    return {
      send: (/** @type {string} */ text) => this.#sendTyped(text),
      stop: () => this.#client.stop(),
      excess: (/** @type {string} */ text) => this.#client.excess(text),
      limit: () => this.#client.welcome?.limits?.query_chars,
    };
  }

  /** @param {string} text @returns {boolean} false: it was not taken */
  #sendTyped(text) {
    const { newChat, help, switchTheme, exportAs } = this.#around;
    const tell = (/** @type {string} */ words) => this.#tell(words, true);
    const reach = { client: this.#client, reading: this.#reading, tell };
    const outcome = runTyped(text, { ...reach, newChat, help, switchTheme, exportAs });
    if (outcome === "message") this.ask(messageOf(text));
    return outcome !== "refused";
  }

  /** @param {Frame} welcome */
  #welcomed({ agent, model, demo }) {
    if (agent) setText(this.#parts.agent, agent);
    setText(this.#parts.model, demo ? "" : (model ?? ""));
    this.#parts.demo.hidden = !demo;
    this.#composer.refresh(); // the limit is known now
  }

  /** @param {string} session */
  #named(session) {
    this.#drafts.moveTo(session);
    this.#around.onSession(session);
  }

  #render() {
    const { connection, transcript } = this.#client;
    this.#showConnection();
    const locked = connection.phase === "stopped" && LOCKING.has(connection.reason ?? "");
    this.#composer.setState({ busy: transcript.busy, locked, held: this.#held > 0 });
    if (connection.phase === "replaying") return;
    if (connection.phase === "ready" || connection.phase === "stopped") this.#loading = false;
    this.#showMessages();
    this.#parts.skeleton.hidden = !this.#loading;
    this.#parts.empty.hidden = this.#loading || locked || !this.#transcript.isEmpty;
    this.#around.onTitle(this.#reading.title);
    if (this.#shownWhole) return; // a reconnect leaves a reader where they are
    this.#around.toEnd();
    if (connection.phase === "ready") {
      performance.mark("agent-ready"); // for who measures: the page can be used
      void this.#older.check();
      this.#shownWhole = true;
    }
  }

  #showMessages() {
    const { transcript, outbox } = this.#client;
    const items = this.#reading.items();
    this.#split.update(items);
    const { listed } = this.#split;
    const { queued, unsent, waiting } = splitOutbox(outbox, this.#split.waiting, transcript.busy);
    const show = () => this.#transcript.show(listed, unsent, outbox.sent);
    if (this.#firstSeq > transcript.firstSeq) this.#older.keepPlace(show);
    else show();
    this.#firstSeq = transcript.firstSeq;
    this.#queue.show(waiting, queued, outbox.sent);
    this.#notice.show(items, this.#reading.isBack);
  }

  /** Seconds until the server takes queries again. */
  get #held() {
    return secondsUntil(this.#client.heldUntil, Date.now());
  }

  #tick() {
    this.#showConnection();
    this.#transcript.tick();
    if (this.#client.heldUntil) this.#drawing.soon();
  }

  #showConnection() {
    const { connection, outbox } = this.#client;
    const unsent = outbox.pending.length;
    const deed = this.#problem.ofDeed ? this.#problemNow : "";
    const words = this.#connection.show(connection, unsent, this.#trouble, deed);
    const offersNewChat = ["closed", "forbidden", "gone"].includes(connection.reason ?? "");
    this.#parts.newChat.hidden = connection.phase === "stopped" && offersNewChat;
    this.#announceConnection(words);
  }

  /** What is wrong though there is a connection. */
  get #trouble() {
    const seconds = this.#held;
    if (seconds) return t("tooMany", { seconds });
    return this.#problemNow || [...this.#client.degraded.values()].join(" ");
  }

  get #problemNow() {
    return this.#problem.until > Date.now() ? this.#problem.words : "";
  }

  /** Says a change once, without the seconds of a countdown. @param {string} words */
  #announceConnection(words) {
    const spoken = words.replace(/ \S+ \d+ s(?= ·|$)/, "").replace(/…$/, "");
    if (spoken === this.#said) return;
    if (spoken) this.#say(spoken);
    else if (this.#said && this.#client.connection.phase === "ready")
      this.#say(t("connectedAgain"));
    this.#said = spoken;
  }

  /** The answer as a whole, once; tokens are never spoken. @param {Turn} turn */
  #announceEnd(turn) {
    this.#drawing.now();
    const spoken = this.#transcript.spoken(turn);
    this.#say(spoken);
    if (turn.answer?.content || turn.failure) this.#around.onAnswer(turn, spoken);
  }

  #toLatest() {
    this.#reading.toLatest();
    this.#around.toEnd();
    this.#drawing.soon();
  }

  /** @param {string} words @param {boolean} ofDeed something that somebody did just now failed */
  #tell(words, ofDeed) {
    this.#problem = { words, until: Date.now() + PROBLEM_MS, ofDeed };
    this.#drawing.soon();
  }

  /** @param {string} words */
  #say(words) {
    setText(this.#parts.status, words);
  }
}
