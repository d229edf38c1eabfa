const response = await fetch(process.env.URL, { signal: AbortSignal.timeout(10_000) });
console.log(await response.text());
