"""What applications and sidecars say of themselves, read from their logs and the admin listener."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.pod.kubelet import Pod
from tests.pod.waiting import until


def said(pod: Pod, container: str = "app") -> list[dict[str, Any]]:
    """The JSON lines of a container."""
    return [json.loads(line) for line in pod.logs(container).splitlines() if line.startswith("{")]


def calls(pod: Pod) -> list[dict[str, Any]]:
    """What `programs/sdk.py` says of its calls."""
    return [one for one in said(pod) if "number" in one]


def admin(pod: Pod, path: str) -> Any:
    """The JSON that the sidecar's admin listener answers, whatever its status."""
    return json.loads(pod.get(path)[1])


def more_calls(pod: Pod, count: int = 5, within_s: float = 20.0) -> list[dict[str, Any]]:
    """As many calls as were made since, all of which went well."""
    before = len(calls(pod))
    until(lambda: len(calls(pod)) >= before + count, within_s, what=f"{count} more calls")
    made = calls(pod)[before:]
    assert all(one["ok"] for one in made), [one for one in made if not one["ok"]]
    return made


def started_to_ready_s(pod: Pod) -> float:
    """From the start of the sidecar's process to the line that says it listens; the kernel counts hundredths."""
    words = Path(f"/proc/{pod['sidecar'].pid}/stat").read_text().rpartition(")")[2].split()
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(words[19]) / os.sysconf("SC_CLK_TCK")
    listening = [one for one in said(pod, "sidecar") if one.get("message") == "listening"]
    return datetime.fromisoformat(listening[-1]["ts"]).timestamp() - (time.time() - age_s)
