import axios from 'axios-0';

const { data } = await axios.get(process.env.URL, { timeout: 10_000 });
console.log(JSON.stringify(data));
