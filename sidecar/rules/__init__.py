"""Pure decisions. No I/O, no clock, no asyncio, no randomness: `now_s` and `draw` are arguments."""
