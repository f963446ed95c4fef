/** Making elements. Text goes in as text nodes only, so nothing that a picture or a model says can become markup. */

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes, `on...` listeners and children; what is null, undefined or false is left out. */
export function h(tag, props = {}, ...children) {
  return filled(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function s(tag, props = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), props, children);
}

/** A drawing from the page's sprite; what it means is said by the element around it. */
export function icon(name) {
  return s("svg", { class: "icon", "aria-hidden": "true" }, s("use", { href: `#i-${name}` }));
}

/** A button with a drawing. Without `text` only the drawing is shown, and `label` is its name. */
export function button({ icon: drawing, text, label, ...props }, ...children) {
  const given = { type: "button", class: text ? "button" : "button round", ...props };
  if (label) given["aria-label"] = label;
  if (label && !text) given.title = label;
  return h("button", given, drawing && icon(drawing), text && h("span", {}, text), ...children);
}

/** The part of the page with that id. */
export function part(id) {
  return document.getElementById(id);
}

function filled(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value") node.value = value;
    else if (name === "style") Object.assign(node.style, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}
