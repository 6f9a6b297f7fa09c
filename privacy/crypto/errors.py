"""Errors of ``privacy.crypto``.

::

    CryptoError
    ├── KeyInvalid         key material of the wrong length or kind
    ├── SignatureInvalid   a signature, JWS or signer that does not check out
    │   └── RequestStale   a signed request from another time than now: a clock is wrong, or it was held back
    ├── SealInvalid        a sealed message that does not open under this key and context
    └── ProofInvalid       a Merkle proof that does not lead to the stated root
        └── HistoryContradicted   one that does, to the newer root, and from another tree than the older one
"""

from __future__ import annotations


class CryptoError(Exception):
    """Something cryptographic did not check out; the message never carries key material."""


class KeyInvalid(CryptoError):
    """Key material has the wrong length or kind."""


class SignatureInvalid(CryptoError):
    """A signature does not verify, or its signer is not among the accepted keys."""


class RequestStale(SignatureInvalid):
    """A signed request was made too long ago, or later than now; nothing else of it was looked at."""


class SealInvalid(CryptoError):
    """A sealed message does not open: wrong key, wrong context, truncated or forged."""


class ProofInvalid(CryptoError):
    """A Merkle inclusion or consistency proof does not hold."""


class HistoryContradicted(ProofInvalid):
    """Two roots contradict each other: the newer tree is shown to begin with another one than the older root's."""
