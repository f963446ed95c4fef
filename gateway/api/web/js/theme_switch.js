/** The button that goes through the colours: as the system has them, light, dark. */

import { icon, part } from "./dom.js";
import { keep, kept } from "./settings.js";

const NEXT = { system: "light", light: "dark", dark: "system" };
const NAMES = { system: "as the system", light: "light", dark: "dark" };
const ICONS = { system: "auto", light: "sun", dark: "moon" };

export function themeSwitch() {
  const control = part("theme");
  const show = (theme) => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    control.replaceChildren(icon(ICONS[theme]));
    control.setAttribute("aria-label", `Colours: ${NAMES[theme]}. Switch to ${NAMES[NEXT[theme]]}`);
    control.title = `Colours: ${NAMES[theme]}`;
    control.dataset.now = theme;
  };
  control.addEventListener("click", () => {
    const theme = NEXT[control.dataset.now];
    keep("theme", theme === "system" ? null : theme);
    show(theme);
  });
  show(kept("theme", "system"));
}
