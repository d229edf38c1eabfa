"""What an HTTP cache may keep, reuse and must ask about: RFC 9111, and RFC 5861 with the policy's ceiling over it.

What may live here: decisions, in files that follow the RFC's sections. Times are Unix seconds and are arguments. No
storage, no clock, no loop.
"""
