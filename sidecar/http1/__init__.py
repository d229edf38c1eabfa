"""HTTP/1.1 on sockets: server, client, pool and TLS of the call path. Nothing here knows policies, providers or steps."""
