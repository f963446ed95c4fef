/** Questions to begin with, for the tools that the planner can use. */

import { upload } from "./api.js";
import { h, part } from "./dom.js";

const POSTER = "poster.webp";
const MEADOW = "meadow.webp";
const SHOWN_MAX = 6;
const PIG = [0.24, 0.46, 0.44, 0.67];

/** `needs`: any of these tools is enough. Pictures are the package's own. */
const PROMPTS = [
  { needs: ["easyocr"], title: "Read", text: "What does this poster say?", picture: POSTER },
  { needs: ["grounding_dino"], title: "Find", text: "Find the pig and the koala.", picture: MEADOW },
  { needs: ["sam", "semantic_sam"], title: "Cut out", text: "Cut out what is in the box.", picture: MEADOW, boxes: [PIG] },
  { needs: ["grounding_dino+sam"], title: "Outline", text: "Cut out the koala.", picture: MEADOW },
  { needs: ["instruct_pix2pix"], title: "Change", text: "Make it look like winter.", picture: MEADOW },
  { needs: ["inpainting"], title: "Replace", text: "Replace what is in the box with a red ball.", picture: MEADOW, boxes: [PIG] },
  { needs: ["openseed"], title: "Map", text: "Show me what every part of this picture is.", picture: MEADOW },
  { needs: ["stable_diffusion"], title: "Paint", text: "Paint a red balloon over a meadow." },
  { needs: ["blip2"], title: "Describe", text: "Describe this picture.", picture: MEADOW },
  { needs: ["ram"], title: "Tag", text: "Which things are in this picture?", picture: MEADOW },
];

/** Shows the examples for which the planner has a tool; `onChoose` gets a filled question. */
export function showPrompts(tools, onChoose) {
  const names = usable(tools).map(({ name }) => name);
  const fitting = PROMPTS.filter(({ needs }) => needs.some((name) => names.includes(name))).slice(0, SHOWN_MAX);
  part("prompts").replaceChildren(...fitting.map((prompt) => h("li", {}, card(prompt, onChoose))));
  part("prompts").hidden = !fitting.length;
}

/** The tools that the planner was trained to use; where it was trained for none, those that it is told of. */
function usable(tools) {
  const learned = tools.filter(({ planner }) => planner === "learned");
  return learned.length ? learned : tools.filter(({ planner }) => planner !== "none");
}

function card(prompt, onChoose) {
  const { title, text, picture } = prompt;
  const choose = async () => {
    chosen.disabled = true;
    part("hint").textContent = "";
    try {
      onChoose({ text, pictures: picture ? [await stored(prompt)] : [] });
    } catch (error) {
      part("hint").textContent = error.message;
    }
    chosen.disabled = false;
  };
  const image = picture && h("img", { src: example(picture), alt: "", loading: "lazy", width: 72, height: 56 });
  const words = h("span", {}, h("small", {}, title), h("span", {}, text));
  const chosen = h("button", { type: "button", class: "prompt", onclick: choose }, image, words);
  return chosen;
}

/** Where a picture of the package is: beside this module. */
function example(picture) {
  return new URL(`../examples/${picture}`, import.meta.url).href;
}

/** The example's picture, put into the gateway like any other. */
async function stored({ picture, boxes }) {
  const bytes = await fetch(example(picture)).then((answer) => answer.blob());
  const { id, width, height } = await upload(new File([bytes], picture, { type: bytes.type }));
  return { id, width, height, name: picture, marks: boxes ? { points: [], labels: [], boxes, mask: null } : null };
}
