// @ts-check
// The names and the syntax of typed commands: `/rename A good title`. Pure.
// `conversation/typed-commands.js` runs them.

import { t } from "../i18n/translate.js";

/** @typedef {{name: string, args: string}} Command */

/** Name, arguments, and the label that explains it. */
const COMMANDS = /** @type {const} */ ([
  ["help", "", "commandHelp"],
  ["clear", "", "commandClear"],
  ["retry", "", "commandRetry"],
  ["rename", "title", "commandRename"],
  ["new", "", "commandNew"],
  ["export", "json", "commandExport"],
  ["stop", "", "commandStop"],
  ["close", "", "commandClose"],
  ["theme", "", "commandTheme"],
]);

/**
 * Reads a text as a command.
 *
 * @param {string} text
 * @returns {Command | null} null: the text is a message
 */
export function parseCommand(text) {
  const match = /^\/([a-z]+)(?:\s+([\s\S]*))?$/i.exec(text.trimEnd());
  return match && { name: match[1].toLowerCase(), args: (match[2] ?? "").trim() };
}

/** Reads a text as a message: a slash at its beginning is typed as two. @param {string} text */
export function messageOf(text) {
  return text.startsWith("//") ? text.slice(1) : text;
}

/**
 * The commands whose names begin with a text.
 *
 * @param {string} text
 * @returns {{name: string, usage: string, description: string}[]}
 */
export function completions(text) {
  const begun = /^\/([a-z]*)$/i.exec(text)?.[1].toLowerCase();
  if (begun === undefined) return [];
  return COMMANDS.filter(([name]) => name.startsWith(begun)).map(([name, args, label]) => ({
    name,
    usage: `/${name}${args ? ` ${args}` : ""}`,
    description: t(label),
  }));
}

/** Whether a command needs arguments. @param {string} name */
export function needsArgs(name) {
  return name === "rename";
}
