// @ts-check
// The connection on the page: the dot in the header, and the strip above the composer. A connection
// that recovers within a few seconds is not mentioned.

import { connectionLabel, formatConnection } from "../i18n/format.js";
import { t } from "../i18n/translate.js";
import { make, makeButton, setText } from "../ui/dom.js";

/** @typedef {import("../../client/connection/connection.js").ConnectionState} ConnectionState */

/**
 * @typedef {object} ConnectionActions
 * @property {() => void} connect
 * @property {() => void} newChat
 */

const QUIET_MS = 5_000;

export class ConnectionView {
  #dot;
  #strip;
  #message = make("p");
  #buttons = make("div", { class: "buttons" });
  #actions;
  #signInPath;
  /** Which buttons are shown. */
  #offered = "";

  /**
   * @param {HTMLElement} dot
   * @param {HTMLElement} strip
   * @param {string} signInPath empty: the site has no page to sign in
   * @param {ConnectionActions} actions
   */
  constructor(dot, strip, signInPath, actions) {
    this.#dot = dot;
    this.#strip = strip;
    this.#signInPath = signInPath;
    this.#actions = actions;
    strip.replaceChildren(this.#message, this.#buttons);
  }

  /**
   * @param {ConnectionState} state
   * @param {number} unsent
   * @param {string} trouble a message about what is wrong despite a connection, if anything
   * @param {string} problem a message about an action that just failed, if any
   * @returns {string} the message; empty: none
   */
  show(state, unsent, trouble, problem) {
    const now = Date.now();
    const label = connectionLabel(state);
    this.#dot.dataset.phase = state.phase;
    this.#dot.title = label;
    setText(this.#dot, label);
    const worthShowing = isWorthShowing(state, now);
    this.#dot.toggleAttribute("data-trouble", worthShowing);
    const message = problem || (worthShowing ? formatConnection(state, unsent, now) : trouble);
    setText(this.#message, message);
    this.#strip.dataset.reason = (worthShowing && state.reason) || "";
    this.#strip.hidden = !message;
    this.#offer(worthShowing ? offers(state, this.#signInPath) : []);
    return message;
  }

  /** @param {string[]} names */
  #offer(names) {
    const offered = names.join();
    if (offered === this.#offered) return;
    this.#offered = offered;
    this.#buttons.replaceChildren(...names.map((name) => this.#button(name)));
  }

  /** @param {string} name of a label */
  #button(name) {
    if (name === "newChat") return makeButton(t(name), this.#actions.newChat);
    if (name === "reload") return makeButton(t(name), () => location.reload());
    if (name === "signIn") return make("a", { href: signInAddress(this.#signInPath) }, t(name));
    return makeButton(t(name), this.#actions.connect);
  }
}

/** @param {ConnectionState} state @param {number} now */
function isWorthShowing({ phase, reason, lostAt }, now) {
  if (phase === "ready" || phase === "idle") return false;
  if (phase === "stopped") return true;
  if (reason === "offline" || reason === "restarting" || reason === "limited") return true;
  return lostAt !== null && now - lostAt >= QUIET_MS;
}

/** @param {ConnectionState} state @param {string} signInPath @returns {string[]} names of labels */
function offers({ phase, reason }, signInPath) {
  if (reason === "lost" && phase === "waiting") return ["retryNow"];
  if (phase !== "stopped") return [];
  if (reason === "closed") return ["continue", "newChat"];
  if (reason === "signed_out") return [...(signInPath ? ["signIn"] : []), "tryAgain"];
  if (reason === "broken" || reason === "changed") return ["reload"];
  return ["newChat"];
}

/** The sign-in page, with the way back to this one. @param {string} path */
export function signInAddress(path) {
  const here = location.pathname + location.search;
  return `${path}?${new URLSearchParams({ next: here })}`;
}
