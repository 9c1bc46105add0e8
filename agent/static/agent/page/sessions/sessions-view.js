// @ts-check
// The list of conversations at the side: search, open, rename, export, delete.

import { t } from "../i18n/translate.js";
import { make, makeButton, makeIconButton, setText } from "../ui/dom.js";
import { SessionRow } from "./session-row.js";

/** @typedef {import("../../client/sessions.js").Session} Session */
/** @typedef {import("../../client/sessions.js").Sessions} Sessions */

/**
 * @typedef {object} ListDeeds
 * @property {(session: string) => void} open
 * @property {(session: string) => void} deleted it is gone now
 * @property {(session: string, format: "md" | "json") => void} exportAs
 * @property {() => void} loaded the list is up to date
 */

/** @typedef {{list: HTMLElement, search: HTMLInputElement, hint: HTMLElement}} ListParts */

const SEARCH_MS = 250;

export class SessionsView {
  #sessions;
  #parts;
  #deeds;
  #more;
  /** @type {Map<string, SessionRow>} */
  #rows = new Map();
  /** @type {string | null} */
  #current = null;
  /** @type {string | null} */
  #next = null;
  /** @type {any} */
  #timer = null;
  #abort = new AbortController();

  /**
   * @param {Sessions} sessions
   * @param {ListParts} parts
   * @param {ListDeeds} deeds
   */
  constructor(sessions, parts, deeds) {
    this.#sessions = sessions;
    this.#parts = parts;
    this.#deeds = deeds;
    this.#more = makeIconButton("more", t("showMore"), () => void this.#load(this.#next));
    this.#more.classList.add("more");
    parts.list.after(this.#more);
    parts.search.addEventListener("input", () => this.refresh(SEARCH_MS));
    this.#more.hidden = true;
  }

  /** Loads the list anew, a little later so that several reasons become one request. */
  refresh(ms = 0) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#load(null), ms);
  }

  /** @param {string | null} session that is open */
  mark(session) {
    this.#current = session;
    for (const [id, row] of this.#rows) row.mark(id === session);
  }

  /** What a conversation in the list is called. @param {string} session */
  titleOf(session) {
    return this.#rows.get(session)?.title ?? null;
  }

  /** @param {string | null} cursor null: the first page */
  async #load(cursor) {
    this.#abort.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    const q = this.#parts.search.value.trim();
    try {
      const { sessions, next } = await this.#sessions.list({ q, cursor, signal });
      this.#next = next;
      this.#show(sessions, cursor === null);
      setText(this.#parts.hint, this.#rows.size ? "" : t(q ? "nothingFound" : "noSessions"));
      this.#deeds.loaded();
    } catch {
      if (signal.aborted) return; // another request has taken its place
      setText(this.#parts.hint, t("listFailed"));
    }
  }

  /** @param {Session[]} sessions @param {boolean} anew */
  #show(sessions, anew) {
    const known = this.#rows;
    this.#rows = anew ? new Map() : new Map(known);
    for (const session of sessions) {
      const row = known.get(session.id) ?? new SessionRow(session.id, this.#rowDeeds());
      row.show(session);
      row.mark(session.id === this.#current);
      this.#rows.set(session.id, row);
    }
    const elements = [...this.#rows.values()].map(({ element }) => element);
    const { list } = this.#parts;
    const isSame = elements.every((element, i) => list.children[i] === element);
    if (!isSame || list.children.length !== elements.length) list.replaceChildren(...elements);
    this.#more.hidden = !this.#next;
  }

  /** @returns {import("./session-row.js").RowDeeds} */
  #rowDeeds() {
    return {
      open: this.#deeds.open,
      exportAs: this.#deeds.exportAs,
      rename: async (id, title) => this.#report(await this.#sessions.rename(id, title)),
      askDelete: (id, title) => this.#askDelete(id, title),
    };
  }

  /** @param {boolean} done */
  #report(done) {
    if (done) this.refresh();
    else setText(this.#parts.hint, t("failed"));
  }

  /** @param {string} id @param {string} title */
  #askDelete(id, title) {
    const dialog = make("dialog", { class: "dialog", "aria-label": t("delete") });
    const close = () => dialog.close();
    const really = makeButton(
      t("delete"),
      async () => {
        close();
        const done = await this.#sessions.delete(id);
        if (done) this.#deeds.deleted(id);
        this.#report(done);
      },
      "plain-button danger",
    );
    const foot = make(
      "div",
      { class: "dialog-foot" },
      makeButton(t("cancel"), close, "plain-button"),
    );
    foot.append(really);
    dialog.append(make("p", {}, t("deleteQuestion", { title })), foot);
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  }
}
