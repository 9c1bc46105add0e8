// @ts-check
// One session on the page, from opening to leaving: joins the client with what is shown.
// Renders at most once per animation frame, and not while a replay comes in.

import { AgentClient } from "../client/client.js";
import { Composer } from "./composer.js";
import { ConnectionView } from "./connection-view.js";
import { setText } from "./dom.js";
import { TranscriptView } from "./transcript-view.js";
import { WORDS } from "./words.js";

/** @typedef {import("../client/entries.js").Frame} Frame */
/** @typedef {import("../client/entries.js").Turn} Turn */
/** @typedef {import("../client/storage.js").Store} Store */

/**
 * @typedef {object} Parts of the page
 * @property {HTMLElement} list
 * @property {HTMLElement} empty shown while there is nothing else
 * @property {HTMLElement} skeleton shown until the first replay is here
 * @property {HTMLFormElement} form
 * @property {HTMLElement} dot
 * @property {HTMLElement} strip
 * @property {HTMLElement} status the one live region
 * @property {HTMLElement} agent
 * @property {HTMLElement} model
 * @property {HTMLElement} demo
 * @property {HTMLButtonElement} newChat
 */

/**
 * @typedef {object} Surroundings
 * @property {Parts} parts
 * @property {string} url of the WebSocket
 * @property {string} signInPath
 * @property {Store} local
 * @property {Store} tab
 * @property {() => void} newChat
 * @property {(session: string) => void} onSession the session is worth an address
 * @property {() => void} toEnd scrolls to the end
 */

/** Reasons for which nothing can be typed. */
const LOCKING = new Set(["signed_out", "forbidden", "gone", "broken"]);

export class Conversation {
  #parts;
  #client;
  #transcript;
  #composer;
  #connection;
  #around;
  #frame = 0;
  /** @type {any} */
  #ticker;
  /** Was there something to load, and is it here? */
  #loading;
  #shownWhole = false;
  /** What the live region said last about the connection. */
  #said = "";
  /** A passing message about something that went wrong. */
  #problem = "";

  /** @param {string | null} session @param {Surroundings} around */
  constructor(session, around) {
    const { parts, url, local, tab } = around;
    this.#loading = session !== null;
    this.#around = around;
    this.#parts = parts;
    this.#client = new AgentClient({ url, session, local, tab });
    const agentName = parts.agent.textContent ?? "";
    this.#transcript = new TranscriptView(parts.list, agentName, {
      resend: (id) => this.#client.resend(id),
      edit: (id) => this.#composer.putBack([this.#client.withdraw(id)]),
    });
    this.#composer = new Composer(parts.form, this.#deeds(), this.#drafts());
    this.#connection = new ConnectionView(parts.dot, parts.strip, around.signInPath, {
      connect: () => this.#client.connect(),
      newChat: around.newChat,
    });
  }

  start() {
    const client = this.#client;
    client.on("change", () => this.#schedule());
    client.on("welcome", (welcome) => this.#welcomed(welcome));
    client.on("session", (session) => this.#named(session));
    client.on("ended", (turn) => this.#announceEnd(turn));
    client.on("withdrawn", (texts) => this.#composer.putBack(texts));
    client.on("problem", (error) => this.#tell(error.content));
    this.#ticker = setInterval(() => this.#showConnection(), 1_000);
    client.networkChanged(navigator.onLine);
    client.connect();
    this.#render();
    this.#composer.focus();
  }

  /** Leaves the session; another conversation may take the page. */
  leave() {
    clearInterval(this.#ticker);
    cancelAnimationFrame(this.#frame);
    this.#composer.release();
    const { phase } = this.#client.connection;
    const wasTaken = phase === "stopped" && LOCKING.has(this.#client.connection.reason ?? "");
    if (wasTaken) this.#client.abandon();
    else this.#client.close();
    this.#parts.list.replaceChildren();
    this.#parts.strip.hidden = true;
    this.#parts.newChat.hidden = false;
  }

  wake() {
    this.#client.wake();
  }

  /** @param {boolean} online */
  networkChanged(online) {
    this.#client.networkChanged(online);
  }

  /** @param {string} text */
  ask(text) {
    const { phase, reason } = this.#client.connection;
    this.#client.ask(text);
    if (phase === "stopped" && reason === "closed") this.#client.connect();
    this.#problem = "";
    if (phase === "ready") this.#say(WORDS.thinking);
    this.#around.toEnd();
  }

  #deeds() {
    return {
      send: (/** @type {string} */ text) => this.ask(text),
      stop: () => this.#client.stop(),
      excess: (/** @type {string} */ text) => this.#client.excess(text),
      limit: () => this.#client.welcome?.limits?.query_chars,
    };
  }

  /** The draft of a session outlives the tab; the one of a new chat belongs to the tab. */
  #drafts() {
    const { local, tab } = this.#around;
    const place = () => {
      const named = new URLSearchParams(location.search).get("session");
      return named
        ? { store: local, key: `agent.draft.${named}` }
        : { store: tab, key: "agent.draft.new" };
    };
    return {
      load: () => place().store.get(place().key) ?? "",
      save: (/** @type {string} */ text) => {
        const { store, key } = place();
        if (text) store.set(key, text);
        else store.remove(key);
      },
    };
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
    this.#around.onSession(session);
  }

  #schedule() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#render();
    });
  }

  #render() {
    const { connection, transcript, outbox } = this.#client;
    this.#showConnection();
    const locked = connection.phase === "stopped" && LOCKING.has(connection.reason ?? "");
    this.#composer.setState(transcript.busy, locked);
    if (connection.phase === "replaying") return;
    if (connection.phase === "ready" || connection.phase === "stopped") this.#loading = false;
    this.#transcript.show(transcript.entries(), outbox);
    this.#parts.skeleton.hidden = !this.#loading;
    this.#parts.empty.hidden = this.#loading || locked || !this.#transcript.isEmpty;
    if (!this.#shownWhole) this.#around.toEnd();
    this.#shownWhole = connection.phase === "ready";
  }

  #showConnection() {
    const { connection, outbox, degraded } = this.#client;
    const trouble = this.#problem || [...degraded.values()].join(" ");
    const words = this.#connection.show(connection, outbox.pending.length, trouble);
    const offersNewChat = ["closed", "forbidden", "gone"].includes(connection.reason ?? "");
    this.#parts.newChat.hidden = connection.phase === "stopped" && offersNewChat;
    this.#announceConnection(words);
  }

  /** Says a change once, without the seconds of a countdown. @param {string} words */
  #announceConnection(words) {
    const spoken = words.replace(/ in \d+ s/, "");
    if (spoken === this.#said) return;
    if (spoken) this.#say(spoken);
    else if (this.#said && this.#client.connection.phase === "ready") this.#say(WORDS.connected);
    this.#said = spoken;
  }

  /** The answer as a whole, once; tokens are never spoken. @param {Turn} turn */
  #announceEnd(turn) {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#render();
    this.#say(this.#transcript.spoken(turn.key));
  }

  /** @param {string} words */
  #tell(words) {
    this.#problem = words;
    this.#schedule();
  }

  /** @param {string} words */
  #say(words) {
    setText(this.#parts.status, words);
  }
}
