"""The stream is AES-256-CTR, deterministic, and keeps its key to itself."""

import pickle

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from privacy.mechanisms import RandomStream, StreamInvalid

KEY = bytes(range(32))


def test_first_block_is_the_published_known_answer() -> None:
    """AES-256 of the zero block under the zero key (NIST CAVP, GFSbox/KeySbox) opens the stream of the zero key."""
    assert RandomStream(bytes(32)).bytes(16).hex() == "dc95c078a2408989ad48a21492842087"


def test_keystream_is_the_cipher_of_a_counter() -> None:
    """Block i of the stream is AES-256 of i as a 128-bit big-endian integer."""
    blocks = b"".join(index.to_bytes(16, "big") for index in range(300))
    assert RandomStream(KEY).bytes(4_800) == Cipher(AES(KEY), ECB()).encryptor().update(blocks)


def test_reads_continue_where_the_last_one_stopped() -> None:
    """Any way of cutting the reads gives the same bytes, words included."""
    stream = RandomStream(KEY)
    pieces = stream.bytes(3) + stream.bytes(0) + stream.bytes(29)
    words = stream.uint64(4)
    whole = RandomStream(KEY).bytes(64)
    assert pieces == whole[:32]
    assert words.tolist() == np.frombuffer(whole[32:], dtype="<u8").tolist()


def test_streams_from_the_system_differ() -> None:
    """Two streams from the operating system are not one."""
    assert RandomStream.from_os().bytes(32) != RandomStream.from_os().bytes(32)


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    """Only 32 bytes key a stream."""
    with pytest.raises(StreamInvalid, match=f"got {length}"):
        RandomStream(bytes(length))


def test_a_negative_count_is_refused() -> None:
    """No stream runs backwards."""
    with pytest.raises(StreamInvalid):
        RandomStream(KEY).bytes(-1)


def test_a_stream_neither_shows_nor_copies_itself() -> None:
    """Its repr is redacted and it is not pickled."""
    assert repr(RandomStream(KEY)) == "RandomStream(<redacted>)"
    with pytest.raises(TypeError):
        pickle.dumps(RandomStream(KEY))
