import twilio from 'twilio';

const client = twilio('AC00000000000000000000000000000000', 'none');
if (process.env.BASE_URL) client.api.baseUrl = process.env.BASE_URL;
const message = await client.messages.create({ to: '+15005550006', from: '+15005550006', body: 'Hello' });
console.log(JSON.stringify({ sid: message.sid }));
