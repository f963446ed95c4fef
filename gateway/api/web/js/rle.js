/**
 * COCO's compressed run-length code of a mask.
 *
 * Runs alternate outside, inside, from the top left, column by column. Each is written as the difference to the run
 * two before it, in groups of five bits, the lowest first, with a sixth bit while more follow, as characters from "0".
 */

/** A mask's pixels, row by row: 1 inside. `size` is [height, width]. */
export function decode({ size: [height, width], counts }) {
  const data = new Uint8Array(width * height);
  let at = 0;
  let inside = false;
  for (const run of runsOf(counts)) {
    if (inside) fill(data, at, Math.min(at + run, data.length), width, height);
    at += run;
    inside = !inside;
  }
  return { width, height, data };
}

/** The code of a mask whose `data` is row by row, not 0 inside. */
export function encode({ width, height, data }) {
  const runs = [];
  let value = 0;
  let run = 0;
  for (let x = 0; x < width; x += 1) {
    for (let y = 0; y < height; y += 1) {
      const here = data[y * width + x] ? 1 : 0;
      if (here !== value) {
        runs.push(run);
        run = 0;
        value = here;
      }
      run += 1;
    }
  }
  runs.push(run);
  return { size: [height, width], counts: written(runs) };
}

function fill(data, from, to, width, height) {
  for (let at = from; at < to; at += 1) data[(at % height) * width + Math.floor(at / height)] = 1;
}

function runsOf(counts) {
  const runs = [];
  for (let at = 0; at < counts.length; ) {
    let value = 0;
    let shift = 0;
    let more = true;
    while (more && at < counts.length) {
      const bits = counts.charCodeAt(at) - 48;
      value |= (bits & 31) << shift;
      shift += 5;
      more = (bits & 32) !== 0;
      if (!more && bits & 16) value |= -1 << shift;
      at += 1;
    }
    if (runs.length > 2) value += runs[runs.length - 2];
    runs.push(Math.max(0, value));
  }
  return runs;
}

function written(runs) {
  let text = "";
  runs.forEach((run, index) => {
    let value = index > 2 ? run - runs[index - 2] : run;
    for (let more = true; more; ) {
      let bits = value & 31;
      value >>= 5;
      more = bits & 16 ? value !== -1 : value !== 0;
      if (more) bits |= 32;
      text += String.fromCharCode(bits + 48);
    }
  });
  return text;
}
