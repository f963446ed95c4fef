/** What a person has set, and what they have not sent yet: kept in the browser, for the next visit. */

const PREFIX = "llava-plus.";
const listeners = new Map();

/** A kept value, or `otherwise`. */
export function kept(name, otherwise = null) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** Keeps a value (null forgets it) and tells who listens. */
export function keep(name, value) {
  try {
    if (value === null) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // Private windows may have no storage: the setting then lasts as long as the page.
  }
  for (const listener of listeners.get(name) ?? []) listener(value);
}

export function whenChanged(name, listener) {
  listeners.set(name, [...(listeners.get(name) ?? []), listener]);
}
