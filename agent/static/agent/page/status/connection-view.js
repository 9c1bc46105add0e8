// @ts-check
// What the page says about the connection: the dot in the header, and the strip above the
// composer. Quiet: a drop that heals within a few seconds is not worth a word.

import { connectionLabel, connectionWords } from "../i18n/format.js";
import { t } from "../i18n/translate.js";
import { make, makeButton, setText } from "../ui/dom.js";

/** @typedef {import("../../client/connection/connection.js").ConnectionState} ConnectionState */

/**
 * @typedef {object} Ways out of a lost connection
 * @property {() => void} connect
 * @property {() => void} newChat
 */

const QUIET_MS = 5_000;

export class ConnectionView {
  #dot;
  #strip;
  #words = make("p");
  #buttons = make("div", { class: "buttons" });
  #ways;
  #signInPath;
  /** Which buttons are shown. */
  #offered = "";

  /**
   * @param {HTMLElement} dot
   * @param {HTMLElement} strip
   * @param {string} signInPath empty: the site has no page to sign in
   * @param {Ways} ways
   */
  constructor(dot, strip, signInPath, ways) {
    this.#dot = dot;
    this.#strip = strip;
    this.#signInPath = signInPath;
    this.#ways = ways;
    strip.replaceChildren(this.#words, this.#buttons);
  }

  /**
   * @param {ConnectionState} state
   * @param {number} unsent
   * @param {string} trouble what the server cannot reach, if anything
   * @param {string} problem what just went wrong with something that somebody did, if anything
   * @returns {string} what is said; empty: nothing
   */
  show(state, unsent, trouble, problem) {
    const now = Date.now();
    const label = connectionLabel(state);
    this.#dot.dataset.phase = state.phase;
    this.#dot.title = label;
    setText(this.#dot, label);
    const worthTelling = isWorthTelling(state, now);
    this.#dot.toggleAttribute("data-trouble", worthTelling);
    const words = problem || (worthTelling ? connectionWords(state, unsent, now) : trouble);
    setText(this.#words, words);
    this.#strip.dataset.reason = (worthTelling && state.reason) || "";
    this.#strip.hidden = !words;
    this.#offer(worthTelling ? offers(state, this.#signInPath) : []);
    return words;
  }

  /** @param {string[]} names */
  #offer(names) {
    const offered = names.join();
    if (offered === this.#offered) return;
    this.#offered = offered;
    this.#buttons.replaceChildren(...names.map((name) => this.#way(name)));
  }

  /** @param {string} name of a word */
  #way(name) {
    if (name === "newChat") return makeButton(t(name), this.#ways.newChat);
    if (name === "reload") return makeButton(t(name), () => location.reload());
    if (name === "signIn") return make("a", { href: signInAddress(this.#signInPath) }, t(name));
    return makeButton(t(name), this.#ways.connect);
  }
}

/** @param {ConnectionState} state @param {number} now */
function isWorthTelling({ phase, reason, lostAt }, now) {
  if (phase === "ready" || phase === "idle") return false;
  if (phase === "stopped") return true;
  if (reason === "offline" || reason === "restarting" || reason === "limited") return true;
  return lostAt !== null && now - lostAt >= QUIET_MS;
}

/** @param {ConnectionState} state @param {string} signInPath @returns {string[]} names of words */
function offers({ phase, reason }, signInPath) {
  if (reason === "lost" && phase === "waiting") return ["retryNow"];
  if (phase !== "stopped") return [];
  if (reason === "closed") return ["continue", "newChat"];
  if (reason === "signed_out") return [...(signInPath ? ["signIn"] : []), "tryAgain"];
  if (reason === "broken" || reason === "changed") return ["reload"];
  return ["newChat"];
}

/** @param {string} path */
function signInAddress(path) {
  const here = location.pathname + location.search;
  return `${path}?${new URLSearchParams({ next: here })}`;
}
