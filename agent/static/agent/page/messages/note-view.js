// @ts-check
// The elements between the exchanges: notifications, and dividers between days.

import { formatDay, formatMoment, formatTime } from "../i18n/format.js";
import { t } from "../i18n/translate.js";
import { make, setText } from "../ui/dom.js";

/** @typedef {import("../../client/transcript/entries.js").Note} Note */

/** @param {Note} note */
export function noteElement({ id, event, level, content, timestamp }) {
  const time = make("time", { datetime: timestamp, title: formatMoment(timestamp) });
  time.textContent = formatTime(timestamp);
  const element = make("article", { class: "note", "data-level": level, "data-event": event });
  if (id) element.dataset.messageId = id;
  const text = event === "expired" ? t("notificationExpired") : content;
  element.append(make("p", { dir: "auto" }, text), time);
  return element;
}

/** @param {string} timestamp ISO 8601 */
export function dayElement(timestamp) {
  const element = make("div", { class: "day" }, make("time", { datetime: timestamp.slice(0, 10) }));
  showDay(element, timestamp, new Date());
  return element;
}

/**
 * Names a day in words that are true now: yesterday's "Today" is "Yesterday".
 *
 * @param {HTMLElement} divider
 * @param {string} timestamp ISO 8601
 * @param {Date} now
 */
export function showDay(divider, timestamp, now) {
  const time = divider.firstElementChild;
  if (time) setText(time, formatDay(timestamp, now));
}
