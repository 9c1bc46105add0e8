// @ts-check
// Announces an answer that arrives in a hidden tab: a mark in the tab's title, and a notification of
// the browser if the user wants one. Permission is asked for when the bell is pressed, never before.
// Several tabs of a session notify once: the browser replaces notifications with the same tag.

import { t } from "../i18n/translate.js";
import { shortened } from "../ui/dom.js";

/** @typedef {import("../../client/storage.js").Store} Store */

const KEY = "agent.notify";
const MARK = "● ";
const LONGEST = 140;

export class Notifier {
  #button;
  #store;
  #showProblem;

  /**
   * @param {HTMLButtonElement} button the bell
   * @param {Store} store
   * @param {(message: string) => void} showProblem
   */
  constructor(button, store, showProblem) {
    this.#button = button;
    this.#store = store;
    this.#showProblem = showProblem;
    button.hidden = !("Notification" in window);
    button.addEventListener("click", () => void this.#toggle());
    document.addEventListener("visibilitychange", () => this.#seen());
    this.#show();
  }

  /**
   * An answer is complete.
   *
   * @param {string} agent
   * @param {string} text
   * @param {string} tag the same for the same answer, in every tab
   */
  answered(agent, text, tag) {
    if (!document.hidden) return;
    if (!document.title.startsWith(MARK)) document.title = MARK + document.title;
    if (!this.#isOn) return;
    const body = shortened(text, LONGEST);
    const notification = notified(t("answered", { agent }), { body, tag });
    if (!notification) {
      this.#button.hidden = true;
      return;
    }
    notification.onclick = () => {
      window.focus();
      notification.close();
    };
  }

  get #isOn() {
    return this.#store.get(KEY) === "on" && Notification.permission === "granted";
  }

  async #toggle() {
    if (this.#isOn) {
      this.#store.remove(KEY);
    } else if ((await Notification.requestPermission()) === "granted") {
      this.#store.set(KEY, "on");
    } else {
      this.#showProblem(t("notifyDenied"));
    }
    this.#show();
  }

  #show() {
    const isOn = !this.#button.hidden && this.#isOn;
    this.#button.setAttribute("aria-pressed", String(isOn));
    this.#button.title = t(isOn ? "notifyOn" : "notify");
  }

  #seen() {
    if (!document.hidden && document.title.startsWith(MARK)) {
      document.title = document.title.slice(MARK.length);
    }
  }
}

/**
 * @param {string} title
 * @param {NotificationOptions} options
 * @returns {Notification | null} null: this browser lets only service workers notify
 */
function notified(title, options) {
  try {
    return new Notification(title, options);
  } catch {
    return null;
  }
}
