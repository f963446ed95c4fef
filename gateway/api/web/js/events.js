/** Server-sent events: each as parsed JSON, then null for `[DONE]`. */
export async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const data = block.startsWith("data: ") ? block.slice(6) : null;
        if (data !== null) yield data === "[DONE]" ? null : JSON.parse(data);
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
