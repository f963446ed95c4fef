// One question through the official OpenAI client for JavaScript; prints the answer as JSON.
import OpenAI from "openai";

const [baseURL, asked] = process.argv.slice(2);
const { content, session_id } = JSON.parse(asked);
const client = new OpenAI({ baseURL, apiKey: "unused", maxRetries: 0, timeout: 30_000 });
const answer = await client.chat.completions.create({
  model: "llava-plus",
  messages: [{ role: "user", content }],
  ...(session_id ? { session_id } : {}),
});
console.log(
  JSON.stringify({
    text: answer.choices[0].message.content,
    session: answer.session_id,
    produced: answer.produced_images,
  }),
);
