// @ts-check
// Which session a client is in and how it may come back to it: the session's id, the token, and
// whether there is anything to come back to. And whether it is still the same caller who does.

/** @typedef {import("../transcript/entries.js").Frame} Frame */

export class Identity {
  /** @type {string | null} */
  session;
  /** The session's name came from outside, so it is worth telling that it is gone. */
  named;
  /** The session has, or may get, a row. */
  kept = false;
  #ownToken;
  /** @type {string | null} */
  #token;
  /** Who it was so far; empty: not known. */
  #caller;
  #callerIsNew;

  /** @param {import("../options.js").Options} options */
  constructor({ session = null, token = null, caller = "", callerIsNew = false }) {
    this.#caller = caller;
    this.#callerIsNew = callerIsNew;
    this.session = session;
    this.named = session !== null;
    this.#ownToken = this.#token = token;
  }

  get protocols() {
    return ["agent.v1", ...(this.#token ? [`bearer.${this.#token}`] : [])];
  }

  /**
   * Where to connect.
   *
   * @param {string} base
   * @param {number} lastSeq the newest durable frame that is held
   * @param {number} tail how many to ask for while none is held; 0: all
   */
  url(base, lastSeq, tail) {
    if (!this.session) return base;
    const query = new URLSearchParams({ session: this.session });
    if (lastSeq || !tail) query.set("last_seq", String(lastSeq));
    else query.set("tail", String(tail));
    return `${base}?${query}`;
  }

  /**
   * Whether somebody signed in or out since: the cookie is another's. A token is one caller's.
   *
   * @param {Frame} welcome
   */
  isOther({ caller, resume_token }) {
    if (this.#token) return false;
    if (caller) {
      this.#caller ||= caller;
      return caller !== this.#caller;
    }
    const isNobody = Boolean(resume_token); // an old server names nobody at all
    return isNobody && this.#caller !== "" && !this.#callerIsNew;
  }

  /** @param {Frame} welcome @returns {boolean} it is another session than before */
  welcomed(welcome) {
    const isOther = this.session !== welcome.session;
    if (isOther) this.kept = false;
    this.session = welcome.session;
    this.#token ??= welcome.resume_token ?? null;
    return isOther;
  }

  /** Lets go of the session. */
  startOver() {
    this.session = null;
    this.named = this.kept = false;
    this.#token = this.#ownToken;
  }
}
