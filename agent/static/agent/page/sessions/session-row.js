// @ts-check
// One conversation in the list: a link, and a menu of actions.

import { t } from "../i18n/translate.js";
import { make, makeButton, makeIcon, setText } from "../ui/dom.js";

/** @typedef {import("../../client/sessions.js").Session} Session */

/**
 * @typedef {object} SessionRowActions
 * @property {(session: string) => void} open
 * @property {(session: string, format: "md" | "json") => void} exportAs
 * @property {(session: string, title: string) => void} rename
 * @property {(session: string, title: string) => void} askDelete
 */

export class SessionRow {
  element = make("li", { class: "session" });
  title = "";
  #id;
  #actions;
  #link;
  #menu = make("details", { class: "menu" });
  #summary = make("summary", { class: "icon" }, makeIcon("more"));

  /** @param {string} id @param {SessionRowActions} actions */
  constructor(id, actions) {
    this.#id = id;
    this.#actions = actions;
    this.#link = make("a", { dir: "auto", href: `?${new URLSearchParams({ session: id })}` });
    this.#link.addEventListener("click", (event) => this.#open(event));
    this.#menu.append(this.#summary, this.#items());
    this.#menu.addEventListener("focusout", ({ relatedTarget }) => {
      if (!this.#menu.contains(/** @type {Node | null} */ (relatedTarget))) this.#menu.open = false;
    });
    this.#menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.#menu.open) return;
      event.stopPropagation();
      this.#close();
    });
    this.element.append(this.#link, this.#menu);
  }

  /** @param {Session} session */
  show({ title, preview }) {
    this.title = title || preview || t("untitled");
    setText(this.#link, this.title);
    this.#link.title = this.title;
    this.#summary.setAttribute("aria-label", t("actionsOf", { title: this.title }));
  }

  /** @param {boolean} isCurrent the session is open */
  mark(isCurrent) {
    if (isCurrent) this.#link.setAttribute("aria-current", "page");
    else this.#link.removeAttribute("aria-current");
  }

  /** @param {MouseEvent} event */
  #open(event) {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return; // another tab
    event.preventDefault();
    this.#actions.open(this.#id);
  }

  #items() {
    const item = (/** @type {string} */ name, /** @type {() => void} */ action) =>
      makeButton(
        t(name),
        () => {
          this.#close();
          action();
        },
        "menu-item",
      );
    return make(
      "div",
      { class: "menu-items" },
      item("rename", () => this.#rename()),
      item("exportMarkdown", () => this.#actions.exportAs(this.#id, "md")),
      item("exportJson", () => this.#actions.exportAs(this.#id, "json")),
      item("delete", () => this.#actions.askDelete(this.#id, this.title)),
    );
  }

  #close() {
    this.#menu.open = false;
    this.#summary.focus({ preventScroll: true });
  }

  #rename() {
    const label = t("titleOf", { title: this.title });
    const input = make("input", {
      class: "rename",
      dir: "auto",
      maxlength: "200",
      "aria-label": label,
    });
    let isOver = false;
    const end = (/** @type {boolean} */ keep) => {
      if (isOver) return;
      isOver = true;
      const title = input.value.trim();
      input.replaceWith(this.#link);
      if (keep && title && title !== this.title) this.#actions.rename(this.#id, title);
    };
    input.value = this.title;
    input.addEventListener("blur", () => end(true));
    input.addEventListener("keydown", (event) => {
      if (event.isComposing || (event.key !== "Enter" && event.key !== "Escape")) return;
      event.preventDefault();
      event.stopPropagation();
      end(event.key === "Enter");
      this.#link.focus({ preventScroll: true });
    });
    this.#link.replaceWith(input);
    input.select();
    input.focus();
  }
}
