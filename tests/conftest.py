"""What holds for every test: signals are heeded. Whoever runs the tests in the background has them ignored, and every
process that a test starts would inherit that."""

from __future__ import annotations

import signal
import threading

if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
