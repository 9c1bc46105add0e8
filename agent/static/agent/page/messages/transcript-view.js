// @ts-check
// The list of exchanges and notifications on the page, kept equal to the items of the conversation and
// to the outbox. Items keep their elements; only changed items are rendered.

import { unsentState } from "../i18n/format.js";
import { ExchangeView } from "./exchange-view.js";
import { dayElement, noteElement, showDay } from "./note-view.js";

/** @typedef {import("../../client/transcript/entries.js").Note} Note */
/** @typedef {import("../../client/transcript/entries.js").Turn} Turn */
/** @typedef {import("../../client/reading.js").Exchange} Exchange */
/** @typedef {import("../../client/reading.js").Item} Item */
/** @typedef {import("../../client/outbox/outbox.js").Unsent} Unsent */
/** @typedef {import("./exchange-view.js").MessageActions} MessageActions */

/**
 * @typedef {object} Row
 * @property {HTMLElement} element
 * @property {ExchangeView | null} view null for a notification
 * @property {unknown} item the item, or the refusal of an unsent query
 * @property {number} version of it
 * @property {string} day in the reader's time zone
 * @property {HTMLElement | null} divider before it
 */

export class TranscriptView {
  #list;
  #agentName;
  #actions;
  /** By the item's key. @type {Map<string, Row>} */
  #rows = new Map();
  /** The items at the last arrangement. @type {unknown[]} */
  #shown = [];
  /** The day for which the dividers are named. */
  #today = new Date().toDateString();

  /**
   * @param {HTMLElement} list
   * @param {string} agentName
   * @param {MessageActions} actions
   */
  constructor(list, agentName, actions) {
    this.#list = list;
    this.#agentName = agentName;
    this.#actions = actions;
  }

  /**
   * @param {Item[]} items the same array while no item was added or moved
   * @param {Unsent[]} unsent
   * @param {import("../i18n/format.js").Delivery} delivery
   */
  show(items, unsent, delivery) {
    /** @type {Map<string, Row>} */
    const rows = new Map();
    for (const item of items) rows.set(item.key, this.#item(item));
    for (const entry of unsent) rows.set(entry.id, this.#unsent(entry, delivery));
    this.#rows = rows;
    const shown = [items, ...unsent];
    if (shown.length === this.#shown.length && shown.every((one, i) => one === this.#shown[i]))
      return;
    this.#shown = shown;
    this.#arrange(elementsOf(rows.values()));
  }

  /** Another second has passed. */
  tick() {
    const now = new Date();
    if (now.toDateString() !== this.#today) this.#nameDays(now);
    for (const row of [...this.#rows.values()].slice(-3)) row.view?.tick();
  }

  /** The answer of a turn, as a screen reader announces it. @param {Turn} turn */
  spoken(turn) {
    for (const { item, view } of this.#rows.values()) {
      const exchange = /** @type {Partial<Exchange> | null} */ (item);
      if (view && exchange?.turn === turn) return view.spoken;
    }
    return "";
  }

  /** @param {Date} now */
  #nameDays(now) {
    this.#today = now.toDateString();
    for (const { divider, day } of this.#rows.values()) if (divider) showDay(divider, day, now);
  }

  get isEmpty() {
    return this.#rows.size === 0;
  }

  /** @param {Item} item */
  #item(item) {
    const row = this.#row(item.key, item.kind === "note" ? item : null);
    if (item.kind === "note") return row;
    const version = item.turns.reduce((sum, turn) => sum + turn.version, 0);
    if (row.item === item && row.version === version) return row;
    row.view?.show(item);
    row.item = item;
    row.version = version;
    row.day ||= dayOf(timeOf(item));
    return row;
  }

  /** @param {Unsent} entry @param {import("../i18n/format.js").Delivery} delivery */
  #unsent(entry, delivery) {
    const row = this.#row(entry.id, null);
    const states = ["unsent", "sending", "stopping", "paused"];
    const isOurs = delivery.neverSent(entry.id);
    const version = 2 * states.indexOf(unsentState(entry, delivery)) + Number(isOurs);
    if (row.item === entry.refusal && row.version === version) return row;
    row.view?.showUnsent(entry, delivery);
    row.item = entry.refusal;
    row.version = version;
    return row;
  }

  /** @param {string} key @param {Note | null} note @returns {Row} */
  #row(key, note) {
    const known = this.#rows.get(key);
    if (known) return known;
    const row = { item: undefined, version: -1, divider: null };
    if (note) return { ...row, element: noteElement(note), view: null, day: dayOf(note.timestamp) };
    const view = new ExchangeView(this.#agentName, this.#actions);
    return { ...row, element: view.element, view, day: "" };
  }

  /**
   * Puts the elements in order: new ones are appended together, others move only if they have to.
   *
   * @param {HTMLElement[]} elements
   */
  #arrange(elements) {
    /** @type {Element | null} */
    let present = this.#list.firstElementChild;
    const added = document.createDocumentFragment();
    const wanted = new Set(elements);
    for (const element of elements) {
      while (present && !wanted.has(/** @type {HTMLElement} */ (present)))
        present = removed(present);
      if (element === present) present = present.nextElementSibling;
      else if (present) this.#list.insertBefore(element, present);
      else added.append(element);
    }
    while (present) present = removed(present);
    this.#list.append(added);
  }
}

/** @param {Element} element @returns {Element | null} the next one */
function removed(element) {
  const next = element.nextElementSibling;
  element.remove();
  return next;
}

/** The elements, with a divider before the first of each day. @param {Iterable<Row>} rows */
function elementsOf(rows) {
  /** @type {HTMLElement[]} */
  const elements = [];
  let day = "";
  for (const row of rows) {
    if (row.day && row.day !== day) elements.push(dividerOf(row));
    day = row.day || day;
    elements.push(row.element);
  }
  return elements;
}

/** @param {Row} row */
function dividerOf(row) {
  row.divider ??= dayElement(row.day);
  return row.divider;
}

/** @param {Exchange} exchange */
function timeOf({ first, turn }) {
  return first.question?.timestamp ?? turn.answer?.timestamp ?? turn.failure?.timestamp ?? "";
}

/** Noon of that day, in the reader's time zone. @param {string} timestamp */
function dayOf(timestamp) {
  if (!timestamp) return "";
  const moment = new Date(timestamp);
  moment.setHours(12, 0, 0, 0);
  return moment.toISOString();
}
