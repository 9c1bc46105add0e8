// @ts-check
// The elements of what stands between the exchanges: notifications, and dividers between days.

import { dayWords, longTime, shortTime } from "../i18n/format.js";
import { t } from "../i18n/translate.js";
import { make } from "../ui/dom.js";

/** @typedef {import("../../client/transcript/entries.js").Note} Note */

/** @param {Note} note */
export function noteElement({ id, event, level, content, timestamp }) {
  const time = make("time", { datetime: timestamp, title: longTime(timestamp) });
  time.textContent = shortTime(timestamp);
  const element = make("article", { class: "note", "data-level": level, "data-event": event });
  if (id) element.dataset.messageId = id;
  const words = event === "expired" ? t("notificationExpired") : content;
  element.append(make("p", {}, words), time);
  return element;
}

/** @param {string} timestamp ISO 8601 */
export function dayElement(timestamp) {
  const time = make("time", { datetime: timestamp.slice(0, 10) }, dayWords(timestamp, new Date()));
  return make("div", { class: "day" }, time);
}
