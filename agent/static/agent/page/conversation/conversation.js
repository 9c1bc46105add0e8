// @ts-check
// One session on the page, from opening to leaving: connects the client, the composer and the
// views. Renders at most once per animation frame, and not during a replay.

import { AgentClient } from "../../client/client.js";
import { Reading } from "../../client/reading.js";
import { callerStore } from "../../client/storage.js";
import { Composer } from "../composer/composer.js";
import { Drafts } from "../composer/drafts.js";
import { messageOf } from "../composer/slash.js";
import { t } from "../i18n/translate.js";
import { StatusView } from "../status/status-view.js";
import { setText } from "../ui/dom.js";
import { keepFocus } from "../ui/focus.js";
import { RenderScheduler } from "../ui/scheduler.js";
import { messageActions } from "./actions.js";
import { ConversationView } from "./conversation-view.js";
import { runTyped } from "./typed-commands.js";

/** @typedef {import("../../client/transcript/entries.js").Frame} Frame */
/** @typedef {import("../../client/transcript/entries.js").Turn} Turn */
/** @typedef {import("../../client/storage.js").Store} Store */
/** @typedef {import("../elements.js").PageElements} PageElements */

/**
 * @typedef {object} PageContext
 * @property {PageElements} elements
 * @property {string} url of the WebSocket
 * @property {string} signInPath
 * @property {string} caller the user of the page
 * @property {boolean} callerIsNew
 * @property {Store} local
 * @property {Store} tab
 * @property {() => void} newChat
 * @property {() => void} showHelp
 * @property {() => void} switchTheme
 * @property {(session: string, format: "md" | "json") => void} exportAs
 * @property {(session: string) => void} onSession the session is worth an address
 * @property {(title: string | null) => void} onTitle the session's title, whenever it may have changed
 * @property {(turn: Turn, text: string) => void} onAnswer an answer is complete
 * @property {() => void} scrollToEnd
 */

/** Reasons for which nothing can be typed. */
const LOCKING = new Set(["signed_out", "forbidden", "gone", "broken", "changed"]);
/** Reasons after which the session cannot be reached any more. */
const UNREACHABLE = new Set(["forbidden", "gone"]);
/** How many frames of a long session are loaded before the reader scrolls up. */
const TAIL = 60;

export class Conversation {
  #context;
  #client;
  #reading;
  #drafts;
  #composer;
  #status;
  #view;
  #scheduler = new RenderScheduler(() => this.#render());
  /** @type {any} */
  #ticker;

