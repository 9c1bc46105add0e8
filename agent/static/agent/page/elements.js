// @ts-check
// The elements of the page that the template has, by name.

import { find } from "./ui/dom.js";

export const elements = {
  scroller: find("#conversation", HTMLElement),
  column: find("#column", HTMLElement),
  list: find("#messages", HTMLElement),
  empty: find("#empty", HTMLElement),
  skeleton: find("#skeleton", HTMLElement),
  jump: find("#jump", HTMLButtonElement),
  queue: find("#queue", HTMLElement),
  notice: find("#notice", HTMLElement),
  form: find("#composer", HTMLFormElement),
  dot: find("#connection", HTMLElement),
  strip: find("#strip", HTMLElement),
  /** The one live region. */
  status: find("#status", HTMLElement),
  agent: find("#agent", HTMLElement),
  title: find("#title", HTMLElement),
  model: find("#model", HTMLElement),
  demo: find("#demo", HTMLElement),
  /** Only for a signed-in user. @type {HTMLFormElement | null} */
  signOut: document.querySelector("form#sign-out"),
  /** Only for somebody who is not signed in. @type {HTMLAnchorElement | null} */
  signIn: document.querySelector("a#sign-in"),
  newChat: find("#new-chat", HTMLButtonElement),
  theme: find("#theme", HTMLButtonElement),
  bell: find("#bell", HTMLButtonElement),
  help: find("#help", HTMLDialogElement),
  side: find("#side", HTMLElement),
  toggle: find("#toggle-side", HTMLButtonElement),
  veil: find("#veil", HTMLElement),
  sessions: find("#sessions", HTMLElement),
  search: find("#search", HTMLInputElement),
  hint: find("#sessions-hint", HTMLElement),
};

/** @typedef {typeof elements} PageElements */
