"""CRC-32C (Castagnoli) in NumPy, the checksum of TFRecord files, for machines without TensorFlow."""

import numpy as np

_POLYNOMIAL = 0x82F63B78  # reflected
_BLOCK = 32  # bytes of a block; the blocks of a record are summed side by side
_MASK = 0xA282EAD8


def masked(data: bytes) -> int:
    """The checksum of TFRecord files: CRC-32C, rotated and shifted so that it can itself lie in summed data."""
    crc = checksum(data)
    return (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF


def checksum(data: bytes) -> int:
    """CRC-32C of bytes. The blocks of the data are summed side by side, then joined two by two.

    Leading zeros do not change the sum of a register that starts at zero, so the data is filled up in front. The
    register's start, all ones, is the same as inverting the first four bytes.
    """
    if len(data) < 4:
        register = 0xFFFFFFFF
        for byte in data:
            register = (register >> 8) ^ int(_TABLE[(register ^ byte) & 0xFF])
        return register ^ 0xFFFFFFFF
    levels = max(-(-len(data) // _BLOCK) - 1, 0).bit_length()
    padded = np.zeros(_BLOCK << levels, np.uint8)
    begin = len(padded) - len(data)
    padded[begin:] = np.frombuffer(data, np.uint8)
    padded[begin : begin + 4] ^= 0xFF
    columns = np.ascontiguousarray(padded.reshape(-1, _BLOCK).T)
    registers = np.zeros(1 << levels, np.uint32)
    for column in columns:
        registers = (registers >> np.uint32(8)) ^ _TABLE[(registers & np.uint32(0xFF)) ^ column]
    for level in range(levels):
        registers = _past_zeros(registers[::2], level) ^ registers[1::2]
    return int(registers[0]) ^ 0xFFFFFFFF


def _past_zeros(registers: np.ndarray, level: int) -> np.ndarray:
    """What `registers` [N] uint32 become after `_BLOCK` << `level` zero bytes."""
    tables = _zero_tables(level)
    result = tables[0][registers & np.uint32(0xFF)]
    for index in range(1, 4):
        result = result ^ tables[index][(registers >> np.uint32(8 * index)) & np.uint32(0xFF)]
    return result


def _zero_tables(level: int) -> np.ndarray:
    """[4, 256]: what each byte of a register, the lowest first, becomes after `_BLOCK` << `level` zero bytes."""
    while len(_TABLES) <= level:
        if _TABLES:
            previous = len(_TABLES) - 1
            bits = _past_zeros(_past_zeros(_BITS, previous), previous)
        else:
            bits = _BITS
            for _ in range(_BLOCK):
                bits = (bits >> np.uint32(8)) ^ _TABLE[bits & np.uint32(0xFF)]
        chosen = (np.arange(256)[:, None] >> np.arange(8)) & 1  # [256, 8]
        parts = np.where(chosen[None] == 1, bits.reshape(4, 1, 8), np.uint32(0))
        _TABLES.append(np.bitwise_xor.reduce(parts, axis=-1))
    return _TABLES[level]


def _byte_table() -> np.ndarray:
    """[256]: what the lowest byte of a register becomes."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> np.uint32(1)) ^ np.uint32(_POLYNOMIAL), table >> np.uint32(1))
    return table


_TABLE = _byte_table()
_BITS = np.uint32(1) << np.arange(32, dtype=np.uint32)
_TABLES: list[np.ndarray] = []  # of `_zero_tables`, made when they are needed
