"""`sidecar demo`: the real daemon between real traffic and a provider that has a bad day."""
