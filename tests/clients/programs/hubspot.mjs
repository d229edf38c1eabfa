import { Client } from '@hubspot/api-client';

const { BASE_URL } = process.env;
const client = new Client({ accessToken: 'none', numberOfApiCallRetries: 0, ...(BASE_URL && { basePath: BASE_URL }) });
const contact = await client.crm.contacts.basicApi.getById('1');
console.log(JSON.stringify({ id: contact.id }));
