import numpy as np
import pytest

from tf_deep3d.data import crc32c


def bytewise(data):
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "expected"),  # RFC 3720, appendix B.4, and the usual check value
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
    ],
)
def test_published_checksums(data, expected):
    assert crc32c.checksum(data) == expected


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 31, 32, 33, 64, 65, 127, 1000, 4099])
def test_checksum_of_every_length(length):
    data = np.random.default_rng(length).integers(0, 256, length, np.uint8).tobytes()
    assert crc32c.checksum(data) == bytewise(data)
