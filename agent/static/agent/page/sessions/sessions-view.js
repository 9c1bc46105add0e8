// @ts-check
// The list of conversations in the sidebar: search, open, rename, export, delete.

import { t } from "../i18n/translate.js";
import { make, makeButton, makeIconButton, setText } from "../ui/dom.js";
import { keepFocus } from "../ui/focus.js";
import { SessionRow } from "./session-row.js";

/** @typedef {import("../../client/sessions.js").Session} Session */
/** @typedef {import("../../client/sessions.js").Sessions} Sessions */

/**
 * @typedef {object} SessionListActions
 * @property {(session: string) => void} open
 * @property {(session: string) => void} deleted after a session was deleted
 * @property {(session: string, format: "md" | "json") => void} exportAs
 * @property {() => void} loaded after the list was loaded
 * @property {(text: string) => void} announce to a screen reader
 */

/** @typedef {{list: HTMLElement, search: HTMLInputElement, hint: HTMLElement}} SessionListElements */

const SEARCH_MS = 250;

export class SessionsView {
  #sessions;
  #elements;
  #actions;
  #more;
  /** @type {Map<string, SessionRow>} */
  #rows = new Map();
  /** @type {string | null} */
  #current = null;
  /** @type {string | null} */
  #next = null;
  /** The search of the sessions in the list. */
  #search = "";
  /** @type {any} */
  #timer = null;
  #abort = new AbortController();

  /**
   * @param {Sessions} sessions
   * @param {SessionListElements} elements
   * @param {SessionListActions} actions
   */
  constructor(sessions, elements, actions) {
    this.#sessions = sessions;
    this.#elements = elements;
    this.#actions = actions;
    this.#more = makeIconButton("more", t("showMore"), () => void this.#load(this.#next));
    this.#more.classList.add("more");
    elements.list.after(this.#more);
    elements.search.addEventListener("input", () => this.refresh(SEARCH_MS));
    this.#more.hidden = true;
  }

  /** Reloads the list after a delay, so that several reasons become one request. */
  refresh(ms = 0) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#load(null), ms);
  }

  /** @param {string | null} session the open one */
  mark(session) {
    this.#current = session;
    for (const [id, row] of this.#rows) row.mark(id === session);
  }

  /** The title of a conversation in the list. @param {string} session */
  titleOf(session) {
    return this.#rows.get(session)?.title ?? null;
  }

  /** @param {string | null} cursor null: the first page */
  async #load(cursor) {
    this.#abort.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    const q = this.#elements.search.value.trim();
    try {
      const { sessions, next } = await this.#sessions.list({ q, cursor, signal });
      const isSameSearch = q === this.#search;
      this.#search = q;
      // what the reader has loaded beyond the first page stays, unless it is about another search
      const later = cursor === null && isSameSearch && next ? this.#laterThan(sessions) : [];
      if (!later.length) this.#next = next;
      this.#show(sessions, cursor === null, later);
      if (!isSameSearch) this.#elements.list.parentElement?.scrollTo(0, 0);
      const hint = this.#rows.size ? "" : t(q ? "nothingFound" : "noSessions");
      setText(this.#elements.hint, hint);
      if (q && hint) this.#actions.announce(hint);
      this.#actions.loaded();
    } catch {
      if (signal.aborted) return; // another request has taken its place
      setText(this.#elements.hint, t("listFailed"));
    }
  }

  /**
   * The rows behind the end of a new first page: the reader has loaded them before.
   *
   * @param {Session[]} sessions of the first page
   */
  #laterThan(sessions) {
    const rows = [...this.#rows];
    const fresh = new Set(sessions.map(({ id }) => id));
    const end = rows.findLastIndex(([id]) => fresh.has(id));
    return end < 0 ? [] : rows.slice(end + 1);
  }

  /**
   * @param {Session[]} sessions
   * @param {boolean} isFirstPage
   * @param {[string, SessionRow][]} later rows of later pages, which stay behind the first one
   */
  #show(sessions, isFirstPage, later) {
    const known = this.#rows;
    this.#rows = isFirstPage ? new Map() : new Map(known);
    for (const session of sessions) {
      const row = known.get(session.id) ?? new SessionRow(session.id, this.#rowActions());
      row.show(session);
      row.mark(session.id === this.#current);
      this.#rows.set(session.id, row);
    }
    for (const [id, row] of later) this.#rows.set(id, row);
    const rows = [...this.#rows.values()].map(({ element }) => element);
    const { list } = this.#elements;
    const isSame = rows.every((row, i) => list.children[i] === row);
    if (!isSame || list.children.length !== rows.length) {
      keepFocus(() => list.replaceChildren(...rows), this.#elements.search.parentElement ?? list);
    }
    this.#more.hidden = !this.#next;
  }

  /** @returns {import("./session-row.js").SessionRowActions} */
  #rowActions() {
    return {
      open: this.#actions.open,
      exportAs: this.#actions.exportAs,
      rename: async (id, title) => this.#report(await this.#sessions.rename(id, title)),
      askDelete: (id, title) => this.#askDelete(id, title),
    };
  }

  /** @param {string} id of a session that is deleted */
  #remove(id) {
    const row = this.#rows.get(id);
    const isFocused = !document.activeElement || document.activeElement === document.body;
    const next = row?.element.nextElementSibling ?? row?.element.previousElementSibling;
    row?.element.remove();
    this.#rows.delete(id);
    const successor = next?.querySelector("a") ?? this.#elements.search;
    if (isFocused || row?.element.contains(document.activeElement)) successor.focus();
  }

  /** @param {boolean} done */
  #report(done) {
    if (done) this.refresh();
    else setText(this.#elements.hint, t("failed"));
  }

  /** @param {string} id @param {string} title */
  #askDelete(id, title) {
    const dialog = make("dialog", { class: "dialog", "aria-label": t("delete") });
    const close = () => dialog.close();
    const confirm = makeButton(
      t("delete"),
      async () => {
        close();
        const done = await this.#sessions.delete(id);
        if (done) this.#remove(id);
        if (done) this.#actions.deleted(id);
        this.#report(done);
      },
      "plain-button danger",
    );
    const foot = make(
      "div",
      { class: "dialog-foot" },
      makeButton(t("cancel"), close, "plain-button"),
    );
    foot.append(confirm);
    dialog.append(make("p", {}, t("deleteQuestion", { title })), foot);
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  }
}
