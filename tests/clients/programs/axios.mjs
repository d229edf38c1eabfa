import axios from 'axios';

const { data } = await axios.get(process.env.URL, { timeout: 10_000 });
console.log(JSON.stringify(data));
