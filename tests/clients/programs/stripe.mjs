import Stripe from 'stripe';

const { BASE_URL, OPTION } = process.env;
const base = (url, init) => fetch(String(url).replace('https://api.stripe.com', BASE_URL), init);
const way = BASE_URL ? Stripe.createFetchHttpClient(base) : OPTION && Stripe.createFetchHttpClient();
const stripe = new Stripe('sk_test_none', { maxNetworkRetries: 0, ...(way && { httpClient: way }) });
console.log(JSON.stringify({ id: (await stripe.customers.retrieve('cus_1')).id }));
