/** Puts the parts of the page together. */

import { request } from "./api.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { part } from "./dom.js";
import { History } from "./history.js";
import { showPrompts } from "./prompts.js";
import { keep, kept } from "./settings.js";
import { themeSwitch } from "./theme_switch.js";
import { ToolsPage } from "./tools_page.js";

const connection = new Connection();
const chat = new Chat({
  connection,
  onSession: (id) => {
    history.replaceState(null, "", `#/c/${id}`);
    past.select(id);
    past.refresh();
    composer.refresh();
  },
  onBusy: (busy) => {
    composer.busy = busy;
  },
  onAway: (conversations) => past.showAway(conversations),
  onMark: (picture) => composer.markPicture(picture),
  onEdit: ({ question }) => composer.fill(question),
});
const composer = new Composer({
  onSend: (question) => chat.ask(question),
  onStop: () => chat.stop(),
  current: () => chat.current,
});
const past = new History({
  onOpen: (id) => {
    location.hash = `#/c/${id}`;
    menu(false);
  },
  onResume: (conversation) => {
    chat.show(conversation);
    shown(conversation.session);
  },
  onDeleted: (id) => id === chat.session && fresh(),
  connection,
});
let tools = null;

/** A new conversation. */
function fresh() {
  chat.clear();
  shown(null);
  composer.focus();
}

/** The address and the list say which conversation is shown. */
function shown(id) {
  past.select(id);
  history.replaceState(null, "", id ? `#/c/${id}` : "#/");
  view("chat");
  menu(false);
  composer.refresh();
}

function view(name) {
  for (const one of ["chat", "tools"]) {
    part(one).hidden = one !== name;
    document.body.classList.toggle(`in-${one}`, one === name);
    part(`to-${one}`).setAttribute("aria-current", one === name ? "page" : "false");
  }
}

/** Shows what the address says: a stored conversation, a tool, or a new conversation. */
async function route() {
  const [, kind, id] = decodeURIComponent(location.hash).split("/");
  if (kind === "tools") {
    view("tools");
    tools?.open(id);
    return;
  }
  view("chat");
  if (kind === "c" && id !== chat.session) await opened(id);
  else if (!kind && chat.session) history.replaceState(null, "", `#/c/${chat.session}`);
}

async function opened(id) {
  try {
    await chat.open(id);
    past.select(id);
    part("hint").textContent = "";
  } catch (error) {
    fresh();
    part("hint").textContent = error.code === "session_not_found" ? "That conversation is no longer kept." : error.message;
    if (error.unreachable) connection.lost(() => (location.hash = `#/c/${id}`));
  }
  composer.refresh();
}

/** On a narrow page the list of conversations is a drawer. */
function menu(open) {
  document.body.classList.toggle("menu-open", open);
  part("menu").setAttribute("aria-expanded", String(open));
  if (open) part("new-chat").focus();
}

function planSwitch() {
  const control = part("plan-switch");
  const show = (wanted) => {
    control.setAttribute("aria-pressed", String(wanted));
    chat.showPlan(wanted);
  };
  control.addEventListener("click", () => {
    const wanted = control.getAttribute("aria-pressed") !== "true";
    keep("plan", wanted);
    show(wanted);
  });
  show(kept("plan", false));
}

async function loadTools() {
  try {
    const { data } = await request("/v1/tools");
    tools = new ToolsPage(data, (name) => (location.hash = `#/tools/${name}`));
    showPrompts(data, (question) => composer.fill(question));
    if (location.hash.startsWith("#/tools")) route();
  } catch (error) {
    part("tools-state").textContent = error.message;
    if (error.unreachable) connection.lost(loadTools);
  }
}

function shortcuts() {
  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]")) return;
    const command = event.ctrlKey || event.metaKey;
    if (event.key === "Escape") {
      if (document.body.classList.contains("menu-open")) {
        menu(false);
        part("menu").focus();
      } else chat.stop();
      return;
    }
    if (!command) return;
    if (event.key === "k") composer.focus();
    else if (event.key === "/") part("help").showModal();
    else if (event.shiftKey && event.key.toLowerCase() === "o") fresh();
    else return;
    event.preventDefault();
  });
}

themeSwitch();
planSwitch();
shortcuts();
part("new-chat").addEventListener("click", () => {
  menu(false);
  fresh();
});
part("to-chat").addEventListener("click", () => (location.hash = chat.session ? `#/c/${chat.session}` : "#/"));
part("to-tools").addEventListener("click", () => (location.hash = `#/tools/${tools?.tool?.name ?? ""}`));
part("menu").addEventListener("click", () => menu(!document.body.classList.contains("menu-open")));
part("veil").addEventListener("click", () => menu(false));
part("show-help").addEventListener("click", () => part("help").showModal());
window.addEventListener("hashchange", route);
loadTools();
past.refresh();
route();
document.body.dataset.ready = "";
