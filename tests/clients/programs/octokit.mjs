import { Octokit } from '@octokit/core';

const { BASE_URL } = process.env;
const { data } = await new Octokit({ auth: 'none', ...(BASE_URL && { baseUrl: BASE_URL }) }).request(
  'GET /users/{username}',
  { username: 'octocat' },
);
console.log(JSON.stringify({ login: data.login }));
