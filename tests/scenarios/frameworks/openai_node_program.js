// What programs do with openai-node beyond chats (`../node/journeys.js`), whatever server.

import OpenAI, { toFile } from 'openai';
import { zodResponseFormat, zodResponsesFunction, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';

import { collect, failing, faults, model, question, tell } from './telling.js';

const recipe = z.object({ title: z.string(), minutes: z.number().int(), steps: z.array(z.string()) });
const messages = [{ role: 'user', content: question }];
const parameters = { type: 'object', properties: { city: { type: 'string' }, days: { type: 'integer' } } };
const weather = zodResponsesFunction({ name: 'get_weather', parameters: z.object({ city: z.string(), days: z.number() }) });
const line = '{"custom_id":"1","method":"POST","url":"/v1/chat/completions","body":{}}\n';

function connect({ baseURL, apiKey, headers }) {
  return new OpenAI({ baseURL, apiKey, defaultHeaders: headers, maxRetries: 0 });
}

// A journey is told with a client instead of a server.
const journeys = {
  async 'tools run by the helper'(openai) {
    const run = openai.chat.completions.runTools({
      model,
      messages,
      tools: [
        {
          type: 'function',
          function: { name: 'get_weather', parse: JSON.parse, function: ({ days }) => `${days} days of rain.`, parameters },
        },
      ],
    });
    return [await run.finalContent(), run.messages];
  },
  async 'structured output'(openai) {
    const response_format = zodResponseFormat(recipe, 'recipe');
    return (await openai.chat.completions.parse({ model, messages, response_format })).choices[0].message.parsed;
  },
  async 'stored chats'(openai) {
    const { id } = await openai.chat.completions.create({ model, messages, store: true, metadata: { topic: 'rivers' } });
    const got = await openai.chat.completions.retrieve(id);
    const asked = await collect(openai.chat.completions.messages.list(id));
    const updated = await openai.chat.completions.update(id, { metadata: { topic: 'lakes' } });
    const listed = await collect(openai.chat.completions.list({ metadata: { topic: 'lakes' }, limit: 1 }));
    return [got, asked, updated, listed.some((each) => each.id === id), await openai.chat.completions.delete(id)];
  },
  async responses(openai) {
    const first = await openai.responses.create({ model, input: question, instructions: 'Be brief.' });
    const next = await openai.responses.create({ model, input: 'And again.', previous_response_id: first.id });
    const items = await collect(openai.responses.inputItems.list(next.id));
    const counted = await openai.responses.inputTokens.count({ model, input: question });
    const got = await openai.responses.retrieve(next.id, { include: ['message.output_text.logprobs'] });
    await openai.responses.delete(first.id);
    return [first, next.output_text, items, counted, got];
  },
  async 'responses streamed'(openai) {
    const runner = openai.responses.stream({ model, input: question, text: { format: zodTextFormat(recipe, 'recipe') } });
    const events = await collect(runner);
    return [events.map(({ type }) => type), (await runner.finalResponse()).output_parsed];
  },
  async 'responses in the background'(openai) {
    const { id, status } = await openai.responses.create({ model, input: question, background: true });
    const seen = [status];
    do seen.push((await openai.responses.retrieve(id)).status);
    while (seen.length < 5 && seen.at(-1) !== 'completed');
    const rest = await openai.responses.retrieve(id, { stream: true, starting_after: 3 });
    const other = await openai.responses.create({ model: `${model};background_polls=9`, input: question, background: true });
    const cancelled = await openai.responses.cancel(other.id);
    return [seen, (await collect(rest)).map(({ sequence_number }) => sequence_number), cancelled.status];
  },
  async 'tools of responses'(openai) {
    const first = await openai.responses.parse({ model, input: messages, tools: [weather] });
    const call = first.output.find(({ type }) => type === 'function_call');
    const answer = { type: 'function_call_output', call_id: call.call_id, output: 'Rain.' };
    const second = await openai.responses.create({ model, previous_response_id: first.id, input: [answer], tools: [weather] });
    return [call.parsed_arguments, second.output_text];
  },
  async conversations(openai) {
    const conversation = await openai.conversations.create({ items: messages, metadata: { topic: 'rivers' } });
    const answered = await openai.responses.create({ model, input: question, conversation: conversation.id });
    await openai.conversations.items.create(conversation.id, { items: messages });
    const items = await collect(openai.conversations.items.list(conversation.id, { limit: 1, order: 'asc' }));
    const one = await openai.conversations.items.retrieve(items[0].id, { conversation_id: conversation.id });
    return [conversation, answered.conversation, items, one, await openai.conversations.delete(conversation.id)];
  },
  async embeddings(openai) {
    const base = { model: 'text-embedding-3-small', input: ['a weir', 'a heron'], dimensions: 8 };
    return [await openai.embeddings.create(base), await openai.embeddings.create({ ...base, encoding_format: 'float' })];
  },
  async files(openai) {
    const file = await toFile(Buffer.from(line), 'ü & lines.jsonl', { type: 'application/jsonl' });
    const expires_after = { anchor: 'created_at', seconds: 3600 };
    const created = await openai.files.create({ file, purpose: 'batch', expires_after });
    const got = await openai.files.retrieve(created.id);
    const content = await (await openai.files.content(created.id)).text();
    const listed = await openai.files.list({ purpose: 'batch', limit: 1 });
    const ready = await openai.files.waitForProcessing(created.id);
    return [created, got, content, listed.data.length, ready.status, await openai.files.delete(created.id)];
  },
  async uploads(openai) {
    const upload = await openai.uploads.create({ bytes: 10, filename: 'a.txt', mime_type: 'text/plain', purpose: 'assistants' });
    const parts = [];
    for (const piece of ['hello', 'world']) {
      parts.push(await openai.uploads.parts.create(upload.id, { data: await toFile(Buffer.from(piece), 'part') }));
    }
    return openai.uploads.complete(upload.id, { part_ids: parts.map(({ id }) => id) });
  },
  async 'vector stores'(openai) {
    const store = await openai.vectorStores.create({ name: 'Rivers' });
    const file = await toFile(Buffer.from('A weir.'), 'weir.txt');
    const added = await openai.vectorStores.files.uploadAndPoll(store.id, file);
    const found = await collect(openai.vectorStores.search(store.id, { query: 'weirs' }));
    const listed = await collect(openai.vectorStores.files.list(store.id, { filter: 'completed' }));
    return [store, added, found, listed, await openai.vectorStores.delete(store.id)];
  },
  async batches(openai) {
    const file = await openai.files.create({ file: await toFile(Buffer.from(line), 'a.jsonl'), purpose: 'batch' });
    const asked = { input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' };
    const batch = await openai.batches.create(asked);
    return [batch, await openai.batches.retrieve(batch.id), await openai.batches.cancel(batch.id)];
  },
  async images(openai) {
    const made = await openai.images.generate({ model: 'gpt-image-1', prompt: 'A heron', n: 2, quality: 'low' });
    const image = await toFile(Buffer.from([0x89, 0x50, 0x4e, 0x47]), 'heron.png', { type: 'image/png' });
    const edited = await openai.images.edit({ model: 'gpt-image-1', image: [image, image], prompt: 'At dusk' });
    const events = await openai.images.generate({ model: 'gpt-image-1', prompt: 'A heron', stream: true, partial_images: 1 });
    return [made, edited, await collect(events)];
  },
  async audio(openai) {
    const spoken = await openai.audio.speech.create({ model: 'tts-1', voice: 'alloy', input: question });
    const sound = Buffer.from(await spoken.arrayBuffer());
    const file = await toFile(sound, 'sound.mp3', { type: 'audio/mpeg' });
    const options = { model: 'whisper-1', response_format: 'verbose_json', timestamp_granularities: ['word', 'segment'] };
    const heard = await openai.audio.transcriptions.create({ file, ...options });
    const subtitles = await openai.audio.transcriptions.create({ file, model: 'whisper-1', response_format: 'srt' });
    const events = await openai.audio.transcriptions.create({ file, model: 'gpt-4o-mini-transcribe', stream: true });
    const translated = await openai.audio.translations.create({ file, model: 'whisper-1' });
    return [sound.length, heard, subtitles, await collect(events), translated];
  },
  async moderations(openai) {
    return openai.moderations.create({ input: ['I like weirs', 'to kill time'] });
  },
  ...Object.fromEntries(
    Object.keys(faults).flatMap((fault) => [
      [fault, (openai) => openai.chat.completions.create({ model, messages })],
      [`${fault}, streamed`, async (openai) => collect(await openai.chat.completions.create({ model, messages, stream: true }))],
      [`${fault}, responses`, async (openai) => collect(await openai.responses.create({ model, input: question, stream: true }))],
      [`${fault}, embeddings`, (openai) => openai.embeddings.create({ model: 'text-embedding-3-small', input: 'a weir' })],
    ]),
  ),
};

const onServers = Object.entries(journeys).map(([name, journey]) => {
  const [fault] = name.split(', ');
  return [name, (server) => journey(connect(fault in faults ? failing(server, fault) : server))];
});
await tell(Object.fromEntries(onServers));
