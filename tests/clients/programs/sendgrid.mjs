import client from '@sendgrid/client';

client.setApiKey('SG.none');
if (process.env.BASE_URL) client.setDefaultRequest('baseUrl', process.env.BASE_URL);
const body = {
  personalizations: [{ to: [{ email: 'b@example.com' }] }],
  from: { email: 'a@example.com' },
  subject: 'Hello',
  content: [{ type: 'text/plain', value: 'Hello' }],
};
const [response] = await client.request({ method: 'POST', url: '/v3/mail/send', body });
console.log(JSON.stringify({ status: response.statusCode }));
