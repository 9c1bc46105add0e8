// @ts-check
// Queries that the server has not acknowledged yet, in memory and in storage, so that they outlive
// a lost connection and a reload. The server never runs one client id twice, so whatever is in
// here may be sent again. Sends nothing itself.
//
// Each query has a storage key of its own (`agent.outbox.<session>.<id>`), because two tabs of a
// session share the storage and must not overwrite each other's. Before the session has a name
// the keys (`agent.outbox.new.<id>`) are in the tab's storage, which no other tab reads.

/** @typedef {import("../storage.js").Store} Store */

/**
 * @typedef {object} Unsent
 * @property {string} id client id of the query
 * @property {string} content
 * @property {string} timestamp ISO 8601
 * @property {{priority?: string, on_busy?: string, replaces?: string}} options
 * @property {{code: string, content: string} | null} refusal why the server did not take it
 * @property {boolean} [stopped] it went out and was stopped: it is not sent again, and the server is
 *   asked whether it arrived
 * @property {string} [instead] the waiting turn in whose place it is asked
 */

export class Outbox {
  /** @type {Unsent[]} */
  entries = [];
  /** Ids that went out on the present connection. @type {Set<string>} */
  sent = new Set();
  /** Ids that went out at any time: the server may have them. @type {Set<string>} */
  #everSent = new Set();
  #local;
  #tab;
  /** @type {string | null} */
  #session;

  /**
   * @param {Store} local survives the tab
   * @param {Store} tab belongs to the tab
   * @param {string | null} session null: not named yet
   */
  constructor(local, tab, session) {
    this.#local = local;
    this.#tab = tab;
    this.#session = session;
    this.#load();
  }

  /** The queries to send: those that the server has not refused and nobody stopped. */
  get pending() {
    return this.entries.filter((entry) => !entry.refusal && !entry.stopped);
  }

  /** The queries that were stopped, of which nobody knows yet whether they arrived. */
  get stopped() {
    return this.entries.filter((entry) => entry.stopped);
  }

  /** @param {string} id */
  get(id) {
    return this.entries.find((entry) => entry.id === id);
  }

  /**
   * @param {Unsent} entry
   */
  add(entry) {
    this.entries.push(entry);
    this.#save(entry);
  }

  /**
   * @param {string} id
   * @returns {Unsent | undefined} what was there
   */
  remove(id) {
    const entry = this.get(id);
    if (!entry) return undefined;
    this.entries = this.entries.filter((other) => other !== entry);
    this.sent.delete(id);
    this.#store.remove(this.#key(id));
    return entry;
  }

  /** @param {string} id */
  markSent(id) {
    this.sent.add(id);
    this.#everSent.add(id);
  }

  /** The server cannot have seen this one. @param {string} id */
  neverSent(id) {
    return !this.#everSent.has(id);
  }

  /** It is not to be sent again, also by the next page. @param {string} id */
  stop(id) {
    const entry = this.get(id);
    if (!entry) return;
    entry.stopped = true;
    this.#save(entry);
  }

  /**
   * The server refused it; it stays until somebody sends it again or takes it back.
   *
   * @param {string} id
   * @param {{code: string, content: string} | null} refusal null: to be sent again
   */
  refuse(id, refusal) {
    const entry = this.get(id);
    if (!entry) return;
    entry.refusal = refusal;
    this.sent.delete(id);
    this.#save(entry);
  }

  /**
   * Keeps what is here under another session's name.
   *
   * @param {string | null} session
   */
  moveTo(session) {
    if (session === this.#session) return;
    for (const entry of this.entries) this.#store.remove(this.#key(entry.id));
    this.#session = session;
    for (const entry of this.entries) this.#save(entry);
  }

  get #store() {
    return this.#session ? this.#local : this.#tab;
  }

  /** @param {string} id */
  #key(id) {
    return `agent.outbox.${this.#session ?? "new"}.${id}`;
  }

  /** @param {Unsent} entry */
  #save(entry) {
    this.#store.set(this.#key(entry.id), JSON.stringify(entry));
  }

  #load() {
    for (const key of this.#store.keys(this.#key(""))) {
      const entry = parsed(this.#store.get(key));
      if (entry) {
        this.entries.push(entry);
        this.#everSent.add(entry.id); // perhaps: the page that knew is gone
      }
    }
    this.entries.sort((a, b) => Date.parse(a.timestamp) - Date.parse(b.timestamp));
  }
}

/**
 * @param {string | null} text
 * @returns {Unsent | null} null for what another program left there
 */
function parsed(text) {
  try {
    const entry = JSON.parse(text ?? "");
    return typeof entry.id === "string" && typeof entry.content === "string" ? entry : null;
  } catch {
    return null;
  }
}
