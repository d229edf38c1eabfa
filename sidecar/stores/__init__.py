"""Where kept replies are: a shelf in memory, and behind it a file and a Redis that may be slow, broken or not there.

What may live here: storage behind `steps/base.py: CacheStore`. Whether a reply may be kept or served is decided in
`rules/cache`; nothing here knows.
"""
