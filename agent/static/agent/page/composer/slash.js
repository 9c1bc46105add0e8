// @ts-check
// Commands that are typed: `/rename A good title`. What they are called and how they are read; what
// they do is decided by the conversation. Pure.

import { t } from "../i18n/translate.js";

/** @typedef {{name: string, args: string}} Command */

/** Name, what stands behind it, and the name of the words that explain it. */
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
 * The command that a text is.
 *
 * @param {string} text
 * @returns {Command | null} null: it is a message
 */
export function parseCommand(text) {
  const match = /^\/([a-z]+)(?:\s+([\s\S]*))?$/i.exec(text.trimEnd());
  return match && { name: match[1].toLowerCase(), args: (match[2] ?? "").trim() };
}

/** The message that a text is: a slash at its beginning is written as two. @param {string} text */
export function messageOf(text) {
  return text.startsWith("//") ? text.slice(1) : text;
}

/**
 * The commands that a text may become.
 *
 * @param {string} text
 * @returns {{name: string, usage: string, words: string}[]}
 */
export function completions(text) {
  const begun = /^\/([a-z]*)$/i.exec(text)?.[1].toLowerCase();
  if (begun === undefined) return [];
  return COMMANDS.filter(([name]) => name.startsWith(begun)).map(([name, args, words]) => ({
    ...{ name, usage: `/${name}${args ? ` ${args}` : ""}`, words: t(words) },
  }));
}

/** Whether a command needs words behind it. @param {string} name */
export function needsArgs(name) {
  return name === "rename";
}
