/** The gateway's HTTP interface. Every failure is an `ApiError` that says what to do. */

import { events } from "./events.js";

const ADVICE = {
  session_not_found: "This conversation is no longer kept. Try again to ask in a new one.",
  session_busy: "Wait for the other answer, then try again.",
  message_running: "The message is still being answered. Try again in a few seconds.",
  image_not_found: "Pictures are kept for a limited time. Choose the picture again.",
  invalid_image: "Choose a PNG, JPEG, WebP, GIF, BMP or TIFF file.",
  body_too_large: "Choose a smaller picture.",
  planner_unavailable: "The planner is starting or has too much to do. Try again in a moment.",
  skill_overloaded: "The tool has too much to do. Try again in a moment.",
  skill_unavailable: "The tool is starting. Try again in a moment.",
  context_length_exceeded: "Start a new conversation, or send fewer pictures.",
};

/** What went wrong: `code` of the gateway's error, or "unreachable"; `advice` is the next thing to do. */
export class ApiError extends Error {
  constructor({ message, code, request_id: requestId, param }, status = 0, retryAfter = null) {
    super(message);
    this.code = code;
    this.status = status;
    this.requestId = requestId;
    this.param = param;
    const wait = retryAfter ? `Try again in ${retryAfter} s.` : null;
    this.advice = ADVICE[code] ?? wait ?? (status >= 500 ? "Try again; if it fails again, look in the gateway's log." : "");
  }

  get unreachable() {
    return this.code === "unreachable";
  }
}

const UNREACHABLE = {
  code: "unreachable",
  message: "The gateway cannot be reached. The page goes on by itself as soon as it answers.",
};

/** The answer's JSON; `body` is sent as JSON unless it is a form. */
export async function request(path, { method = "GET", body, signal, headers = {} } = {}) {
  return (await answered(path, { method, body, signal, headers })).json();
}

/** Stores a picture; gives its handle and size. */
export function upload(file, signal) {
  const form = new FormData();
  form.append("file", file, file.name || "picture");
  return request("/v1/images", { method: "POST", body: form, signal });
}

/** The chunks of an answer, as they come. `key` makes it safe to send the message again. */
export async function* chat(body, key, signal) {
  const headers = { "Idempotency-Key": key };
  const response = await answered("/v1/chat/completions", { method: "POST", body, signal, headers });
  let ended = false;
  try {
    for await (const event of events(response.body)) {
      if (event === null) ended = true;
      else if (event.error) throw new ApiError(event.error, 500);
      else yield event;
    }
  } catch (error) {
    throw error instanceof TypeError ? new ApiError(UNREACHABLE) : error;
  }
  if (!ended) throw new ApiError(UNREACHABLE);
}

export const imageUrl = (handle, variant) => `/v1/images/${handle}${variant ? `?variant=${variant}` : ""}`;

async function answered(path, { method, body, signal, headers }) {
  const form = body instanceof FormData;
  const sent = body === undefined || form ? body : JSON.stringify(body);
  const types = body === undefined || form ? {} : { "Content-Type": "application/json" };
  let response;
  try {
    response = await fetch(path, { method, body: sent, signal, headers: { ...types, ...headers } });
  } catch (error) {
    throw error.name === "AbortError" ? error : new ApiError(UNREACHABLE);
  }
  if (!response.ok) throw await failure(response);
  return response;
}

async function failure(response) {
  const plain = { message: `The gateway answered ${response.status}.`, code: "unknown" };
  const said = await response.json().then((answer) => answer.error ?? plain, () => plain);
  return new ApiError(said, response.status, response.headers.get("Retry-After"));
}
