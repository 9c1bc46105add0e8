// @ts-check
// The drafts: text that was typed and not sent. The draft of a session survives the tab; the draft of
// a new chat belongs to the tab until the session has an id. It is stored when the typing pauses, and
// at the latest when the page is left: storing a long text at each key would delay typing.

/** @typedef {import("../../client/storage.js").Store} Store */

const PAUSE_MS = 300;

export class Drafts {
  #local;
  #tab;
  /** @type {string | null} */
  #session;
  /** The text that is not stored yet. @type {string | null} */
  #text = null;
  /** @type {any} */
  #timer = null;
  #abort = new AbortController();

  /** @param {Store} local @param {Store} tab @param {string | null} session null: a new chat */
  constructor(local, tab, session) {
    this.#local = local;
    this.#tab = tab;
    this.#session = session;
    const { signal } = this.#abort;
    window.addEventListener("pagehide", () => this.#persist(), { signal });
    document.addEventListener("visibilitychange", () => this.#persist(), { signal });
  }

  /** Stores the draft and removes the listeners. */
  dispose() {
    this.#persist();
    this.#abort.abort();
  }

  load() {
    return this.#text ?? this.#store.get(this.#key) ?? "";
  }

  /** @param {string} text */
  save(text) {
    this.#text = text;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#persist(), PAUSE_MS);
  }

  /** Makes it the draft of another session. @param {string | null} session null: a new chat */
  moveTo(session) {
    if (session === this.#session) return;
    const text = this.load();
    this.#store.remove(this.#key);
    this.#session = session;
    this.#text = text;
    this.#persist();
  }

  #persist() {
    clearTimeout(this.#timer);
    if (this.#text) this.#store.set(this.#key, this.#text);
    else if (this.#text === "") this.#store.remove(this.#key);
    this.#text = null;
  }

  get #store() {
    return this.#session ? this.#local : this.#tab;
  }

  get #key() {
    return `agent.draft.${this.#session ?? "new"}`;
  }
}
