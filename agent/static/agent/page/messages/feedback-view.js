// @ts-check
// Thumbs up and down under an answer, and the small form that asks for the reason.

import { t } from "../i18n/translate.js";
import { make, makeButton, makeIconButton, setAttribute } from "../ui/dom.js";

/** @typedef {import("../../client/transcript/entries.js").Answer} Answer */
/** @typedef {"up" | "down"} Rating */
/** @typedef {(target: string, rating: Rating | null, comment: string) => Promise<boolean>} SendFeedback */

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

export class FeedbackView {
  element = make("span", { class: "feedback" });
  #sendFeedback;
  /** @type {Answer | null} */
  #answer = null;
  #thumbs;
  /** @type {HTMLFormElement | null} */
  #form = null;
  /** The rating that the form asks about. @type {Rating} */
  #asked = "up";

  /** @param {SendFeedback} sendFeedback */
  constructor(sendFeedback) {
    this.#sendFeedback = sendFeedback;
    this.#thumbs = {
      up: makeIconButton("up", t(RATINGS.up.label), () => this.#press("up")),
      down: makeIconButton("down", t(RATINGS.down.label), () => this.#press("down")),
    };
    this.element.append(this.#thumbs.up, this.#thumbs.down);
  }

  /** @param {Answer | null} answer null: there is no answer to rate */
  show(answer) {
    this.#answer = answer;
    this.element.hidden = !answer?.id;
    for (const rating of /** @type {Rating[]} */ (["up", "down"])) {
      setAttribute(this.#thumbs[rating], "aria-pressed", String(answer?.rating === rating));
    }
  }

  /** Rates the answer; pressing the same thumb again clears the rating. @param {Rating} rating */
  async #press(rating) {
    const isCleared = this.#answer?.rating === rating;
    this.#close();
    if (!isCleared) this.#ask(rating);
    await this.#send(isCleared ? null : rating, "");
  }

  /** @param {Rating} rating */
  #ask(rating) {
    const { question, reasons } = RATINGS[rating];
    const form = make("form", { class: "reasons", "aria-label": t(question) });
    const comment = make("textarea", {
      rows: "2",
      dir: "auto",
      maxlength: String(LONGEST_COMMENT),
      "aria-label": t("comment"),
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
      const text = [chosen.join(", "), comment.value.trim()].filter(Boolean).join("\n");
      send.disabled = true; // the form stays until the server has accepted it
      const accepted = !text || (await this.#send(rating, text));
      send.disabled = false;
      if (accepted && this.#form === form) this.#close();
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

  /** @param {Rating | null} rating @param {string} comment @returns {Promise<boolean>} accepted */
  async #send(rating, comment) {
    const target = this.#answer?.id;
    return target ? await this.#sendFeedback(target, rating, comment) : false;
  }
}

/** @param {string} label */
function reasonBox(label) {
  return make(
    "label",
    {},
    make("input", { type: "checkbox", value: label }),
    make("span", {}, label),
  );
}
