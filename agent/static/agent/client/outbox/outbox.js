// @ts-check
// Queries that the server has not acknowledged yet, in memory and in storage, so that they survive
// a lost connection and a reload. The server never runs the same client id twice, so every query in
// the outbox may be sent again. Sends nothing itself.
//
// Each query has a storage key of its own (`agent.outbox.<session>.<id>`), because two tabs of a
// session share the storage and must not overwrite each other's queries. Before the session has an
// id, the keys (`agent.outbox.new.<id>`) are in the tab's storage, which no other tab reads.

/** @typedef {import("../storage.js").Store} Store */

/**
 * @typedef {object} Unsent a query in the outbox; stored as JSON
 * @property {string} id client id of the query
 * @property {string} content
 * @property {string} timestamp ISO 8601
 * @property {{priority?: string, on_busy?: string, replaces?: string}} options
 * @property {{code: string, content: string} | null} refusal why the server did not accept it
 * @property {boolean} [stopped] it was sent and then stopped: it is not sent again, and the server
 *   is asked whether it arrived
 * @property {string} [instead] the waiting turn that this query replaces
 */

export class Outbox {
  /** @type {Unsent[]} */
  entries = [];
  /** Ids that were sent on the present connection. @type {Set<string>} */
  sent = new Set();
  /** Ids that were sent at any time: the server may have them. @type {Set<string>} */
  #everSent = new Set();
  #local;
  #tab;
  /** @type {string | null} */
  #session;

  /**
   * @param {Store} local survives the tab
   * @param {Store} tab belongs to the tab
   * @param {string | null} session null: the session has no id yet
   */
  constructor(local, tab, session) {
    this.#local = local;
    this.#tab = tab;
    this.#session = session;
    this.#load();
  }

  /** The queries to send: neither refused by the server nor stopped. */
  get pending() {
    return this.entries.filter((entry) => !entry.refusal && !entry.stopped);
  }

  /** The stopped queries that may or may not have arrived. */
  get stopped() {
    return this.entries.filter((entry) => entry.stopped);
  }

  /** @param {string} id */
  get(id) {
    return this.entries.find((entry) => entry.id === id);
  }

  /** @param {Unsent} entry */
  add(entry) {
    this.entries.push(entry);
    this.#save(entry);
  }

  /**
   * @param {string} id
   * @returns {Unsent | undefined} the removed query
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

  /** The server refused this query for now: it does not have it. @param {string} id */
  markUnsent(id) {
    this.sent.delete(id);
    this.#everSent.delete(id);
  }

  /** The server cannot have seen this query. @param {string} id */
  neverSent(id) {
    return !this.#everSent.has(id);
  }

  /** The query must not be sent again, even after a reload. @param {string} id */
  markStopped(id) {
    const entry = this.get(id);
    if (!entry) return;
    entry.stopped = true;
    this.#save(entry);
  }

  /**
   * The server refused a query; it stays until it is sent again or withdrawn.
   *
   * @param {string} id
   * @param {{code: string, content: string} | null} refusal null: send it again
   */
  setRefusal(id, refusal) {
    const entry = this.get(id);
    if (!entry) return;
    entry.refusal = refusal;
    this.sent.delete(id);
    this.#save(entry);
  }

  /**
   * Stores the queries under another session.
   *
   * @param {string | null} session null: the next new one
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
        this.#everSent.add(entry.id); // perhaps: only the page before this one knew
      }
    }
    this.entries.sort((a, b) => Date.parse(a.timestamp) - Date.parse(b.timestamp));
  }
}

/**
 * @param {string | null} text
 * @returns {Unsent | null} null: another program stored something else there
 */
function parsed(text) {
  try {
    const entry = JSON.parse(text ?? "");
    return typeof entry.id === "string" && typeof entry.content === "string" ? entry : null;
  } catch {
    return null;
  }
}
