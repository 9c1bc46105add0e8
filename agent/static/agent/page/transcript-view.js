// @ts-check
// The list of turns and notifications on the page, made equal to the transcript and the outbox.
// Entries keep their elements; only what changed is touched.

import { make } from "./dom.js";
import { TurnView } from "./turn-view.js";
import { longTime, shortTime } from "./words.js";

/** @typedef {import("../client/entries.js").Entry} Entry */
/** @typedef {import("../client/entries.js").Note} Note */
/** @typedef {import("../client/outbox.js").Outbox} Outbox */
/** @typedef {import("./turn-view.js").Actions} Actions */

/** @typedef {{element: HTMLElement, shown: string, turn: TurnView | null}} Row */

export class TranscriptView {
  #list;
  #agentName;
  #actions;
  /** By the entry's key. @type {Map<string, Row>} */
  #rows = new Map();

  /**
   * @param {HTMLElement} list
   * @param {string} agentName
   * @param {Actions} actions
   */
  constructor(list, agentName, actions) {
    this.#list = list;
    this.#agentName = agentName;
    this.#actions = actions;
  }

  /**
   * @param {Entry[]} entries
   * @param {Outbox} outbox
   */
  show(entries, outbox) {
    /** @type {Set<string>} */
    const keys = new Set();
    const elements = [
      ...entries.map((entry) => this.#entry(entry, keys)),
      ...outbox.entries.map((entry) => this.#unsent(entry, outbox.sent.has(entry.id), keys)),
    ];
    this.#arrange(elements);
    for (const key of this.#rows.keys()) if (!keys.has(key)) this.#rows.delete(key);
  }

  /** The text of a turn's answer, for those who hear it. @param {string} key */
  spoken(key) {
    return this.#rows.get(key)?.turn?.spoken ?? "";
  }

  get isEmpty() {
    return this.#rows.size === 0;
  }

  /** @param {Entry} entry @param {Set<string>} keys */
  #entry(entry, keys) {
    keys.add(entry.key);
    const row = this.#row(entry.key, entry.kind === "note" ? entry : null);
    const shown = `${entry.key} ${entry.version}`;
    if (entry.kind === "turn" && row.shown !== shown) row.turn?.showTurn(entry);
    row.shown = shown;
    return row.element;
  }

  /** @param {import("../client/outbox.js").Unsent} entry @param {boolean} sent @param {Set<string>} keys */
  #unsent(entry, sent, keys) {
    keys.add(entry.id);
    const row = this.#row(entry.id, null);
    const shown = `unsent ${sent} ${entry.refusal?.content}`;
    if (row.shown !== shown) row.turn?.showUnsent(entry, sent);
    row.shown = shown;
    return row.element;
  }

  /** @param {string} key @param {Note | null} note @returns {Row} */
  #row(key, note) {
    const known = this.#rows.get(key);
    if (known) return known;
    const turn = note ? null : new TurnView(this.#agentName, this.#actions);
    const row = {
      element: turn?.element ?? noteElement(/** @type {Note} */ (note)),
      shown: "",
      turn,
    };
    this.#rows.set(key, row);
    return row;
  }

  /**
   * Puts the elements in order: new ones at the end at once, others only if they moved.
   *
   * @param {HTMLElement[]} elements
   */
  #arrange(elements) {
    /** @type {Element | null} */
    let present = this.#list.firstElementChild;
    const added = document.createDocumentFragment();
    for (const element of elements) {
      if (element === present) present = present.nextElementSibling;
      else if (present) this.#list.insertBefore(element, present);
      else added.append(element);
    }
    while (present) {
      const next = present.nextElementSibling;
      present.remove();
      present = next;
    }
    this.#list.append(added);
  }
}

/** @param {Note} note */
function noteElement({ id, event, level, content, timestamp }) {
  const time = make("time", { datetime: timestamp, title: longTime(timestamp) });
  time.textContent = shortTime(timestamp, new Date());
  const element = make("article", { class: "note", "data-level": level, "data-event": event });
  if (id) element.dataset.messageId = id;
  element.append(make("p", {}, content), time);
  return element;
}
