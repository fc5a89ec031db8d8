// What programs do with Vercel's AI SDK, whatever server.

import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import {
  embed,
  embedMany,
  experimental_generateSpeech as generateSpeech,
  experimental_transcribe as transcribe,
  generateImage,
  generateObject,
  generateText,
  Output,
  stepCountIs,
  streamObject,
  streamText,
  tool,
} from 'ai';
import { z } from 'zod';

import { collect, described, failing, faults, model, question, tell } from './telling.js';

globalThis.AI_SDK_LOG_WARNINGS = false; // it logs to where the answer goes

const recipe = z.object({ title: z.string(), minutes: z.number().int(), steps: z.array(z.string()) });
const getWeather = tool({
  description: 'Say what the weather will be.',
  inputSchema: z.object({ city: z.string(), days: z.number().int() }),
  execute: async ({ days }) => `${days} days of rain.`,
});
const tools = { getWeather };
const messages = [{ role: 'user', content: question }];
const image = Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const picture = [{ role: 'user', content: [{ type: 'text', text: 'What is it?' }, { type: 'image', image }] }];

const compatible = { name: 'weir', includeUsage: true, supportsStructuredOutputs: true };
const kinds = {
  responses: (server) => createOpenAI(server).responses(model),
  chat: (server) => createOpenAI(server).chat(model),
  compatible: (server) => createOpenAICompatible({ ...compatible, ...server }).chatModel(model),
};

function told({ text, toolCalls, toolResults, finishReason, usage, totalUsage, content, warnings, sources }) {
  return { text, toolCalls, toolResults, finishReason, usage, totalUsage, content, warnings, sources };
}

// The rate limits are Weir's caller's own where it has some, so only the other parts are told.
async function streamed(options) {
  const errors = [];
  const result = streamText({ maxRetries: 0, onError: ({ error }) => errors.push(described(error)), ...options });
  const parts = await collect(result.fullStream);
  const shown = parts.map(({ type, text, finishReason, totalUsage, error }) => ({
    type,
    text,
    finishReason,
    totalUsage,
    error: error && described(error),
  }));
  return { shown, errors };
}

function everywhere(kind) {
  return {
    plain: async (server) =>
      told(await generateText({ model: kind(server), messages, system: 'Be brief.', temperature: 0.5, maxRetries: 0 })),
    picture: async (server) => told(await generateText({ model: kind(server), messages: picture, maxRetries: 0 })),
    streamed: (server) => streamed({ model: kind(server), messages }),
    tools: async (server) =>
      told(await generateText({ model: kind(server), messages, tools, stopWhen: stepCountIs(3), maxRetries: 0 })),
    'streamed tools': (server) => streamed({ model: kind(server), messages, tools, stopWhen: stepCountIs(3) }),
    structured: async (server) =>
      (await generateObject({ model: kind(server), schema: recipe, prompt: question, maxRetries: 0 })).object,
    'structured and streamed': async (server) =>
      collect(streamObject({ model: kind(server), schema: recipe, prompt: question }).partialObjectStream),
    'structured output with tools': async (server) => {
      const output = Output.object({ schema: recipe });
      const options = { model: kind(server), messages, tools, output, stopWhen: stepCountIs(3), maxRetries: 0 };
      return (await generateText(options)).output;
    },
    ...Object.fromEntries(
      Object.keys(faults).flatMap((fault) => [
        [fault, async (server) => told(await generateText({ model: kind(failing(server, fault)), messages, maxRetries: 0 }))],
        [`${fault}, streamed`, (server) => streamed({ model: kind(failing(server, fault)), messages })],
      ]),
    ),
  };
}

const journeys = {
  ...Object.fromEntries(
    Object.entries(kinds).flatMap(([at, kind]) =>
      Object.entries(everywhere(kind)).map(([name, journey]) => [`${name}, ${at}`, journey]),
    ),
  ),
  async 'old completions'(server) {
    const old = createOpenAI(server).completion('gpt-3.5-turbo-instruct');
    return told(await generateText({ model: old, prompt: 'A weir is', maxRetries: 0 }));
  },
  async 'conversation of responses'(server) {
    const first = await generateText({ model: kinds.responses(server), messages, maxRetries: 0 });
    const previousResponseId = first.providerMetadata.openai.responseId;
    const providerOptions = { openai: { previousResponseId } };
    return told(await generateText({ model: kinds.responses(server), messages, providerOptions, maxRetries: 0 }));
  },
  async 'web search'(server) {
    const search = { web_search: createOpenAI(server).tools.webSearch({}) };
    return told(await generateText({ model: kinds.responses(server), messages, tools: search, maxRetries: 0 }));
  },
  async embeddings(server) {
    const embedder = createOpenAI(server).embedding('text-embedding-3-small');
    const providerOptions = { openai: { dimensions: 8 } };
    const one = await embed({ model: embedder, value: 'a weir', providerOptions, maxRetries: 0 });
    const many = await embedMany({ model: embedder, values: ['a weir', 'a heron'], providerOptions, maxRetries: 0 });
    return [one.embedding, one.usage, many.embeddings, many.usage];
  },
  async images(server) {
    const made = await generateImage({ model: createOpenAI(server).image('gpt-image-1'), prompt: 'A heron', n: 2, maxRetries: 0 });
    return [made.images.map((each) => [each.mediaType, each.base64]), made.usage];
  },
  async speech(server) {
    const spoken = await generateSpeech({ model: createOpenAI(server).speech('tts-1'), text: question, maxRetries: 0 });
    return [spoken.audio.format, spoken.audio.base64.length];
  },
  async transcription(server) {
    const wav = Buffer.concat([Buffer.from('RIFF\u0024\0\0\0WAVEfmt \u0010\0\0\0\u0001\0\u0001\0', 'latin1'), Buffer.alloc(40)]);
    const heard = await transcribe({ model: createOpenAI(server).transcription('whisper-1'), audio: wav, maxRetries: 0 });
    return [heard.text, heard.segments, heard.language, heard.durationInSeconds];
  },
};

await tell(journeys);
