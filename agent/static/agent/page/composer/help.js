// @ts-check
// The dialog that lists what can be typed.

import { find, make } from "../ui/dom.js";
import { completions } from "./slash.js";

/** @param {HTMLDialogElement} dialog */
export function showHelp(dialog) {
  const commands = completions("/").map(({ usage, words }) =>
    make("div", {}, make("dt", {}, make("kbd", {}, usage)), make("dd", {}, words)),
  );
  find("#help-commands", HTMLElement).replaceChildren(...commands);
  dialog.showModal();
}
