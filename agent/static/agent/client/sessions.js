// @ts-check
// The HTTP API of the caller's sessions: list and search, rename, delete, the address of a download.
// Knows no DOM. For pages of the same site, which have a cookie and Django's CSRF token.

/**
 * @typedef {object} Session
 * @property {string} id
 * @property {string} title empty until the session is renamed
 * @property {string} preview beginning of its first question
 * @property {"open" | "closing" | "closed"} state
 * @property {string} changed_at time of its newest stored frame, ISO 8601
 * @property {string} last_activity_at ISO 8601
 */

/** @typedef {{sessions: Session[], next: string | null}} SessionPage */

export class Sessions {
  #url;
  #csrfToken;

  /**
   * @param {string} url of the list: `/api/sessions/`
   * @param {() => string | Promise<string>} csrfToken asked before each change: signing in rotates it
   */
  constructor(url, csrfToken) {
    this.#url = url;
    this.#csrfToken = csrfToken;
  }

  /**
   * A page of the caller's sessions, the latest first.
   *
   * @param {{q?: string, cursor?: string | null, signal?: AbortSignal}} which
   * @returns {Promise<SessionPage>}
   * @throws {Error} the request failed
   */
  async list({ q = "", cursor = null, signal }) {
    const query = new URLSearchParams({ ...(q ? { q } : {}), ...(cursor ? { cursor } : {}) });
    const response = await fetch(`${this.#url}?${query}`, { signal });
    if (!response.ok) throw new Error(`The list answered ${response.status}.`);
    return response.json();
  }

  /** @param {string} id @param {string} title @returns {Promise<boolean>} the session is renamed */
  rename(id, title) {
    return this.#change(id, "PATCH", JSON.stringify({ title }));
  }

  /** Deletes a session for good. @param {string} id @returns {Promise<boolean>} it is deleted */
  delete(id) {
    return this.#change(id, "DELETE");
  }

  /** The address of a download. @param {string} id @param {"md" | "json"} format */
  exportUrl(id, format) {
    return `${this.#url}${encodeURIComponent(id)}/export?format=${format}`;
  }

  /** @param {string} id @param {string} method @param {string} [body] */
  async #change(id, method, body) {
    try {
      const token = await this.#csrfToken();
      const headers = { "Content-Type": "application/json", "X-CSRFToken": token };
      const url = `${this.#url}${encodeURIComponent(id)}/`;
      const response = await fetch(url, { method, headers, body });
      return response.ok;
    } catch {
      return false; // no network
    }
  }
}
