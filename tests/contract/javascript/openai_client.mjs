// The official OpenAI client for JavaScript against a gateway; prints what it got as one JSON object.
import OpenAI from "openai";

const [baseURL, picture] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "unused", maxRetries: 0, timeout: 30_000 });
const looking = (text, ...urls) => [
  {
    role: "user",
    content: [{ type: "text", text }, ...urls.map((url) => ({ type: "image_url", image_url: { url } }))],
  },
];
const ask = (messages, fields = {}) => client.chat.completions.create({ model: "llava-plus", messages, ...fields });
const found = {};

const whole = await ask(looking("Please read the sign.", picture, picture));
found.whole = { answer: whole.choices[0].message.content, usage: whole.usage.total_tokens, images: whole.images };

const again = await ask(looking("And now?"), { session_id: whole.session_id });
found.again = { answer: again.choices[0].message.content, same: again.session_id === whole.session_id };

found.stream = { text: "", usage: null, finish: null, session: null };
const stream = await ask(looking("Please read the sign.", picture), {
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  const choice = chunk.choices[0];
  found.stream.text += choice?.delta?.content ?? "";
  found.stream.finish ??= choice?.finish_reason ?? null;
  found.stream.usage ??= chunk.usage?.total_tokens ?? null;
  found.stream.session ??= chunk.session_id ?? null;
}

const helper = client.chat.completions.stream({ model: "llava-plus", messages: looking("Hi") });
found.helper = (await helper.finalChatCompletion()).choices[0].message.content;

const several = await ask(looking("Hi"), { n: 3, seed: 7, temperature: 0.5, max_tokens: 20, top_p: 0.9, user: "me" });
found.several = several.choices.map((choice) => [choice.index, choice.message.content, choice.pictures]);

found.models = [];
for await (const model of client.models.list()) found.models.push(model.id);

found.errors = [];
for (const call of [
  () => ask(looking("Hi", "https://inside.test/")),
  () => ask(looking("Hi"), { session_id: "sess_unknown" }),
  () => ask(looking("Hi"), { temperature: 9 }),
]) {
  try {
    await call();
    found.errors.push(null);
  } catch (error) {
    found.errors.push([error.constructor.name, error.status, error.code, error.param, Boolean(error.requestID)]);
  }
}

console.log(JSON.stringify(found));
