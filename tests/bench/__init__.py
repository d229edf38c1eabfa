"""`make bench`: the daemon beside Envoy, nginx and an aiohttp proxy, on one machine, under one load.

What may live here: starting peers, loading them, reading their cost. No claims: figures go to the screen and `bench-out/`.
"""
