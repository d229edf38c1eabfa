"""How calls get in: which provider and route a request is for, and how an outcome is answered. No resilience decisions."""
