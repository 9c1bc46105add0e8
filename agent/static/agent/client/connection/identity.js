// @ts-check
// The session that a client is in and its right to come back to it: the session's id, the token,
// and whether the server has stored anything of the session. Notices when the caller changes.

/** @typedef {import("../transcript/entries.js").Frame} Frame */

export class Identity {
  /** @type {string | null} */
  session;
  /** The program named the session itself, so it has to learn if that session does not exist. */
  isChosen;
  /** The session has a row in the server's database, or may get one. */
  isKept = false;
  /** The token that the program gave. */
  #givenToken;
  /** @type {string | null} */
  #token;
  /** The caller of all connections so far; empty: unknown. */
  #caller;
  #callerIsNew;

  /** @param {import("../options.js").Options} options */
  constructor({ session = null, token = null, caller = "", callerIsNew = false }) {
    this.#caller = caller;
    this.#callerIsNew = callerIsNew;
    this.session = session;
    this.isChosen = session !== null;
    this.#givenToken = this.#token = token;
  }

  get protocols() {
    return ["agent.v1", ...(this.#token ? [`bearer.${this.#token}`] : [])];
  }

  /**
   * The address to connect to.
   *
   * @param {string} base
   * @param {number} lastSeq number of the newest durable frame that the client has
   * @param {number} tail how many frames to ask for while the client has none; 0: all
   */
  url(base, lastSeq, tail) {
    if (!this.session) return base;
    const query = new URLSearchParams({ session: this.session });
    if (lastSeq || !tail) query.set("last_seq", String(lastSeq));
    else query.set("tail", String(tail));
    return `${base}?${query}`;
  }

  /**
   * Whether the caller changed: somebody signed in or out, so the cookie is another's. A token
   * always belongs to the same caller.
   *
   * @param {Frame} welcome
   */
  isOtherCaller({ caller, resume_token }) {
    if (this.#token) return false;
    if (caller) {
      this.#caller ||= caller;
      return caller !== this.#caller;
    }
    const isAnonymous = Boolean(resume_token); // an old server names no caller at all
    return isAnonymous && this.#caller !== "" && !this.#callerIsNew;
  }

  /**
   * Takes session and token from a welcome.
   *
   * @param {Frame} welcome
   * @returns {boolean} it is another session than before
   */
  enter(welcome) {
    const isOther = this.session !== welcome.session;
    if (isOther) this.isKept = false;
    this.session = welcome.session;
    this.#token ??= welcome.resume_token ?? null;
    return isOther;
  }

  /** Forgets the session; the next connection opens a new one. */
  startOver() {
    this.session = null;
    this.isChosen = this.isKept = false;
    this.#token = this.#givenToken;
  }
}
