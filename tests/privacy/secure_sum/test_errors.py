"""The tree of errors: two sides, one short code each."""

import inspect
import re

from privacy.secure_sum import LocalMisuse, PeerMisbehaved, SecureSumError, errors


def classes() -> list[type[SecureSumError]]:
    found = [value for _, value in inspect.getmembers(errors, inspect.isclass)]
    return [value for value in found if issubclass(value, SecureSumError)]


def test_every_error_says_who_broke_the_rule() -> None:
    """Each leaf is local misuse or a peer's misbehaviour, never both."""
    for error in classes():
        if error is not SecureSumError:
            assert issubclass(error, LocalMisuse) != issubclass(error, PeerMisbehaved)


def test_codes_are_short_and_unique() -> None:
    """One machine code an error, in lower case."""
    codes = [error.code for error in classes()]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z_]{4,24}", code) for code in codes)


def test_the_drawing_names_every_error() -> None:
    """The tree at the top of the file is complete."""
    for error in classes():
        assert error.__name__ in errors.__doc__
