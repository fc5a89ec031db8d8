// What programs do with openai-node: prints what every journey saw at each server, as JSON.
// Usage: node journeys.js BASE_URL API_KEY ...

import { readFileSync } from 'node:fs';
import OpenAI from 'openai';

const model = 'gpt-4o-mini';
const messages = [{ role: 'user', content: 'Say hello.' }];
const parameters = {
  type: 'object',
  properties: { city: { type: 'string' }, days: { type: 'integer' } },
  required: ['city', 'days'],
  additionalProperties: false,
};
const tools = [{ type: 'function', function: { name: 'get_weather', strict: true, parameters } }];
const response_format = { type: 'json_schema', json_schema: { name: 'weather', strict: true, schema: parameters } };

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

function described(error) {
  const { status, code, type, param, message } = error;
  return { class: error.constructor.name, status, code, type, param, message };
}

function failing(script, options = {}) {
  return async (client) => {
    try {
      const headers = { 'x-simulator': script };
      // A model that fails is let alone for a while, so each failure has one of its own.
      const own = `model-${script.replaceAll(/\W/g, '-')}-${options.stream ?? false}`;
      const request = { model: own, messages, ...options };
      const answer = await client.chat.completions.create(request, { headers, timeout: 5000 });
      await collect(answer);
    } catch (error) {
      return described(error);
    }
    return 'no error';
  };
}

const journeys = {
  async plain(client) {
    const completion = await client.chat.completions.create({ model, messages });
    return [completion.choices, completion.usage, completion._request_id.slice(0, 4)];
  },
  async streamed(client) {
    const chunks = await collect(await client.chat.completions.create({ model, messages, stream: true }));
    return chunks.map((chunk) => chunk.choices[0].delta);
  },
  async 'streamed with usage'(client) {
    const options = { model, messages, stream: true, stream_options: { include_usage: true } };
    const chunks = await collect(await client.chat.completions.create(options));
    const last = chunks.at(-1);
    return [chunks.length, last.choices, last.usage];
  },
  async tools(client) {
    const completion = await client.chat.completions.create({ model, messages, tools });
    const [choice] = completion.choices;
    return [choice.finish_reason, choice.message.tool_calls.map((call) => call.function)];
  },
  async 'streamed tools'(client) {
    const runner = client.chat.completions.stream({ model, messages, tools });
    const [choice] = (await runner.finalChatCompletion()).choices;
    return [choice.finish_reason, choice.message.tool_calls.map((call) => call.function)];
  },
  async 'structured output'(client) {
    const completion = await client.chat.completions.parse({ model, messages, response_format });
    return JSON.parse(completion.choices[0].message.content);
  },
  async models(client) {
    return [await collect(client.models.list()), await client.models.retrieve('organization/model:tag')].map(
      (seen) => JSON.stringify(seen),
    );
  },
  async 'raw response'(client) {
    const { data, response, request_id } = await client.chat.completions.create({ model, messages }).withResponse();
    const same = request_id === response.headers.get('x-request-id') && request_id === data._request_id;
    return [response.status, same, response.headers.get('x-ratelimit-reset-tokens')];
  },
  'bad request': failing('status=400'),
  forbidden: failing('status=403'),
  'not found': failing('status=404'),
  'rate limit': failing('status=429;header.retry-after-ms=7000'),
  'server error': failing('status=500'),
  'server error instead of a stream': failing('status=500', { stream: true }),
  'error inside a stream': failing('error_after=2', { stream: true }),
  async 'wrong key'(client) {
    try {
      await client.withOptions({ apiKey: 'sk-nobody-has-this-key' }).models.list();
    } catch (error) {
      return [error.constructor.name, error.status, error.code, error.type];
    }
    return 'no error';
  },
};

async function seeAll(baseURL, apiKey) {
  const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
  const seen = {};
  for (const [name, journey] of Object.entries(journeys)) seen[name] = await journey(client);
  return seen;
}

const servers = process.argv.slice(2);
const seen = [];
for (let index = 0; index < servers.length; index += 2) seen.push(await seeAll(servers[index], servers[index + 1]));
const { version } = JSON.parse(readFileSync('node_modules/openai/package.json', 'utf8'));
console.log(JSON.stringify({ version, seen }));
