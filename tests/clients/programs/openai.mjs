import OpenAI from 'openai';

const client = new OpenAI({ apiKey: 'none', maxRetries: 0, timeout: 10_000 });
const messages = [{ role: 'user', content: 'Hello' }];
console.log(JSON.stringify({ id: (await client.chat.completions.create({ model: 'any', messages })).id }));
