import jsforce from 'jsforce';

const instanceUrl = process.env.BASE_URL ?? 'https://acme.my.salesforce.com';
const found = await new jsforce.Connection({ instanceUrl, accessToken: 'none' }).query('SELECT Id FROM Account');
console.log(JSON.stringify({ records: found.totalSize }));
