"""What an officer's own folder remembers of a site's roots, so that a request is believed about none of them.

A request brings the root in force with it, and what it asks for is told as a difference from that one. The leader's
machine could bring any root: so the one that it brings has to be one that this officer has signed or was shown before,
or one that enough of that root's officers have signed. Where nothing is remembered yet, it has to bear this officer's
own signature, and nobody else in it counts as known.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root  # type: ignore[attr-defined]  # public names, but re-exported implicitly

from aggregator.leader.ceremony import Request
from aggregator.leader.repository import public_key, replace_file
from models.wire.problems import ProblemError
from privacy.crypto import VerifyKey

_ADVICE = "fetch the roots between from the leader's /tuf/metadata/, and name them with --root, oldest first"


@dataclass(frozen=True)
class KnownRoots:
    """What an officer knows of one site's roots.

    Attributes:
        in_force: the root that the last request brought, once it had been checked.
        signed: the root that this officer signed last; it may never have come into force.
    """

    in_force: Metadata[Root] | None = None
    signed: Metadata[Root] | None = None

    @classmethod
    def read(cls, directory: Path, site: str) -> KnownRoots:
        """What an officer's folder says of a site.

        Raises:
            ProblemError: ``malformed``, for a file that is damaged.
        """
        path = file_of(directory, site)
        if not path.exists():
            return cls()
        try:
            document = json.loads(path.read_bytes())
            return cls(_root(document["in_force"]), _root(document["signed"]))
        except (ValueError, KeyError, TypeError, RepositoryError):
            raise ProblemError("malformed", f"{path} is damaged: put it back from a back-up") from None

    def write(self, directory: Path, site: str) -> None:
        """Remember it, all at once."""
        document = {"in_force": _document(self.in_force), "signed": _document(self.signed)}
        replace_file(file_of(directory, site), (json.dumps(document, sort_keys=True) + "\n").encode())

    @property
    def roots(self) -> list[Metadata[Root]]:
        """Those there are."""
        return [root for root in (self.in_force, self.signed) if root is not None]

    def led_by(self, given: Sequence[Metadata[Root]]) -> KnownRoots:
        """What is known after roots that the officer names, each following the one before.

        Where nothing is known yet, the first is taken on the officer's word.

        Raises:
            ProblemError: ``malformed``, when one does not follow.
        """
        known = self
        for root in given:
            if known.roots and not known.leads_to(root):
                raise ProblemError("malformed", f"root {root.signed.version} does not follow what this folder knows")
            known = KnownRoots(root, known.signed)
        return known

    def leads_to(self, root: Metadata[Root]) -> bool:
        """Whether a root is a known one, or a later one that enough officers of a known one have signed."""
        return any(
            root.signed == known.signed
            or (
                root.signed.version > known.signed.version and _is_verified(root, by=known) and _is_verified(root, root)
            )
            for known in self.roots
        )

    def require(self, request: Request, officer: VerifyKey) -> None:
        """Insist that a request begins where this officer stands.

        Raises:
            ProblemError: ``forbidden``, when the root that it says is in force is not known to be.
        """
        before = request.before
        if before is None:
            if self.in_force is not None:
                raise ProblemError("forbidden", f"asks for a first root; {request.site} has one (see 'tuf sign')")
        elif self.roots:
            if not self.leads_to(before):
                version = before.signed.version
                raise ProblemError("forbidden", f"root {version} does not follow what this folder knows: {_ADVICE}")
        elif not self._is_own(before, officer):
            raise ProblemError("forbidden", f"a root of yours that you have not signed: get it otherwise; {_ADVICE}")

    def after(self, request: Request) -> KnownRoots:
        """What is known once a request was signed."""
        before = request.before if request.before is not None else self.in_force
        signed = request.root if request.root is not None else self.signed
        if signed is not None and before is not None and signed.signed.version <= before.signed.version:
            signed = None
        return KnownRoots(before, signed)

    def knows(self, keyid: str, officer: VerifyKey) -> bool:
        """Whether a key is an officer's by what is known: by every root of it, and without any only one's own."""
        if not self.roots:
            return keyid == public_key(officer).keyid
        return all(keyid in root.signed.roles[Root.type].keyids for root in self.roots)

    @staticmethod
    def _is_own(root: Metadata[Root], officer: VerifyKey) -> bool:
        """Whether a root that names an officer bears that officer's signature; one that does not name them passes."""
        key = public_key(officer)
        if key.keyid not in root.signed.roles[Root.type].keyids:
            return True
        alone = Root(version=1)
        alone.add_key(key, Root.type)
        return _is_verified(root, by=Metadata(alone))


def file_of(directory: Path, site: str) -> Path:
    """Where an officer's folder keeps a site's roots."""
    return directory / f"roots-{quote(site, safe='')}.json"


def read_root(data: bytes) -> Metadata[Root]:
    """A root as the leader serves it.

    Raises:
        ProblemError: ``malformed``.
    """
    try:
        root: Metadata[Root] = Metadata.from_bytes(data)
    except (RepositoryError, ValueError, KeyError):
        raise ProblemError("malformed", "expected root metadata, such as 2.root.json") from None
    if not isinstance(root.signed, Root):
        raise ProblemError("malformed", f"expected root metadata, got {root.signed.type}")
    return root


def _is_verified(root: Metadata[Root], by: Metadata[Root]) -> bool:
    try:
        by.verify_delegate(Root.type, root)
    except (RepositoryError, ValueError):
        return False
    return True


def _root(document: dict[str, Any] | None) -> Metadata[Root] | None:
    return None if document is None else Metadata.from_dict(document)


def _document(root: Metadata[Root] | None) -> dict[str, Any] | None:
    return None if root is None else root.to_dict()