  /** @param {string | null} session @param {PageContext} context */
  constructor(session, context) {
    const { elements, url, caller, callerIsNew, local, tab, signInPath, newChat } = context;
    this.#context = context;
    const stores = { caller, callerIsNew, local, tab };
    this.#client = new AgentClient({ url, session, ...stores, tail: TAIL });
    this.#reading = new Reading(this.#client.transcript);
    this.#drafts = new Drafts(callerStore(local, caller), callerStore(tab, caller), session);
    this.#composer = new Composer(elements.form, this.#composerActions(), this.#drafts);
    this.#status = new StatusView(this.#client, elements, signInPath, newChat);
    this.#view = new ConversationView(this.#client, this.#reading, elements, {
      message: this.#messageActions(),
      showLatest: () => this.#showLatest(),
      scrollToEnd: context.scrollToEnd,
    });
  }

  start() {
    const client = this.#client;
    client.on("change", () => this.#scheduler.request());
    client.on("welcome", (welcome) => this.#welcomed(welcome));
    client.on("session", (session) => this.#sessionKept(session));
    client.on("ended", (turn) => this.#ended(turn));
    client.on("returned", (texts) => this.#composer.insert(texts));
    client.on("problem", (error) => this.#showProblem(error.content, false));
    this.#ticker = setInterval(() => this.#tick(), 1_000);
    client.networkChanged(navigator.onLine);
    client.connect();
    this.#render();
    this.#composer.focus();
  }

  /** Leaves the session; another conversation may use the page. */
  leave() {
    clearInterval(this.#ticker);
    this.#scheduler.stop();
    const { phase, reason } = this.#client.connection;
    const isUnreachable = phase === "stopped" && UNREACHABLE.has(reason ?? "");
    if (isUnreachable) this.#drafts.moveTo(null); // as the client does with the outbox
    this.#composer.dispose();
    this.#drafts.dispose();
    if (isUnreachable) this.#client.abandon();
    else this.#client.close();
    this.#view.dispose();
    this.#status.dispose();
  }

  wake() {
    const { phase, reason } = this.#client.connection;
    // somebody may have signed in meanwhile, in another tab
    if (phase === "stopped" && reason === "signed_out") this.#client.connect();
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
    this.#reading.showLatest();
    this.#client.ask(text, options);
    if (phase === "stopped" && reason === "closed") this.#client.connect();
    this.#status.clearProblem();
    if (phase === "ready") this.#status.announce(t("thinking"));
    this.#context.scrollToEnd();
  }

  #messageActions() {
    return messageActions({
      client: this.#client,
      reading: this.#reading,
      composer: this.#composer,
      ask: (text, options) => this.ask(text, options),
      showProblem: (message) => this.#showProblem(message, true),
      announce: (text) => this.#status.announce(text),
      render: () => this.#scheduler.request(),
      newChat: this.#context.newChat,
    });
  }

  #composerActions() {
    return {
      send: (/** @type {string} */ text) => this.#sendTyped(text),
      stop: () => this.#client.stop(),
      excess: (/** @type {string} */ text) => this.#client.excess(text),
      limit: () => this.#client.welcome?.limits?.query_chars,
    };
  }

  /** @param {string} text @returns {boolean} false: it was refused */
  #sendTyped(text) {
    const { newChat, showHelp, switchTheme, exportAs } = this.#context;
    const outcome = runTyped(text, {
      client: this.#client,
      reading: this.#reading,
      showProblem: (message) => this.#showProblem(message, true),
      newChat,
      showHelp,
      switchTheme,
      exportAs,
    });
    if (outcome === "message") this.ask(messageOf(text));
    return outcome !== "refused";
  }

  /** @param {Frame} welcome */
  #welcomed({ agent, model, demo }) {
    const { elements } = this.#context;
    if (agent) setText(elements.agent, agent);
    setText(elements.model, demo ? "" : (model ?? ""));
    elements.demo.hidden = !demo;
    this.#composer.refresh(); // the length limit is known now
  }

  /** @param {string} session */
  #sessionKept(session) {
    this.#drafts.moveTo(session);
    this.#context.onSession(session);
  }

  /** Announces a complete answer once, as a whole; tokens are never read out. @param {Turn} turn */
  #ended(turn) {
    this.#scheduler.runNow();
    const spoken = this.#view.spoken(turn);
    this.#status.announce(spoken);
    if (turn.answer?.content || turn.failure) this.#context.onAnswer(turn, spoken);
  }

  #render() {
    keepFocus(() => this.#draw(), this.#context.elements.form);
  }

  #draw() {
    const { connection, transcript } = this.#client;
    this.#status.show();
    const locked = connection.phase === "stopped" && LOCKING.has(connection.reason ?? "");
    const paused = this.#status.pauseSeconds > 0;
    this.#composer.setState({ busy: transcript.busy, locked, paused });
    if (connection.phase === "replaying") return;
    this.#view.show(locked);
    this.#context.onTitle(this.#reading.title);
  }

  #tick() {
    this.#status.show();
    this.#view.tick();
    if (this.#client.pausedUntil) this.#scheduler.request();
  }

  #showLatest() {
    this.#reading.showLatest();
    this.#context.scrollToEnd();
    this.#scheduler.request();
  }

  /** @param {string} message @param {boolean} ofAction an action of the user failed just now */
  #showProblem(message, ofAction) {
    this.#status.showProblem(message, ofAction);
    this.#scheduler.request();
  }
}
