// What the programs of this directory have in common: each runs its journeys at each server and tells what it saw.
// Usage: node PROGRAM BASE_URL API_KEY REFUSAL ... prints, as JSON, what every journey saw at each of these servers.
// Where a server itself refuses everything, REFUSAL names the fault that this is to look like; it is '' elsewhere.

export const model = 'gpt-4o-mini';
export const question = 'Say hello.';

// What goes wrong, by the script that makes the simulator do so: it travels in the header `x-simulator`.
export const faults = {
  'wrong key': null,
  'unknown model': 'status=404',
  'bad request': 'status=400',
  'spent budget': 'status=429;error_code=insufficient_quota',
  // Without a pause of its own, so that each SDK's is longer than the upstream is left alone for.
  limit: 'status=429;header.retry-after-ms=0',
  'server error': 'status=500',
  'error in a stream': 'error_after=3',
  cut: 'cut_after=3',
};

// The same server, where this goes wrong.
export function failing(server, fault) {
  const script = faults[fault];
  if (server.refusal) return server;
  if (script === null) return { ...server, apiKey: 'sk-nobody-has-this-key' };
  return { ...server, headers: { 'x-simulator': script } };
}

export async function collect(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return pieces;
}

// What a program can know of an error, and of those that it came from.
export function described(error) {
  const chain = [];
  for (let each = error; each && chain.length < 10; each = each.cause ?? each.lastError) {
    const { name, message, status, statusCode, code, type, param, isRetryable, responseBody } = each;
    const kind = each.constructor?.name;
    chain.push({ kind, name, message, status, statusCode, code, type, param, isRetryable, responseBody });
  }
  return chain;
}

async function see(journey, server) {
  try {
    return (await journey(server)) ?? null;
  } catch (error) {
    return { error: described(error) };
  }
}

// Run all journeys at the servers that the command line names, one after the other, and print what they saw.
export async function tell(journeys) {
  const words = process.argv.slice(2);
  const told = [];
  for (let index = 0; index < words.length; index += 3) {
    const [baseURL, apiKey, refusal] = words.slice(index, index + 3);
    const seen = {};
    for (const [name, journey] of Object.entries(journeys)) {
      if (name.startsWith(refusal)) seen[name] = await see(journey, { baseURL, apiKey, refusal, headers: {} });
    }
    told.push(seen);
  }
  process.stdout.write(JSON.stringify(told));
}
