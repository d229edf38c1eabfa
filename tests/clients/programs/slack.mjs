import { WebClient } from '@slack/web-api';

const { BASE_URL } = process.env;
const way = { retryConfig: { retries: 0 }, timeout: 10_000, ...(BASE_URL && { slackApiUrl: `${BASE_URL}/api/` }) };
const reply = await new WebClient('xoxb-none', way).auth.test();
console.log(JSON.stringify({ team: reply.team }));
