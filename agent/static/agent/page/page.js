// @ts-check
// The chat page: opens the session that the address names, and another one when the address changes.
// Connects the conversation with the list of sessions, the colours and the notifications.
//
// The address `/` is a new chat. As soon as the server has, or may get, something to store of its
// session, the address becomes `/?session=<id>`, so that a reload comes back to the session.

import { Sessions } from "../client/sessions.js";
import { browserStore, callerStore } from "../client/storage.js";
import { showHelp } from "./composer/help.js";
import { Conversation } from "./conversation/conversation.js";
import { followEnd } from "./conversation/follow.js";
import { elements } from "./elements.js";
import { SessionsView } from "./sessions/sessions-view.js";
import { Notifier } from "./shell/notifier.js";
import { sidebar } from "./shell/sidebar.js";
import { switchTheme } from "./shell/theme.js";
import { signInAddress } from "./status/connection-view.js";
import { setText, shortened } from "./ui/dom.js";

const LONGEST_TITLE = 60;
/** Time after which a new session is in the list. */
const STORED_MS = 400;

const {
  socketPath = "",
  sessionsPath = "",
  signInPath = "",
  csrfToken = "",
  csrfCookie = "",
  caller = "",
  callerIsNew,
} = document.body.dataset;
const local = browserStore(() => window.localStorage);
const tab = browserStore(() => window.sessionStorage);
const follow = followEnd(elements.scroller, elements.column, elements.jump);
const nextTheme = switchTheme(elements.theme, local);
const notifier = new Notifier(elements.bell, local, (message) => setText(elements.hint, message));
const sessions = new Sessions(sessionsPath, currentToken);
const side = sidebar(elements, local);
const list = new SessionsView(
  sessions,
  { list: elements.sessions, search: elements.search, hint: elements.hint },
  {
    open: openSession,
    deleted: leaveDeleted,
    exportAs,
    loaded: retitle,
    announce: (text) => setText(elements.status, text),
  },
);

/** The session on the page; null: a new chat. @type {string | null} */
let shown = null;
/** The title of the conversation, as far as it is loaded. @type {string | null} */
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
    elements,
    url: socketAddress(),
    signInPath,
    caller,
    callerIsNew: callerIsNew !== undefined,
    local,
    tab,
    newChat,
    showHelp: () => showHelp(elements.help),
    switchTheme: nextTheme,
    exportAs,
    onSession: keepAddress,
    onTitle(title) {
      ownTitle = title;
      retitle();
    },
    onAnswer: (turn, text) => {
      notifier.answered(elements.agent.textContent ?? "", text, turn.id);
      list.refresh();
    },
    scrollToEnd: follow.scrollToEnd,
  });
  opened.start();
  return opened;
}

/** Leaves the present conversation and opens the one that the address names. */
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

/** A long session takes its title from the list or the conversation, whichever has it first. */
function retitle() {
  const title = ownTitle ?? (shown && list.titleOf(shown));
  if (title) showTitle(title);
}

/** @param {string | null} title */
function showTitle(title) {
  const agent = elements.agent.textContent ?? "";
  const [line] = (title ?? "").trim().split("\n", 1);
  const short = shortened(line, LONGEST_TITLE);
  if (elements.title.textContent === short) return;
  const before = elements.title.textContent;
  setText(elements.title, short);
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

/** Removes drafts and unsent messages from the tab when the user signs out. */
function forgetTab() {
  const own = callerStore(tab, caller);
  for (const key of own.keys("")) own.remove(key);
}

/** The CSRF token of now: signing in and out in another tab has replaced that of the page. */
function currentToken() {
  const cookies = document.cookie.split("; ").map((pair) => pair.split("="));
  return cookies.find(([name]) => name === csrfCookie)?.[1] ?? csrfToken;
}

function sessionInAddress() {
  return new URLSearchParams(location.search).get("session");
}

function socketAddress() {
  const address = new URL(socketPath, location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  return address.href;
}

elements.newChat.addEventListener("click", newChat);
for (const starter of document.querySelectorAll("#empty button")) {
  starter.addEventListener("click", () => conversation.ask(starter.textContent?.trim() ?? ""));
}
elements.signIn?.addEventListener("click", ({ currentTarget }) => {
  const link = /** @type {HTMLAnchorElement} */ (currentTarget);
  link.href = signInAddress(signInPath); // and back to this conversation
});
elements.signOut?.addEventListener("submit", () => {
  const token = elements.signOut?.elements.namedItem("csrfmiddlewaretoken");
  if (token instanceof HTMLInputElement) token.value = currentToken();
  // after the draft was stored, which happens in case the page comes back
  window.addEventListener("pagehide", forgetTab, { once: true });
});
window.addEventListener("popstate", () => {
  if (sessionInAddress() !== shown) followAddress(); // otherwise a link led to an anchor on the page
});
window.addEventListener("online", () => conversation.networkChanged(true));
window.addEventListener("offline", () => conversation.networkChanged(false));
window.addEventListener("pageshow", ({ persisted }) => persisted && conversation.wake());
for (const name of ["dragover", "drop"]) {
  document.addEventListener(name, (event) => {
    const hasFiles = /** @type {DragEvent} */ (event).dataTransfer?.types.includes("Files");
    if (hasFiles) event.preventDefault(); // the browser would open the file instead of the page
  });
}
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState !== "visible") return;
  conversation.wake();
  list.refresh(); // another tab may have changed it
});
