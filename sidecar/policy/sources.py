"""From paths to the policies in force: which files there are, what they extend, and what stays when one is broken.

What may live here: assembling a set. Daemon and command line both load policies here and nowhere else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from sidecar.policy.attached import attached_state, resolve_attached
from sidecar.policy.check import Checked, check_provider, distinct, duplicates, validate
from sidecar.policy.files import DEFAULTS, Found, find_files, generations_of, read_policy, shipped_policies
from sidecar.policy.load import Document, load_document, parse_document
from sidecar.policy.merge import without
from sidecar.policy.model import Defaults, Egress, ProviderPolicy
from sidecar.policy.outgoing import UpstreamProxy
from sidecar.policy.problem import PolicyProblem, show
from sidecar.policy.tree import Node

Documents = Mapping[Path, Document]

MOST_READS = 5
"""A ConfigMap is swapped about once a minute at most, and read in milliseconds: the second time all but always does."""


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """One file of the set."""

    path: Path
    digest: str
    """SHA-256, hex, of the contents that are in force; empty when none ever were."""
    stale: bool
    """True when the file has changed and what it says now cannot be used."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider with what it was made of, so that it need not be made again while that stays the same."""

    checked: Checked
    made_of: tuple[str, ...]
    """The paths and digests of its layers."""
    attached: tuple[str, ...] = ()
    """The state of the files that its fallbacks take their bodies from."""
    complaints: tuple[PolicyProblem, ...] = ()
    """Why those files are as they last were: what is there now cannot be used."""


@dataclass(frozen=True, slots=True)
class LoadedPolicies:
    """A set of policies: what is in force, and what is wrong with what is not."""

    providers: tuple[ProviderPolicy, ...] = ()
    egress: Egress = field(default_factory=Egress)
    upstream_proxy: UpstreamProxy | None = None
    """By which calls to hosts without a policy leave."""
    digest: str = ""
    """SHA-256, hex, over the names and contents of the files in force."""
    files: tuple[PolicyFile, ...] = ()
    problems: tuple[PolicyProblem, ...] = ()
    complaints: tuple[PolicyProblem, ...] = ()
    """Why `upstream_proxy` is as it last was: its credentials cannot be read now."""
    made: Mapping[Path, Provider] = field(default_factory=dict, repr=False)
    """Each provider by its file."""
    documents: Documents = field(default_factory=dict, repr=False)
    """The files in force."""

    def tree(self, provider: str) -> Node:
        """The merged tree of a provider, whose every value knows its file and line."""
        trees = (one.checked.tree for one in self.made.values())
        return next(tree for tree in trees if tree.text("provider") == provider)


def load_policies(paths: Sequence[Path], previous: LoadedPolicies | None = None) -> LoadedPolicies:
    """Load every policy under some paths.

    With problems and nothing `previous`, nothing is in force. Otherwise a file that cannot be used keeps its last good
    version, a path that cannot be read keeps all of its files, and everything else takes effect.

    Of each ConfigMap one generation is read, never half of one and half of the next: when it was swapped meanwhile, it
    is read again.
    """
    for _ in range(MOST_READS):
        found = find_files(paths)
        loaded = _load(found, previous)
        if generations_of(paths) == found.generations:
            break
    return loaded


def restore_policies(files: Mapping[Path, bytes]) -> LoadedPolicies:
    """The set that some contents make, wherever those were kept; with problems if they are of no use by now."""
    return _assemble({path: parse_document(path, data) for path, data in files.items()}, None)


def _load(found: Found, previous: LoadedPolicies | None) -> LoadedPolicies:
    documents = {path: _document(path, place, previous) for path, place in found.files.items()}
    if previous is not None:
        lost = {Path(problem.file) for problem in found.problems}
        documents |= {path: one for path, one in previous.documents.items() if lost & {path, path.parent}}
    fresh = _assemble(documents, previous)
    complaints = [problem for one in fresh.made.values() for problem in one.complaints]
    problems = (*found.problems, *fresh.problems, *distinct([*fresh.complaints, *complaints]))
    if not problems:
        return fresh
    if previous is None:
        files = tuple(PolicyFile(path, "", stale=True) for path in documents)
        return LoadedPolicies(files=files, problems=problems)
    return _with_last_good(fresh, documents, previous, problems)


