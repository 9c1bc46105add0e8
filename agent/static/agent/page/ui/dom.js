// @ts-check
// Small DOM functions that all views use. Never sets HTML from text.

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string>} [attributes]
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/**
 * @param {string} label its accessible name
 * @param {() => void} onClick
 * @param {string} [className]
 */
export function makeButton(label, onClick, className = "quiet") {
  const button = make("button", { type: "button", class: className }, label);
  button.addEventListener("click", onClick);
  return button;
}

/** Paths of strokes in a square of 16. */
const ICONS = {
  copy: "M5.5 5.5h7.5v8H5.5zM3 10.5v-8h7.5",
  done: "M3 8.5l3.2 3.2L13 5",
  retry: "M13 8a5 5 0 1 1-1.5-3.6M13 2.2v3h-3",
  edit: "M10.6 3.2l2.2 2.2-6.9 6.9-2.8.6.6-2.8z",
  up: "M5 7l2.4-4.7c1 0 1.7.7 1.5 1.7L8.5 6.3h3.8c.8 0 1.3.7 1.1 1.4l-1.1 4.1c-.2.6-.6 1-1.2 1H5zM5 7H2.6v5.8H5",
  down: "M5 9l2.4 4.7c1 0 1.7-.7 1.5-1.7l-.4-2.3h3.8c.8 0 1.3-.7 1.1-1.4l-1.1-4.1c-.2-.6-.6-1-1.2-1H5zM5 9H2.6V3.2H5",
  cross: "M4 4l8 8M12 4l-8 8",
  now: "M8 13V3M3.5 7.5 8 3l4.5 4.5",
  back: "M10 3.5 5.5 8l4.5 4.5",
  forth: "M6 3.5 10.5 8 6 12.5",
  more: "M3.2 8h.1M7.95 8h.1M12.7 8h.1",
  system: "M8 2.5a5.5 5.5 0 0 0 0 11zM8 2.5a5.5 5.5 0 0 1 0 11",
  light:
    "M8 10.8a2.8 2.8 0 1 0 0-5.6 2.8 2.8 0 0 0 0 5.6zM8 1.6v1M8 13.4v1M1.6 8h1M13.4 8h1M3.5 3.5l.7.7M11.8 11.8l.7.7M3.5 12.5l.7-.7M11.8 4.2l.7-.7",
  dark: "M13 9.6A5.4 5.4 0 1 1 6.4 3a4.4 4.4 0 0 0 6.6 6.6z",
};

/** @typedef {keyof typeof ICONS} Icon */

/** @param {Icon} name */
export function makeIcon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/**
 * A button that shows only an icon.
 *
 * @param {Icon} name
 * @param {string} label its accessible name and tooltip
 * @param {() => void} onClick
 */
export function makeIconButton(name, label, onClick) {
  const button = make("button", { type: "button", class: "icon" });
  relabel(button, name, label);
  button.addEventListener("click", onClick);
  return button;
}

/**
 * Changes the icon and the label of a button.
 *
 * @param {Element} button
 * @param {Icon} name
 * @param {string} label
 */
export function relabel(button, name, label) {
  if (button.getAttribute("aria-label") === label) return;
  button.setAttribute("aria-label", label);
  button.setAttribute("title", label);
  button.replaceChildren(makeIcon(name));
}

/**
 * The element of the page that matches a selector.
 *
 * @template {HTMLElement} Kind
 * @param {string} selector
 * @param {new () => Kind} kind
 * @returns {Kind}
 */
export function find(selector, kind) {
  const element = document.querySelector(selector);
  if (!(element instanceof kind)) throw new Error(`The page has no ${selector}.`);
  return element;
}

/**
 * Sets an attribute, or removes it.
 *
 * @param {Element} element
 * @param {string} name
 * @param {string | null | undefined} value
 */
export function setAttribute(element, name, value) {
  if (value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** @param {Node} node @param {string} text */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * The beginning of a text, never ending within a character that a reader sees as one.
 *
 * @param {string} text
 * @param {number} most characters
 */
export function shortened(text, most) {
  if (text.length <= most) return text;
  let short = "";
  for (const { segment } of new Intl.Segmenter().segment(text.slice(0, most * 4))) {
    if (short.length + segment.length > most) break;
    short += segment;
  }
  return `${short}…`;
}
