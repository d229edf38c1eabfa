"""An application that calls nobody until a test has it do so."""

from __future__ import annotations

import signal

signal.signal(signal.SIGTERM, lambda *_: None)
print("idle", flush=True)
signal.pause()
