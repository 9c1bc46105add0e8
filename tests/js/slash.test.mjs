import assert from "node:assert/strict";
import { test } from "node:test";
import {
  completions,
  messageOf,
  parseCommand,
} from "../../agent/static/agent/page/composer/slash.js";

test("a slash and a word is a command, with its arguments", () => {
  assert.deepEqual(parseCommand("/clear"), { name: "clear", args: "" });
  assert.deepEqual(parseCommand("/Rename  A good\ntitle "), {
    name: "rename",
    args: "A good\ntitle",
  });
  assert.deepEqual(parseCommand("/nonsense"), { name: "nonsense", args: "" });
});

test("a text that only looks like a command is a message", () => {
  for (const text of ["/etc/hosts", "//clear", "/ clear", " /clear", "/", "/42", "a /clear"]) {
    assert.equal(parseCommand(text), null, text);
  }
});

test("a message that begins with a slash is typed with two", () => {
  assert.equal(messageOf("//clear it"), "/clear it");
  assert.equal(messageOf("/etc/hosts"), "/etc/hosts");
});

test("a command is completed until its name is whole", () => {
  assert.deepEqual(
    completions("/re").map(({ name }) => name),
    ["retry", "rename"],
  );
  assert.equal(completions("/").length, 9);
  assert.deepEqual(completions("/rename x"), []);
  assert.deepEqual(completions("re"), []);
});
