/**
 * What skill calls found, as things to draw on the pictures that they worked on.
 *
 * Results are read by their field names, which all skills share, so that a new skill's boxes and masks are drawn too.
 *
 * An item is { label, score, box, mask, colour, outlined }: box xyxy from 0 to 1, mask a run-length code.
 * A map is { handle, classes: [{ name, colour, area }] }.
 */

const PALETTE = ["#e5484d", "#0090ff", "#30a46c", "#f5a524", "#8e4ec6", "#00a2c7", "#e93d82", "#a18072"];
const SAME_BOX = 0.011;

/** By picture handle, in the order of the calls: { items, maps }. `records` are the results of all steps of a turn. */
export function findingsOf(records) {
  const found = new Map();
  for (const { result, images, args } of records) {
    const handle = images?.image;
    if (!result || !handle) continue;
    const on = found.get(handle) ?? { items: [], maps: [] };
    const drawn = itemsOf(result);
    const joined = withMasks(on.items, drawn, args?.boxes);
    on.items = joined ?? [...on.items, ...drawn];
    if (result.image_seg) on.maps.push({ handle: result.image_seg, classes: classesOf(result.labels) });
    if (on.items.length || on.maps.length) found.set(handle, on);
  }
  for (const on of found.values()) coloured(on.items);
  return found;
}

/** Pictures that calls made: [{ handle, before, skill }], `before` the picture that was changed, if one was. */
export function paintedBy(records) {
  return records
    .filter(({ result }) => result?.edited_image)
    .map(({ result, images, skill }) => ({ handle: result.edited_image, before: images?.image ?? null, skill }));
}

export function recordsOf(steps) {
  return (steps ?? []).flatMap((step) => step.results ?? []);
}

function itemsOf(result) {
  const boxes = listOf(result.boxes);
  const masks = result.mask_rle ? [result.mask_rle] : listOf(result.masks_rle);
  const names = [result.phrases, result.texts, result.labels].find(
    (given) => Array.isArray(given) && given.every((name) => typeof name === "string"),
  );
  const scores = listOf(result.logits ?? result.scores ?? result.iou);
  // Boxes that a segmenter gives are only around its masks: the mask itself says more.
  const outlined = !(masks.length && result.iou);
  return Array.from({ length: Math.max(boxes.length, masks.length) }, (_, index) => ({
    label: names?.[index] ?? (masks[index] ? `Mask ${index + 1}` : `Box ${index + 1}`),
    score: typeof scores[index] === "number" ? scores[index] : (result.score ?? null),
    box: boxes[index] ?? null,
    mask: masks[index] ?? null,
    text: Array.isArray(result.texts),
    outlined,
  })).filter(({ box, mask }) => mask || (box && box[2] > box[0] && box[3] > box[1]));
}

/** The items with masks cut in their own boxes, or null where the boxes are others. */
function withMasks(items, drawn, boxes) {
  if (!boxes?.length || boxes.length !== drawn.length || !drawn.every(({ mask }) => mask)) return null;
  const places = boxes.map((box) => items.findIndex((item) => item.box && !item.mask && same(item.box, box)));
  if (places.includes(-1)) return null;
  return items.map((item, index) => {
    const made = drawn[places.indexOf(index)];
    return made ? { ...item, mask: made.mask } : item;
  });
}

function same(one, other) {
  return one.every((value, index) => Math.abs(value - other[index]) < SAME_BOX);
}

/** Things of one name have one colour; all lines of text have one, since each has a name of its own. */
function coloured(items) {
  const names = [...new Set(items.map((item) => (item.text ? "text" : item.label)))];
  for (const item of items) item.colour = PALETTE[names.indexOf(item.text ? "text" : item.label) % PALETTE.length];
}

function classesOf(labels) {
  return listOf(labels)
    .filter((label) => label?.name && Array.isArray(label.colour))
    .map(({ name, colour, area }) => ({ name, colour, area }));
}

function listOf(value) {
  return Array.isArray(value) ? value : [];
}
