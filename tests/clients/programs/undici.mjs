import { request } from 'undici';

const { body } = await request(process.env.URL, { signal: AbortSignal.timeout(10_000) });
console.log(await body.text());
