"""What a pod's annotations may say of the sidecar: each stands once, below, with its default, its form and its meaning.

What may live here: the vocabulary, and reading it. `docs/kubernetes/inject.md` has the same table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Final, get_type_hints

from sidecar import __version__
from sidecar.kube.values import (
    Pairs,
    Range,
    meant,
    parse_base_urls,
    parse_choice,
    parse_env,
    parse_image,
    parse_names,
    parse_range,
    parse_spared_networks,
    parse_spared_ports,
    parse_state,
    parse_switch,
    parse_user,
)
from sidecar.policy.units import NotUnderstood, parse_duration

PREFIX: Final = "sidecar/"
INJECT: Final = "sidecar/inject"
STATUS: Final = "sidecar/status"
"""Ours: what was added, so that it can be taken out again."""

PROXY, TRANSPARENT, BASE_URL = "proxy", "transparent", "base-url"
NATIVE, CLASSIC = "native", "classic"
PRIVATE: Final = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,fc00::/7"
"""A cluster's own networks: they are no providers', and refused as upstreams unless a policy names them."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """How one field of `PodSettings` is read and explained. `default` is written as a user would; empty for none."""

    default: str
    parse: Callable[[str], Any]
    form: str
    help: str
    shown: str = ""
    """What a table says of the default where the text does not."""
    field: str = ""

    @property
    def name(self) -> str:
        return PREFIX + self.field.replace("_", "-")

    @property
    def flag(self) -> str:
        return f"--{self.field.replace('_', '-')}"


def parse_drain(text: str) -> str:
    """The text, which is a duration."""
    parse_duration(text)
    return text


_names = partial(Annotation, "", parse_names, "NAME[,NAME…]")


@dataclass(frozen=True)
class PodSettings:
    """What one pod asks for; `read_annotations` makes it."""

    inject: Annotated[
        bool | None,
        Annotation(
            "",
            parse_switch,
            "`true`, `false`",
            "Whether the pod gets a sidecar; `false` takes out one that was put in.",
            shown="as the command says",
        ),
    ]
    policies: Annotated[
        tuple[str, ...],
        _names(help="ConfigMaps with policies, of the pod's namespace.", shown="the packs that are shipped"),
    ]
    mode: Annotated[
        str,
        Annotation(
            PROXY,
            parse_choice(PROXY, TRANSPARENT, BASE_URL),
            "`proxy`, `transparent`, `base-url`",
            "How calls get to the sidecar: by proxy variables, by redirection, by base URLs.",
        ),
    ]
    form: Annotated[
        str,
        Annotation(
            NATIVE,
            parse_choice(NATIVE, CLASSIC),
            "`native`, `classic`",
            "An init container that stays (Kubernetes 1.29 and later), or a container as any other.",
        ),
    ]
    containers: Annotated[
        tuple[str, ...],
        _names(
            help="The containers whose calls go through it.",
            shown="all; with `native`, init containers, too",
        ),
    ]
    base_urls: Annotated[
        Pairs,
        Annotation(
            "",
            parse_base_urls,
            "VARIABLE=PROVIDER[/PATH],…",
            "Variables that get the sidecar's URL of a provider: `OPENAI_BASE_URL=openai/v1`.",
        ),
    ]
    secrets: Annotated[
        tuple[str, ...],
        _names(help="Secrets that the sidecar alone reads, in `/etc/sidecar/secrets/NAME`."),
    ]
    state: Annotated[
        str | None,
        Annotation(
            "emptyDir",
            parse_state,
            "`emptyDir`, NAME",
            "Where what must survive the container is kept: with the pod, or in a PersistentVolumeClaim of that name.",
        ),
    ]
    image: Annotated[str, Annotation(f"sidecar:{__version__}", parse_image, "IMAGE", "The sidecar's image.")]
    cpu: Annotated[
        Range,
        Annotation(
            "50m",
            parse_range(without_limit=None, example="50m or 50m/500m"),
            "REQUEST[/LIMIT]",
            "CPU of the sidecar; without a limit, it may use what is idle.",
        ),
    ]
    memory: Annotated[
        Range,
        Annotation(
            "96Mi/256Mi",
            parse_range(without_limit="256Mi", example="96Mi or 96Mi/256Mi"),
            "REQUEST[/LIMIT]",
            "Memory of the sidecar; the limit is at least 256Mi if it is not said.",
        ),
    ]
    log_level: Annotated[
        str,
        Annotation(
            "info",
            parse_choice("debug", "info", "warning", "error"),
            "`debug`, `info`, `warning`, `error`",
            "The least that the sidecar logs.",
        ),
    ]
    drain: Annotated[
        str,
        Annotation(
            "",
            parse_drain,
            "DURATION",
            "How long to serve on after SIGTERM.",
            shown="`0s` if native, which ends after the application anyway; `25s` if classic",
        ),
    ]
    user: Annotated[
        int,
        Annotation(
            "65532", parse_user, "UID", "The user that the sidecar runs as; no container else may, if transparent."
        ),
    ]
    exclude_ports: Annotated[
        str,
        Annotation(
            "",
            parse_spared_ports,
            "PORTS, `none`",
            "If transparent: ports that are not redirected, such as `5432,6379`.",
        ),
    ]
    exclude_networks: Annotated[
        str,
        Annotation(
            PRIVATE,
            parse_spared_networks,
            "NETWORKS, `none`",
            "If transparent: networks that are not redirected. The default is what is private.",
        ),
    ]
    env: Annotated[
        Pairs,
        Annotation(
            "",
            parse_env,
            "NAME=VALUE,…",
            "Further settings of the sidecar (`SIDECAR_…`, `OTEL_…`); `NAME=secret:SECRET/KEY` is one from a Secret.",
        ),
    ]


@dataclass(frozen=True)
class Defaults:
    """What counts where a pod has no annotation: as an annotation has it; empty: the vocabulary's own default."""

    policies: str = ""
    mode: str = ""
    form: str = ""
    containers: str = ""
    base_urls: str = ""
    secrets: str = ""
    state: str = ""
    image: str = ""
    cpu: str = ""
    memory: str = ""
    log_level: str = ""
    drain: str = ""
    user: str = ""
    exclude_ports: str = ""
    exclude_networks: str = ""
    env: str = ""


