"""Who is run, and what each needs to get through in each mode. A run proves every word of it, or fails."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias, TypedDict


class Mode(StrEnum):
    BASE = "base"
    CONNECT = "connect"
    TRANSPARENT = "transparent"


@dataclass(frozen=True)
class Works:
    """The call goes through when these variables of `sidecar env` are set, and the program does what `option` says.

    What needs no option goes through with all of them set, too; what needs one does not without it.
    """

    variables: tuple[str, ...] = ()
    option: str = ""
    """What the program says in code, or on its command line; empty for an unmodified one."""
    fills: tuple[str, ...] = ()
    """Variables that our program takes the option's URL and file from. The client itself reads none of them."""
    note: str = ""
    sees: str = ""
    """The daemon's word for the mode, where it is not the matrix's."""
    beside: bool = True
    """A base URL works beside the proxy variables, too."""


@dataclass(frozen=True)
class Cannot:
    """With all of `sidecar env` set, the call does not go through. Nothing that the client offers would help."""

    why: str


Cell: TypeAlias = Works | Cannot

PROXY: Final = "HTTPS_PROXY"
SSL: Final = "SSL_CERT_FILE"
REQUESTS: Final = "REQUESTS_CA_BUNDLE"
CURL: Final = "CURL_CA_BUNDLE"
NODE: Final = "NODE_EXTRA_CA_CERTS"
NODE_PROXY: Final = "NODE_USE_ENV_PROXY"
JAVA: Final = "JAVA_TOOL_OPTIONS"


@dataclass(frozen=True)
class Client:
    name: str
    """As the page shows it."""
    program: str
    """A file in `programs/`."""
    base: Cell
    connect: Cell
    transparent: Cell
    package: str = ""
    """In the lock file, for its version; empty for what the machine has."""
    provider: str = ""
    """An SDK's, by name in `PROVIDERS`; a plain client calls one of its own."""
    base_suffix: str = ""
    """What the SDK wants its base URL to end with."""
    base_variable: str = "BASE_URL"
    node: str = "node-24"

    @property
    def title(self) -> str:
        """Without what the table's heading and the version beside it say."""
        return re.sub(r" (\(Node\)|[0-9.]+)$", "", self.name)

    @property
    def called(self) -> str:
        """The provider's name in its policy."""
        return self.provider or re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    @property
    def host(self) -> str:
        return PROVIDERS[self.provider] if self.provider else f"{self.called}.example"

    def cell(self, mode: Mode) -> Cell:
        return {Mode.BASE: self.base, Mode.CONNECT: self.connect, Mode.TRANSPARENT: self.transparent}[mode]


PROVIDERS: Final = {
    "stripe": "api.stripe.com",
    "sendgrid": "api.sendgrid.com",
    "salesforce": "acme.my.salesforce.com",
    "hubspot": "api.hubapi.com",
    "twilio": "api.twilio.com",
    "slack": "slack.com",
    "github": "api.github.com",
    "openai": "api.openai.com",
    "anthropic": "api.anthropic.com",
}
URL: Final = Works(option="the URL")
FETCH_CLIENT: Final = "`httpClient: Stripe.createFetchHttpClient()`"


def _in_code(option: str) -> Works:
    return Works(option=f"`{option}`")


class Ways(TypedDict):
    """Two cells of a client."""

    connect: Cell
    transparent: Cell


def _bundled(bundle: str) -> Ways:
    """What reads the proxy variables, and its roots from one of these."""
    return {"connect": Works((PROXY, bundle)), "transparent": Works((bundle,))}


def _node(*, option: str = "") -> Ways:
    return {"connect": Works((PROXY, NODE_PROXY, NODE), option), "transparent": Works((NODE,))}


