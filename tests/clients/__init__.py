"""The clients that people call providers with, run for real through the daemon; docs/clients.md is what came of it.

`python -m tests.clients` runs them all and writes the page. Clients and their versions are in the lock files here.
"""