def _document(path: Path, place: Path, previous: LoadedPolicies | None) -> Document:
    """A file, parsed again only if its bytes are new."""
    data = read_policy(path, place)
    if isinstance(data, PolicyProblem):
        return Document(path, "", None, (data,))
    known = previous.documents.get(path) if previous is not None else None
    if known is not None and known.digest == hashlib.sha256(data).hexdigest():
        return known
    return parse_document(path, data)


def _with_last_good(
    fresh: LoadedPolicies, documents: Documents, previous: LoadedPolicies, problems: tuple[PolicyProblem, ...]
) -> LoadedPolicies:
    """The new set with the last good version of every changed file that has a part in a problem."""
    kept = dict(documents)
    good = previous.documents
    changed = {path for path in kept.keys() | good.keys() if kept.get(path) is not good.get(path)}
    while fresh.problems and changed:
        blamed = {Path(problem.file) for problem in fresh.problems} & changed or set(changed)
        for path in blamed:
            kept.pop(path, None)
            if path in good:
                kept[path] = good[path]
        changed -= blamed
        fresh = _assemble(dict(sorted(kept.items())), previous)
    if fresh.problems:
        fresh = previous
    in_force = fresh.documents
    files = tuple(
        PolicyFile(
            path, in_force[path].digest if path in in_force else "", documents.get(path) is not in_force.get(path)
        )
        for path in sorted(documents.keys() | in_force.keys())
    )
    return replace(fresh, files=files, problems=problems)


def _assemble(documents: Documents, previous: LoadedPolicies | None) -> LoadedPolicies:
    problems = [problem for document in documents.values() for problem in document.problems]
    egress, found = _egress(documents)
    problems += found
    proxy, found, complaints = _upstream_proxy(documents, previous)
    problems += found
    shelf = _Shelf(documents)
    made: dict[Path, Provider] = {}
    for path, document in documents.items():
        if document.root is None or path.name in DEFAULTS:
            continue
        layers, found = shelf.layers(document)
        problems += found
        if not found:
            made[path] = _make(path, layers, previous)
    checked = [one.checked for one in made.values()]
    problems += [problem for one in checked for problem in one.problems]
    problems += duplicates(checked)
    providers = tuple(one.policy for one in checked if one.policy is not None)
    files = tuple(PolicyFile(path, one.digest, stale=False) for path, one in documents.items())
    return LoadedPolicies(
        providers,
        egress,
        proxy,
        _digest(documents.values()),
        files,
        tuple(distinct(problems)),
        tuple(complaints),
        made,
        dict(documents),
    )


def _make(path: Path, layers: Sequence[Document], previous: LoadedPolicies | None) -> Provider:
    made_of = tuple(f"{layer.path}:{layer.digest}" for layer in layers)
    attached = tuple(state for layer in layers for state in attached_state(_root(layer)))
    known = previous.made.get(path) if previous is not None else None
    if known is None or known.made_of != made_of or known.checked.problems:
        known = None
    elif known.attached == attached:
        return replace(known, complaints=())
    *below, own = layers
    trees = [_inheritable(layer) for layer in below]
    checked = check_provider([*trees, _root(own)])
    if known is not None and checked.problems:
        return replace(known, complaints=checked.problems)
    return Provider(checked, made_of, attached)


def _inheritable(layer: Document) -> Node:
    """What a provider takes from its defaults or from a pack: anything but the name and what is process-wide."""
    return without(_root(layer), ("egress",) if layer.path.name in DEFAULTS else ("provider", "extends"))


def _root(document: Document) -> Node:
    if document.root is None:
        raise ValueError(f"{document.path} has problems")
    return document.root


