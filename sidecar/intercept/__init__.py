"""How calls get in: which route a request is for, and how an outcome is answered. No resilience decisions."""
