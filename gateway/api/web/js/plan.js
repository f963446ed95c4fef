/** How an answer came about: the planner's thoughts, the calls it made, what they took and gave. */

import { h } from "./dom.js";

const TEXT_MAX = 160;

/** The plan of a turn's steps, as `debug` gives them. */
export function planOf(steps) {
  const total = steps.reduce((sum, step) => sum + step.planner_ms + (step.skills_ms ?? 0), 0);
  return h(
    "section",
    { class: "plan", "aria-label": "How this answer was made" },
    h("h3", {}, "Plan", h("small", {}, `${steps.length} ${steps.length === 1 ? "step" : "steps"}, ${duration(total)}`)),
    h("ol", {}, steps.map(stepOf)),
  );
}

function stepOf(step) {
  const before = step.kind === "all_tools";
  const times = [
    !before && `planner ${duration(step.planner_ms)}`,
    step.results?.length && `tools ${duration(step.skills_ms)}`,
  ].filter(Boolean);
  const title = before ? "All tools, before the planner" : step.actions.length ? "Calls tools" : "Answers";
  return h(
    "li",
    { class: "step" },
    h("h4", {}, title, h("small", {}, times.join(", "))),
    step.thoughts && h("blockquote", {}, step.thoughts),
    step.results?.length ? h("ul", { class: "calls" }, step.results.map(callOf)) : refused(step),
  );
}

/** Calls that were planned and not made. */
function refused(step) {
  if (!step.actions.length) return null;
  return h("ul", { class: "calls" }, step.actions.map((action) => h("li", {}, h("code", {}, action.API_name))));
}

function callOf({ skill, args, elapsed_ms: elapsed, cached, error, result, checkpoint }) {
  const state = error ? ["failed", "bad"] : cached ? ["cache hit", "hit"] : ["done", "ok"];
  return h(
    "li",
    { class: "call" },
    h(
      "p",
      {},
      h("code", { class: "name" }, skill),
      h("span", { class: `badge ${state[1]}` }, state[0]),
      h("small", {}, [duration(elapsed), checkpoint].filter(Boolean).join(", ")),
    ),
    Object.keys(args ?? {}).length > 0 && h("pre", { tabindex: 0, "aria-label": `Arguments of ${skill}` }, pretty(args)),
    error && h("p", { class: "reason" }, error.message ?? pretty(error)),
    result && h(
      "details",
      {},
      h("summary", {}, "Result"),
      h("pre", { tabindex: 0, "aria-label": `Result of ${skill}` }, pretty(result)),
    ),
  );
}

/** Data for reading: one line where it is short, long codes cut. */
export function pretty(value) {
  const cut = (_, text) => (typeof text === "string" && text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text);
  const line = JSON.stringify(value, cut);
  return line.length < 80 ? line : JSON.stringify(value, cut, 1).replace(/\[\s+(-?[\d.e-]+(?:,\s+-?[\d.e-]+)*)\s+\]/g, (_, list) => `[${list.replace(/\s+/g, " ")}]`);
}

export function duration(ms) {
  if (ms < 1) return "0 ms";
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
