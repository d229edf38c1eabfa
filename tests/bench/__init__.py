"""`make bench`: the daemon beside Envoy, nginx and an aiohttp proxy, on one machine, under one load.

What may live here: starting proxies, loading them, reading their cost. Figures go to the screen and to `bench-out/`.
"""
