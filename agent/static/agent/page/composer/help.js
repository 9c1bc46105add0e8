// @ts-check
// The dialog that lists the typed commands and keys.

import { find, make } from "../ui/dom.js";
import { completions } from "./slash.js";

/** @param {HTMLDialogElement} dialog */
export function showHelp(dialog) {
  const commands = completions("/").map(({ usage, description }) =>
    make("div", {}, make("dt", {}, make("kbd", {}, usage)), make("dd", {}, description)),
  );
  find("#help-commands", HTMLElement).replaceChildren(...commands);
  dialog.showModal();
}
