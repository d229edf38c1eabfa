"""What an application gets when nothing of the provider's is to be had, and the policy has thought of that."""

from __future__ import annotations

import json

from tests.menu import reply, serve
from tests.wire.client import Response
from tests.wire.daemon import Sidecar

FLAG = {
    "name": "get-flag",
    "match": {"method": ["GET", "POST"], "path": "/flags/{key}"},
    "fallback": [
        {
            "headers": {"X-Flag": "{key}"},
            "json": {"key": "{key}", "enabled": False, "next": None},
        }
    ],
}


def is_fallback(response: Response, reason: str) -> bool:
    served = response.served
    return served is not None and (str(served.value), str(served.params["reason"])) == ("fallback", reason)


def test_a_provider_that_is_gone_is_stood_in_for(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(200)), routes=[FLAG])
    sidecar.stop_provider(served.provider)
    response = served.get("/flags/a%22%0d%0aX-Evil:%20b")
    assert (response.status, response.phrase, response.framing) == (200, b"OK", "length")
    assert response.one(b"content-type") == b"application/json"
    assert json.loads(response.body) == {"key": 'a"\r\nX-Evil: b', "enabled": False, "next": None}
    assert response.one(b"x-flag") == b"a%22%0D%0AX-Evil%3A%20b"
    assert response.all(b"x-evil") == []
    assert response.proxy_error == "connection_refused"
    assert response.sidecar["outcome"] == "ok"
    assert is_fallback(response, "connect-failed")


def test_a_reply_of_the_providers_is_replaced_and_its_connection_kept_in_order(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(503, b"x" * 100_000), reply(200, b"well")), fallback=[{"text": "later"}])
    with sidecar.connect() as client:
        client.send(served.message("GET", "/"))
        first = client.response()
        client.send(served.message("GET", "/"))
        second = client.response()
    assert (first.body, second.body) == (b"later", b"well")
    assert first.one(b"proxy-status").startswith(b"sidecar; received-status=503; next-hop=")
    assert is_fallback(first, "status-503")
    assert second.served is None


def test_a_head_is_answered_without_the_body(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(500)), fallback=[{"text": "later"}])
    response = served.call("HEAD", "/")
    assert (response.status, response.body, response.one(b"content-length")) == (200, b"", b"5")


def test_a_success_of_a_write_must_be_asked_for(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(500)), fallback=[{"status": 204}], routes=[FLAG])
    assert served.call("POST", "/", body=b"{}").status == 500
    assert served.call("POST", "/flags/x", body=b"{}").status == 200
    nothing = served.get("/")
    assert (nothing.status, nothing.all(b"content-length"), nothing.framing) == (204, [], "none")


def test_a_fault_of_the_requests_is_passed_on(sidecar: Sidecar) -> None:
    served = sidecar.provider(serve(reply(404, b"none")), fallback=[{"text": "later"}])
    response = served.get()
    assert (response.status, response.body, response.served) == (404, b"none", None)


def test_a_file_is_read_with_the_policy_and_again_at_a_reload(sidecar: Sidecar) -> None:
    file = sidecar.policies / "flags.json"
    file.write_text("[1]")
    served = sidecar.provider(serve(reply(500)), fallback=[{"file": "flags.json"}])
    assert (served.get().body, served.get().one(b"content-type")) == (b"[1]", b"application/json")
    file.write_text("[1, 2]")
    sidecar.reload()
    assert served.get().body == b"[1, 2]"
    file.unlink()
    assert sidecar.admin("POST", "/policies/reload")[0] != 200
    assert served.get().body == b"[1, 2]"
