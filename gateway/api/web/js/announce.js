/** Words for screen readers that are not on the page. */

import { part } from "./dom.js";

export function announce(words) {
  const region = part("announcer");
  // The same words twice in a row are only read again when the region was empty between.
  region.textContent = "";
  requestAnimationFrame(() => {
    region.textContent = words;
  });
}