def _egress(documents: Documents) -> tuple[Egress, list[PolicyProblem]]:
    """The one `egress` of all the defaults.yaml, and what is wrong with those files."""
    problems: list[PolicyProblem] = []
    egress, first = Egress(), None
    alone = all(path.name in DEFAULTS for path in documents)
    for path, document in documents.items():
        if path.name not in DEFAULTS or document.root is None:
            continue
        # Who inherits a fallback complains of its files, and may go on with what was in them.
        root = resolve_attached(document.root) if alone else without(document.root, ("fallback",))
        defaults, found = validate(without(root, ("upstream_proxy",)), Defaults)
        problems += found
        node = document.root.get("egress")
        if node is not None and first is not None:
            hint = f"{first.key_place} has it already"
            problems.append(PolicyProblem(*node.key_place, "egress", "one egress for the process", "a second", hint))
        elif node is not None and defaults is not None:
            egress, first = defaults.egress, node
    return egress, problems


def _upstream_proxy(
    documents: Documents, previous: LoadedPolicies | None
) -> tuple[UpstreamProxy | None, list[PolicyProblem], list[PolicyProblem]]:
    """The proxy of the first defaults.yaml that has one, what is wrong with any, and what is wrong with a file of
    credentials that was good before."""
    problems: list[PolicyProblem] = []
    complaints: list[PolicyProblem] = []
    first: UpstreamProxy | None = None
    for path, document in documents.items():
        node = None if document.root is None or path.name not in DEFAULTS else document.root.get("upstream_proxy")
        if node is None or document.root is None:
            continue
        tree = resolve_attached(replace(document.root, value={"upstream_proxy": node}))
        defaults, found = validate(tree, Defaults)
        if previous is not None and previous.documents.get(path) is document and found:
            complaints += found
            first = first or previous.upstream_proxy
        else:
            problems += found
            first = first or (None if defaults is None else defaults.upstream_proxy)
    return first, problems, complaints


def _digest(documents: Iterable[Document]) -> str:
    digest = hashlib.sha256()
    for name, contents in sorted((document.path.name, document.digest) for document in documents):
        digest.update(f"{name}\0{contents}\0".encode())
    return digest.hexdigest()


class _Shelf:
    """Where `extends` looks: first the set, then the shipped packs."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._shipped: dict[str, Document | None] = {}
        self._by_provider: dict[str, list[Document]] = {}
        for path, document in documents.items():
            name = document.root.text("provider") if document.root is not None else None
            if name is not None and path.name not in DEFAULTS:
                self._by_provider.setdefault(name, []).append(document)

    def layers(self, own: Document) -> tuple[list[Document], list[PolicyProblem]]:
        """What a provider's file is laid over, outermost first, and the file itself."""
        chain = [own]
        while (extends := _root(chain[-1]).get("extends")) is not None:
            base = self._find(extends.value, chain[-1])
            if base is None:
                return chain, [self._no_pack(extends)]
            if base in chain:
                first = _root(own).get("extends") or extends
                hint = f"it comes back to {base.path}"
                return chain, [PolicyProblem(*first.place, "extends", "no circle", show(first.value), hint)]
            if base.root is None:
                hint = "" if base.path in self._documents else base.problems[0].text()
                return chain, [
                    PolicyProblem(*extends.place, "extends", "a pack that can be read", "a broken one", hint)
                ]
            chain.append(base)
        defaults = [self._documents.get(own.path.parent / name) for name in DEFAULTS]
        beside = [one for one in defaults if one is not None and one.root is not None]
        return [*beside, *reversed(chain)], []

    def _find(self, name: object, asking: Document) -> Document | None:
        if not isinstance(name, str):
            return None
        in_set = [document for document in self._by_provider.get(name, ()) if document is not asking]
        if in_set:
            return in_set[0]
        if name not in self._shipped:
            pack = next((path for path in _packs() if path.stem == name), None)
            self._shipped[name] = load_document(pack) if pack is not None else None
        return self._shipped[name]

    def _no_pack(self, extends: Node) -> PolicyProblem:
        known = sorted({path.stem for path in _packs()} | self._by_provider.keys())
        near = get_close_matches(str(extends.value), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known[:20])}"
        return PolicyProblem(
            *extends.place, "extends", "a shipped pack or a provider beside it", show(extends.value), hint
        )


def _packs() -> list[Path]:
    return [path for path in sorted(shipped_policies().glob("*.yaml")) if path.name not in DEFAULTS]