def _declared() -> tuple[Annotation, ...]:
    hints = get_type_hints(PodSettings, include_extras=True)
    return tuple(replace(hint.__metadata__[0], field=name) for name, hint in hints.items())


VOCABULARY: Final = _declared()
"""Each field's `Annotation`, in order."""
BY_NAME: Final = {annotation.name: annotation for annotation in VOCABULARY}


def read_annotations(annotations: Mapping[str, object], defaults: Defaults, problems: list[str]) -> PodSettings | None:
    """What the annotations ask for, or None and what is wrong with them, everything at once."""
    before = len(problems)
    problems += unknown_names(annotations)
    values = {one.field: _value(one, annotations, defaults, problems) for one in VOCABULARY}
    return PodSettings(**values) if len(problems) == before else None


def read_plain() -> PodSettings:
    """What a pod gets that asks for nothing in particular."""
    problems: list[str] = []
    plain = read_annotations({}, Defaults(), problems)
    assert plain is not None, problems
    return plain


def asks(annotations: Mapping[str, object]) -> bool | None:
    """What `sidecar/inject` says; None if it says nothing that can be understood."""
    return {"true": True, "false": False}.get(str(annotations.get(INJECT)))


def unknown_names(annotations: Mapping[str, object]) -> list[str]:
    known = tuple(word.removeprefix(PREFIX) for word in BY_NAME)
    problems = []
    for name in annotations:
        if str(name).startswith(PREFIX) and name not in BY_NAME and name != STATUS:
            hint = meant(str(name).removeprefix(PREFIX).replace("_", "-"), known).replace("mean ", f"mean {PREFIX}")
            problems.append(f"{name}: there is no such annotation; {hint or 'there are ' + ', '.join(known)}")
    return problems


def misspelt_prefixes(annotations: Mapping[str, object]) -> list[str]:
    """Warnings: annotations that look like ours and are not."""
    ours = {word.removeprefix(PREFIX) for word in BY_NAME}
    found = []
    for name in map(str, annotations):
        prefix, slash, word = name.partition("/")
        if slash and word in ours and prefix != "sidecar" and "." not in prefix and meant(prefix, ("sidecar",)):
            found.append(f"{name} is left alone; did you mean {PREFIX}{word}?")
    return found


def _value(one: Annotation, annotations: Mapping[str, object], defaults: Defaults, problems: list[str]) -> Any:
    given = annotations.get(one.name)
    source = one.name
    if given is None or given == "":
        given, source = getattr(defaults, one.field, "") or one.default, f"{one.name} (a default, from {one.flag})"
    if not isinstance(given, str):
        written = str(given).lower() if isinstance(given, bool) else given
        problems.append(f'{source}: an annotation is a text; quote it: "{written}"')
        return None
    if not given:
        return _NOTHING[one.field]
    try:
        return one.parse(given.strip())
    except NotUnderstood as error:
        hint = f"; {error.hint}" if error.hint else ""
        # Somebody may have written a secret among the settings.
        got = "another text" if one.field == "env" else _shown(given)
        problems.append(f"{source}: expected {error.expected}, got {got}{hint}")
        return None


_NOTHING: Final[Mapping[str, Any]] = {
    "inject": None,
    "policies": (),
    "containers": (),
    "base_urls": (),
    "secrets": (),
    "drain": "",
    "exclude_ports": "",
    "env": (),
}
"""What is asked for where neither an annotation nor a default says anything."""


def _shown(value: str, most: int = 80) -> str:
    return repr(value if len(value) <= most else f"{value[:most]}…")
