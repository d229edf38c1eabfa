"""The policies in force at work: where a call's host leads, over which connections, and what is seen of it all.

What may live here: joining the parts for one process. No HTTP, no decisions of a step's.
"""
