"""The pod's own authority: signs what the sidecar presents when it ends TLS for a provider's name.

What may live here: keys, certificates, and the files that applications trust. No connections, no policies: hosts come
as texts, and `docs/authority.md` says what a key can and cannot do. A daemon imports `lazy` and what that needs; `ca`,
`leaf`, `own`, `supplied` and `authority` need `cryptography`, and are imported when a first connection is opened.
"""
