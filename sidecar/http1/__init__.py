"""HTTP/1.1 on sockets: server, client, pool and TLS of the call path. No policies, no providers, no steps."""
