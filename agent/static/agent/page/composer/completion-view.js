// @ts-check
// The list of commands above the composer while one is being typed.

import { make } from "../ui/dom.js";
import { completions, needsArgs } from "./slash.js";

export class CompletionView {
  #list;
  #text;
  #complete;
  /** @type {string[]} */
  #names = [];
  #active = 0;
  /** The text for which the list was closed. @type {string | null} */
  #closedFor = null;

  /**
   * @param {HTMLElement} list a listbox
   * @param {HTMLTextAreaElement} text where commands are typed
   * @param {(text: string, isWhole: boolean) => void} complete inserts a command; a whole one runs
   *   at once
   */
  constructor(list, text, complete) {
    this.#list = list;
    this.#text = text;
    this.#complete = complete;
  }

  /** The text has changed. */
  refresh() {
    const { value } = this.#text;
    const found = this.#closedFor === value ? [] : completions(value);
    if (this.#closedFor !== value) this.#closedFor = null;
    this.#names = found.map(({ name }) => name);
    this.#active = 0;
    this.#list.hidden = found.length === 0;
    this.#list.replaceChildren(
      ...found.map(({ name, usage, description }, i) => this.#option(name, usage, description, i)),
    );
    this.#mark();
  }

  /** @param {KeyboardEvent} event @returns {boolean} the key was for this list */
  key(event) {
    if (this.#list.hidden) return false;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) this.#move(step);
    else if (event.key === "Tab" && !event.shiftKey) this.#choose(false);
    else if (event.key === "Enter" && !event.shiftKey) this.#choose(true);
    else if (event.key === "Escape") this.#close();
    else return false;
    event.preventDefault();
    event.stopPropagation();
    return true;
  }

  /**
   * @param {string} name
   * @param {string} usage
   * @param {string} description
   * @param {number} index
   */
  #option(name, usage, description, index) {
    const option = make(
      "li",
      { role: "option", id: `command-${name}` },
      make("span", { class: "usage" }, usage),
      make("span", { class: "words" }, description),
    );
    option.addEventListener("pointerdown", (event) => event.preventDefault()); // keep the focus
    option.addEventListener("click", () => {
      this.#active = index;
      this.#choose(true);
    });
    return option;
  }

  /** @param {number} step */
  #move(step) {
    this.#active = (this.#active + step + this.#names.length) % this.#names.length;
    this.#mark();
  }

  #mark() {
    [...this.#list.children].forEach((option, i) => {
      option.setAttribute("aria-selected", String(i === this.#active));
      if (i === this.#active) option.scrollIntoView({ block: "nearest" });
    });
    const active = this.#list.children[this.#active];
    if (active) this.#text.setAttribute("aria-activedescendant", active.id);
    else this.#text.removeAttribute("aria-activedescendant");
  }

  /** @param {boolean} run */
  #choose(run) {
    const name = this.#names[this.#active];
    const isWhole = run && !needsArgs(name);
    this.#complete(`/${name}${isWhole ? "" : " "}`, isWhole);
  }

  #close() {
    this.#closedFor = this.#text.value;
    this.refresh();
  }
}
