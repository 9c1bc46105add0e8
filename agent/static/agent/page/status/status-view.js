// @ts-check
// The status of a conversation: the connection, a problem that passes, and the one live region,
// which a screen reader reads out.

import { secondsUntil } from "../i18n/format.js";
import { t } from "../i18n/translate.js";
import { setText } from "../ui/dom.js";
import { ConnectionView } from "./connection-view.js";

/** @typedef {import("../../client/client.js").AgentClient} AgentClient */
/** @typedef {import("../elements.js").PageElements} PageElements */

const PROBLEM_MS = 8_000;
/** Reasons whose message has a button for a new chat. */
const OFFERING_NEW_CHAT = ["closed", "forbidden", "gone"];

export class StatusView {
  #client;
  #elements;
  #connection;
  /** The last announcement about the connection. */
  #announced = "";
  /** A problem and until when it is shown. */
  #problem = { message: "", until: 0, ofAction: false };

  /**
   * @param {AgentClient} client
   * @param {PageElements} elements
   * @param {string} signInPath
   * @param {() => void} newChat
   */
  constructor(client, elements, signInPath, newChat) {
    this.#client = client;
    this.#elements = elements;
    this.#connection = new ConnectionView(elements.dot, elements.strip, signInPath, {
      connect: () => client.connect(),
      newChat,
    });
  }

  dispose() {
    this.#elements.strip.hidden = true;
    this.#elements.newChat.hidden = false;
  }

  show() {
    const { connection, outbox } = this.#client;
    const unsent = outbox.pending.length;
    const ofAction = this.#problem.ofAction ? this.#currentProblem : "";
    const message = this.#connection.show(connection, unsent, this.#trouble, ofAction);
    const isOffered = OFFERING_NEW_CHAT.includes(connection.reason ?? "");
    this.#elements.newChat.hidden = connection.phase === "stopped" && isOffered;
    this.#announceConnection(message);
  }

  /** @param {string} message @param {boolean} ofAction an action of the user failed just now */
  showProblem(message, ofAction) {
    this.#problem = { message, until: Date.now() + PROBLEM_MS, ofAction };
  }

  clearProblem() {
    this.#problem.until = 0;
  }

  /** @param {string} text */
  announce(text) {
    setText(this.#elements.status, text);
  }

  /** Seconds until the server accepts queries again. */
  get pauseSeconds() {
    return secondsUntil(this.#client.pausedUntil, Date.now());
  }

  /** What is wrong although there is a connection. */
  get #trouble() {
    const seconds = this.pauseSeconds;
    if (seconds) return t("tooMany", { seconds });
    return this.#currentProblem || [...this.#client.degraded.values()].join(" ");
  }

  get #currentProblem() {
    return this.#problem.until > Date.now() ? this.#problem.message : "";
  }

  /** Announces a change once, without the seconds of a countdown. @param {string} message */
  #announceConnection(message) {
    const spoken = message.replace(/ \S+ \d+ s(?= ·|$)/, "").replace(/…$/, "");
    if (spoken === this.#announced) return;
    if (spoken) this.announce(spoken);
    else if (this.#announced && this.#client.connection.phase === "ready")
      this.announce(t("connectedAgain"));
    this.#announced = spoken;
  }
}
