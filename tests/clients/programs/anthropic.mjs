import Anthropic from '@anthropic-ai/sdk';

const client = new Anthropic({ apiKey: 'none', maxRetries: 0, timeout: 10_000 });
const messages = [{ role: 'user', content: 'Hello' }];
console.log(JSON.stringify({ id: (await client.messages.create({ model: 'any', max_tokens: 1, messages })).id }));
