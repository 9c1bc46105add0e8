// @ts-check
// The chat page: opens the session that the address names, another when the address changes, and
// joins what stands around a conversation: the list of them, colours, notifications.
//
// The address: `/` is a new chat. As soon as its session has, or may get, something stored, the
// address becomes `/?session=<id>`, so that a reload comes back to it; before that there would be
// nothing to come back to.

import { Sessions } from "../client/sessions.js";
import { browserStore, ownStore } from "../client/storage.js";
import { showHelp } from "./composer/help.js";
import { Conversation } from "./conversation/conversation.js";
import { followEnd } from "./conversation/follow.js";
import { parts } from "./elements.js";
import { SessionsView } from "./sessions/sessions-view.js";
import { Notifier } from "./shell/notifier.js";
import { sidebar } from "./shell/sidebar.js";
import { switchTheme } from "./shell/theme.js";
import { setText } from "./ui/dom.js";

const LONGEST_TITLE = 60;
/** After which a new session is in the list. */
const STORED_MS = 400;

const {
  socketPath = "",
  sessionsPath = "",
  signInPath = "",
  csrfToken = "",
  caller = "",
  callerIsNew,
} = document.body.dataset;
const local = browserStore(() => window.localStorage);
const tab = browserStore(() => window.sessionStorage);
const follow = followEnd(parts.scroller, parts.column, parts.jump);
const nextTheme = switchTheme(parts.theme, local);
const notifier = new Notifier(parts.bell, local, (words) => setText(parts.hint, words));
const sessions = new Sessions(sessionsPath, csrfToken);
const side = sidebar(parts, local);
const list = new SessionsView(
  sessions,
  { list: parts.sessions, search: parts.search, hint: parts.hint },
  { open: openSession, deleted: leaveDeleted, exportAs, loaded: retitle },
);

/** The session that is shown; null: a new chat. @type {string | null} */
let shown = null;
/** What the conversation calls itself, as far as it is loaded. @type {string | null} */
let ownTitle = null;
let conversation = open(sessionInAddress());
list.refresh();

/** @param {string | null} session */
function open(session) {
  shown = session;
  ownTitle = null;
  showTitle(session && list.titleOf(session));
  list.mark(session);
  const opened = new Conversation(session, {
    parts,
    url: socketAddress(),
    signInPath,
    caller,
    callerIsNew: callerIsNew !== undefined,
    local,
    tab,
    newChat,
    help: () => showHelp(parts.help),
    switchTheme: nextTheme,
    exportAs,
    onSession: keepAddress,
    onTitle(title) {
      ownTitle = title;
      retitle();
    },
    onAnswer: (turn, text) => {
      notifier.answered(parts.agent.textContent ?? "", text, turn.id);
      list.refresh();
    },
    toEnd: follow.toEnd,
  });
  opened.start();
  return opened;
}

/** Leaves the present conversation for the one that the address names. */
function followAddress() {
  conversation.leave();
  conversation = open(sessionInAddress());
}

function newChat() {
  if (sessionInAddress()) history.pushState(null, "", location.pathname);
  side.closeDrawer();
  followAddress();
}

/** @param {string} session */
function openSession(session) {
  side.closeDrawer();
  if (session === sessionInAddress()) return;
  history.pushState(null, "", `?${new URLSearchParams({ session })}`);
  followAddress();
}

/** @param {string} session */
function leaveDeleted(session) {
  if (session === sessionInAddress()) newChat();
}

/** @param {string} session */
function keepAddress(session) {
  shown = session;
  if (sessionInAddress() === session) return;
  history.replaceState(null, "", `?${new URLSearchParams({ session })}`);
  list.mark(session);
  list.refresh(STORED_MS);
}

/** A long session has its title from the list, whichever is here first; a search may hide it. */
function retitle() {
  const title = ownTitle ?? (shown && list.titleOf(shown));
  if (title) showTitle(title);
}

/** @param {string | null} title */
function showTitle(title) {
  const agent = parts.agent.textContent ?? "";
  const [line] = (title ?? "").trim().split("\n", 1);
  const short = line.length > LONGEST_TITLE ? `${line.slice(0, LONGEST_TITLE)}…` : line;
  if (parts.title.textContent === short) return;
  const before = parts.title.textContent;
  setText(parts.title, short);
  document.title = short ? `${short} · ${agent}` : agent;
  if (before && short) list.refresh(); // it was renamed
}

/** @param {string} session @param {"md" | "json"} format */
function exportAs(session, format) {
  const link = document.createElement("a");
  link.href = sessions.exportUrl(session, format);
  link.download = "";
  link.click();
}

/** What somebody typed and did not send goes when they go. */
function forgetTab() {
  const own = ownStore(tab, caller);
  for (const key of own.keys("")) own.remove(key);
}

function sessionInAddress() {
  return new URLSearchParams(location.search).get("session");
}

function socketAddress() {
  const address = new URL(socketPath, location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  return address.href;
}

parts.newChat.addEventListener("click", newChat);
for (const starter of document.querySelectorAll("#empty button")) {
  starter.addEventListener("click", () => conversation.ask(starter.textContent?.trim() ?? ""));
}
parts.signOut?.addEventListener("submit", () => {
  // after the draft was kept for a page that comes back
  window.addEventListener("pagehide", forgetTab, { once: true });
});
window.addEventListener("popstate", () => {
  if (sessionInAddress() !== shown) followAddress(); // else a link led to a place within the page
});
window.addEventListener("online", () => conversation.networkChanged(true));
window.addEventListener("offline", () => conversation.networkChanged(false));
window.addEventListener("pageshow", ({ persisted }) => persisted && conversation.wake());
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState !== "visible") return;
  conversation.wake();
  list.refresh(); // another tab may have changed it
});