COMMANDS: Final = (
    Client("curl", "curl.sh", URL, **_bundled(CURL)),
    Client(
        "wget",
        "wget.sh",
        URL,
        connect=Works((PROXY,), "`--ca-certificate FILE`", fills=(SSL,)),
        transparent=Works((), "`--ca-certificate FILE`", fills=(SSL,)),
    ),
)
PYTHON: Final = (
    Client("urllib.request", "urllib_request.py", URL, **_bundled(SSL)),
    Client(
        "urllib3",
        "urllib3.py",
        URL,
        connect=Works((), "`ProxyManager(URL, ca_certs=FILE)`", fills=(PROXY, SSL)),
        transparent=Works((SSL,)),
        package="urllib3",
    ),
    Client("requests", "requests.py", URL, **_bundled(REQUESTS), package="requests"),
    Client("httpx", "httpx.py", URL, **_bundled(SSL), package="httpx"),
    Client(
        "aiohttp",
        "aiohttp.py",
        URL,
        connect=Works((PROXY, SSL), "`ClientSession(trust_env=True)`"),
        transparent=Works((SSL,)),
        package="aiohttp",
    ),
    Client(
        "stripe",
        "stripe.py",
        _in_code('StripeClient(…, base_addresses={"api": URL})'),
        connect=Works((PROXY,), "`stripe.ca_bundle_path = FILE`", fills=(SSL,)),
        transparent=Works((), "`stripe.ca_bundle_path = FILE`", fills=(SSL,)),
        package="stripe",
        provider="stripe",
    ),
    Client(
        "sendgrid",
        "sendgrid.py",
        _in_code("SendGridAPIClient(…, host=URL)"),
        **_bundled(SSL),
        package="sendgrid",
        provider="sendgrid",
    ),
    Client(
        "simple-salesforce",
        "simple_salesforce.py",
        Cannot("it writes `https://` before any host that it is given"),
        **_bundled(REQUESTS),
        package="simple-salesforce",
        provider="salesforce",
    ),
    Client(
        "hubspot-api-client",
        "hubspot.py",
        _in_code("Client.create(…, host=URL)"),
        connect=Works((), "`Client.create(…, proxy=URL, ssl_ca_cert=FILE)`", fills=(PROXY, SSL)),
        transparent=Works((SSL,)),
        package="hubspot-api-client",
        provider="hubspot",
    ),
    Client(
        "twilio",
        "twilio.py",
        _in_code("client.api.base_url = URL"),
        **_bundled(REQUESTS),
        package="twilio",
        provider="twilio",
    ),
    Client(
        "slack_sdk",
        "slack_sdk.py",
        _in_code('WebClient(…, base_url=URL + "/api/")'),
        **_bundled(SSL),
        package="slack-sdk",
        provider="slack",
    ),
    Client(
        "PyGithub",
        "github.py",
        _in_code("Github(…, base_url=URL)"),
        **_bundled(REQUESTS),
        package="pygithub",
        provider="github",
    ),
    Client(
        "openai",
        "openai.py",
        Works(option="`OPENAI_BASE_URL=URL/v1`"),
        **_bundled(SSL),
        package="openai",
        provider="openai",
        base_suffix="/v1",
        base_variable="OPENAI_BASE_URL",
    ),
    Client(
        "anthropic",
        "anthropic.py",
        Works(option="`ANTHROPIC_BASE_URL=URL`"),
        **_bundled(SSL),
        package="anthropic",
        provider="anthropic",
        base_variable="ANTHROPIC_BASE_URL",
    ),
)
OLD_NODE: Final = "it reads no proxy variable before Node 22.21"
NODE_JS: Final = (
    Client("fetch, Node 20", "fetch.mjs", URL, Cannot(OLD_NODE), Works((NODE,)), node="node-20", package="node-20"),
    Client("https, Node 20", "https.mjs", URL, Cannot(OLD_NODE), Works((NODE,)), node="node-20", package="node-20"),
    Client("fetch, Node 24", "fetch.mjs", URL, **_node(), package="node-24"),
    Client("https, Node 24", "https.mjs", URL, **_node(), package="node-24"),
    Client(
        "undici",
        "undici.mjs",
        URL,
        **_node(),
        package="undici",
    ),
    Client(
        "axios 0.27",
        "axios-0.mjs",
        URL,
        connect=Works((PROXY,), note="it sends `GET https://…` in clear", sees="forward"),
        transparent=Works((NODE,)),
        package="axios-0",
    ),
    Client("axios", "axios.mjs", URL, connect=Works((PROXY, NODE)), transparent=Works((NODE,)), package="axios"),
    Client("got", "got.mjs", URL, **_node(), package="got"),
    Client(
        "stripe (Node)",
        "stripe.mjs",
        _in_code("httpClient: Stripe.createFetchHttpClient(fetch to URL)"),
        **_node(option=FETCH_CLIENT),
        package="stripe",
        provider="stripe",
    ),
    Client(
        "@sendgrid/client",
        "sendgrid.mjs",
        _in_code("client.setDefaultRequest('baseUrl', URL)"),
        connect=Works((PROXY, NODE)),
        transparent=Works((NODE,)),
        package="@sendgrid/client",
        provider="sendgrid",
    ),
    Client(
        "jsforce",
        "jsforce.mjs",
        Works(
            option="`new Connection({ instanceUrl: URL })`",
            note="not beside `HTTPS_PROXY`, since it knows no `NO_PROXY`",
            beside=False,
        ),
        connect=Works((PROXY, NODE)),
        transparent=Works((NODE,)),
        package="jsforce",
        provider="salesforce",
    ),
    Client(
        "@hubspot/api-client",
        "hubspot.mjs",
        _in_code("new Client({ basePath: URL })"),
        **_node(),
        package="@hubspot/api-client",
        provider="hubspot",
    ),
    Client(
        "twilio (Node)",
        "twilio.mjs",
        _in_code("client.api.baseUrl = URL"),
        connect=Works(("HTTP_PROXY", NODE)),
        transparent=Works((NODE,)),
        package="twilio",
        provider="twilio",
    ),
    Client(
        "@slack/web-api",
        "slack.mjs",
        _in_code("new WebClient(…, { slackApiUrl: URL + '/api/' })"),
        **_node(),
        package="@slack/web-api",
        provider="slack",
    ),
    Client(
        "@octokit/core",
        "octokit.mjs",
        _in_code("new Octokit({ baseUrl: URL })"),
        **_node(),
        package="@octokit/core",
        provider="github",
    ),
    Client(
        "openai (Node)",
        "openai.mjs",
        Works(option="`OPENAI_BASE_URL=URL/v1`"),
        **_node(),
        package="openai",
        provider="openai",
        base_suffix="/v1",
        base_variable="OPENAI_BASE_URL",
    ),
    Client(
        "@anthropic-ai/sdk",
        "anthropic.mjs",
        Works(option="`ANTHROPIC_BASE_URL=URL`"),
        **_node(),
        package="@anthropic-ai/sdk",
        provider="anthropic",
        base_variable="ANTHROPIC_BASE_URL",
    ),
)
JAVA_WAYS: Final[Ways] = {"connect": Works((JAVA,)), "transparent": Works((JAVA,))}
JVM: Final = (
    Client("java.net.http.HttpClient", "NetHttpClient.java", URL, **JAVA_WAYS),
    Client("HttpURLConnection", "UrlConnection.java", URL, **JAVA_WAYS),
)
GROUPS: Final = {"Commands": COMMANDS, "Python": PYTHON, "Node": NODE_JS, "Java": JVM}
CLIENTS: Final = tuple(client for group in GROUPS.values() for client in group)
