// @ts-check
// Thumbs up and down under an answer, and the little form that asks why.

import { t } from "../i18n/translate.js";
import { make, makeButton, makeIconButton, setAttribute } from "../ui/dom.js";

/** @typedef {import("../../client/transcript/entries.js").Answer} Answer */
/** @typedef {"up" | "down"} Rating */
/** @typedef {(target: string, rating: Rating | null, comment: string) => Promise<boolean>} Judge */

/** @type {Record<Rating, {label: string, question: string, reasons: string[]}>} */
const RATINGS = {
  up: { label: "goodAnswer", question: "whatWasGood", reasons: ["correct", "clear", "complete"] },
  down: {
    label: "badAnswer",
    question: "whatWasWrong",
    reasons: ["wrong", "unhelpful", "tooLong", "ignored", "unsafe"],
  },
};
const LONGEST_COMMENT = 3500; // the server takes 4000, with the reasons

export class JudgementView {
  element = make("span", { class: "judgement" });
  #judge;
  /** @type {Answer | null} */
  #answer = null;
  #thumbs;
  /** @type {HTMLFormElement | null} */
  #form = null;
  /** What the form asks about. @type {Rating} */
  #asked = "up";

  /** @param {Judge} judge */
  constructor(judge) {
    this.#judge = judge;
    this.#thumbs = {
      up: makeIconButton("up", t(RATINGS.up.label), () => this.#press("up")),
      down: makeIconButton("down", t(RATINGS.down.label), () => this.#press("down")),
    };
    this.element.append(this.#thumbs.up, this.#thumbs.down);
  }

  /** @param {Answer | null} answer null: there is nothing to judge */
  show(answer) {
    this.#answer = answer;
    this.element.hidden = !answer?.id;
    for (const rating of /** @type {Rating[]} */ (["up", "down"])) {
      setAttribute(this.#thumbs[rating], "aria-pressed", String(answer?.rating === rating));
    }
  }

  /** The same thumb again takes the judgement back. @param {Rating} rating */
  async #press(rating) {
    const isWithdrawal = this.#answer?.rating === rating;
    this.#close();
    if (!isWithdrawal) this.#ask(rating);
    await this.#send(isWithdrawal ? null : rating, "");
  }

  /** @param {Rating} rating */
  #ask(rating) {
    const { question, reasons } = RATINGS[rating];
    const form = make("form", { class: "reasons", "aria-label": t(question) });
    const comment = make("textarea", {
      ...{ rows: "2", maxlength: String(LONGEST_COMMENT), "aria-label": t("comment") },
      placeholder: t("comment"),
    });
    const boxes = reasons.map((name) => reasonBox(t(name)));
    const send = make("button", { type: "submit", class: "plain-button" }, t("send"));
    const foot = make("div", { class: "reasons-foot" }, send);
    foot.append(makeButton(t("cancel"), () => this.#close()));
    form.append(
      make("p", {}, t(question)),
      make("div", { class: "boxes" }, ...boxes),
      comment,
      foot,
    );
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const chosen = [...form.querySelectorAll("input:checked")].map((box) =>
        box.getAttribute("value"),
      );
      const words = [chosen.join(", "), comment.value.trim()].filter(Boolean).join("\n");
      send.disabled = true; // what was written stays until the server has it
      const taken = !words || (await this.#send(rating, words));
      send.disabled = false;
      if (taken && this.#form === form) this.#close();
    });
    form.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation(); // it would stop the agent too
      this.#close();
    });
    this.#form = form;
    this.#asked = rating;
    this.element.closest("article")?.append(form);
    form.querySelector("input")?.focus({ preventScroll: true });
  }

  #close() {
    const hadFocus = this.#form?.contains(document.activeElement);
    this.#form?.remove();
    this.#form = null;
    if (hadFocus) this.#thumbs[this.#asked].focus({ preventScroll: true });
  }

  /** @param {Rating | null} rating @param {string} comment @returns {Promise<boolean>} taken */
  async #send(rating, comment) {
    const target = this.#answer?.id;
    return target ? await this.#judge(target, rating, comment) : false;
  }
}

/** @param {string} words */
function reasonBox(words) {
  return make(
    "label",
    {},
    make("input", { type: "checkbox", value: words }),
    make("span", {}, words),
  );
}
