import os
import pickle
import struct

import numpy as np
import pytest
import scipy.sparse

from tf_deep3d.porting import PortingError, pickled, unpickling


class Payload:
    """Pickles as a call, the way an attack does."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def python2_array(array, protocol=2):
    """The pickle of a float64 or uint32 array as Python 2 wrote it, without its beginning and end."""
    data, order = array.tobytes(), "f8" if array.dtype == np.float64 else "u4"
    if protocol == 0:
        shape = b"(" + b"".join(b"I%d\n" % length for length in array.shape) + b"t"
        text = b"S" + repr(data).removeprefix("b").encode("ascii") + b"\n"
        begin = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n" + shape
        dtype = b"cnumpy\ndtype\n(S'" + order.encode() + b"'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
        return begin + dtype + b"I00\n" + text + b"tb"
    shape = b"(" + b"".join(b"J" + struct.pack("<i", length) for length in array.shape) + b"t"
    dtype = (
        b"cnumpy\ndtype\nU\x02"
        + order.encode()
        + b"K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    text = b"T" + struct.pack("<I", len(data)) + data
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
        + shape
        + dtype
        + b"\x89"
        + text
        + b"tb"
    )


def python2_pickle(items, protocol=2):
    """A dict in Python 2's pickle: arrays, and ("chumpy", array) for an array within chumpy's class."""
    out = b"\x80\x02}" if protocol == 2 else b"(d"
    for key, value in items.items():
        out += b"U" + bytes([len(key)]) + key.encode() if protocol == 2 else b"S'" + key.encode() + b"'\n"
        if isinstance(value, tuple):
            body = b"}U\x01x" + python2_array(value[1]) + b"s" if protocol == 2 else (
                b"(dS'x'\n" + python2_array(value[1], 0) + b"s"
            )  # fmt: skip
            new = b"cchumpy.ch\nCh\n)\x81" if protocol == 2 else (
                b"ccopy_reg\n_reconstructor\n(cchumpy.ch\nCh\nc__builtin__\nobject\nNtR"
            )  # fmt: skip
            out += new + body + b"b"
        else:
            out += python2_array(value, protocol)
        out += b"s"
    return out + b"."


VALUES = {
    "float": np.linspace(-1, 1, 24).reshape(2, 3, 4),
    "fortran": np.asfortranarray(np.arange(12.0, dtype=np.float32).reshape(3, 4)),
    "big": np.arange(5, dtype=">i4"),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 3), np.uint32),
    "scalar": np.float64(2.5),
}


@pytest.mark.parametrize("protocol", range(6))
def test_reads_what_python_3_pickles(protocol):
    sparse = scipy.sparse.random(7, 9, 0.3, "csc", rng=np.random.default_rng(0))
    plain = {
        "text": "ä",
        "raw": b"\x00\xff",
        "list": [1, -2, 2**70, 1.5, None, True, (), (1,), (1, 2, 3, 4)],
        3: {"a": 1},
    }
    content = {**VALUES, **plain, "csc": sparse, "csr": sparse.tocsr(), "again": VALUES["float"]}
    found = unpickling.read(pickle.dumps(content, protocol))
    assert {key: found[key] for key in plain} == plain
    for key, value in VALUES.items():
        np.testing.assert_array_equal(pickled.array(found[key], key), value)
        assert pickled.array(found[key], key).dtype == np.asarray(value).dtype.newbyteorder("=")
    np.testing.assert_array_equal(pickled.array(found["csc"], "csc"), sparse.toarray())
    np.testing.assert_array_equal(pickled.array(found["csr"], "csr"), sparse.toarray())
    assert found["again"] is found["float"]


@pytest.mark.parametrize("protocol", [0, 2])
@pytest.mark.parametrize("windows", [False, True])
def test_reads_what_python_2_pickled(protocol, windows):
    values = np.linspace(-3, 3, 300).reshape(10, 10, 3)
    data = python2_pickle({"x": values, "f": np.arange(6, dtype=np.uint32), "dirs": ("chumpy", values[:2])}, protocol)
    if windows and protocol == 0:
        data = data.replace(b"\n", b"\r\n")  # copied in text mode
    found = unpickling.read(data)
    np.testing.assert_array_equal(pickled.array(found["x"], "x"), values)
    np.testing.assert_array_equal(pickled.array(found["f"], "f"), np.arange(6))
    np.testing.assert_array_equal(pickled.array(found["dirs"], "dirs"), values[:2])
    python = pickle.loads(python2_pickle({"x": values}, protocol), encoding="latin1")  # the writer above is right
    np.testing.assert_array_equal(python["x"], values)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    ("function", "argument"),
    [
        (os.system, "touch {}"),
        (os.mkdir, "{}"),
        (eval, "__import__('os').mkdir('{}')"),
        (exec, "import os; os.mkdir('{}')"),
    ],
)
def test_refuses_calls_and_does_not_make_them(tmp_path, protocol, function, argument):
    victim = tmp_path / "victim"
    payload = Payload(function, argument.format(victim))
    with pytest.raises(PortingError, match="numbers and arrays only"):
        unpickling.read(pickle.dumps({"v_template": VALUES["float"], "evil": [payload]}, protocol))
    assert not victim.exists()
    pickle.loads(pickle.dumps(payload, protocol))
    assert victim.exists()  # the payload is real


@pytest.mark.parametrize(
    "data",
    [
        b"(S'touch x'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'touch x'\no.",  # OBJ
        b"\x80\x02\x82\x01.",  # EXT1
        b"Pos\n.",  # persistent id
        b"\x8c\x02os\x8c\x06system\x93\x8c\x07touch x\x85R.",  # STACK_GLOBAL
        b"cnumpy\nload\n(S'x.npy'\ntR.",
        b"cnumpy.core.multiarray\n_reconstruct.system\n(tR.",
    ],
)
def test_refuses_other_ways_to_name_things(data):
    with pytest.raises(PortingError, match="numbers and arrays only"):
        unpickling.read(data)


@pytest.mark.parametrize(
    "data",
    [b"", b".", b"a.", b"t.", b"h\x05.", b"T\xff\xff\xff\xffabc.", b"K\x01R.", b"](a}\x94\x94s.", b"S'a.\n.", b"I1x\n.",
     b"\x8e" + b"\xff" * 8, b"}(K\x01u."],
)  # fmt: skip
def test_damage_is_an_error(data):
    with pytest.raises(PortingError):
        unpickling.read(data)


NESTED = b"\x80\x02N" + b"2\x86" * 60  # tuples of a tuple twice: 2**60 values by hash or text


@pytest.mark.parametrize(
    "data",
    [b"}" + NESTED[2:] + b"Ns.", b"}(" + NESTED[2:] + b"Nu.", b"(" + NESTED[2:] + b"Nd.", NESTED + b"\x8c\x01a\x93.",
     b"\x8c\x05numpy" + NESTED[2:] + b"\x93.", NESTED + b")R.", NESTED + b")\x81."],
)  # fmt: skip
def test_values_that_multiply_cost_nothing(data):
    assert isinstance(unpickling.read(NESTED + b"."), tuple)
    with pytest.raises(PortingError, match=r"(name things by text|has no name)"):
        unpickling.read(data)


def test_mutations_raise_nothing_else():
    rng = np.random.default_rng(0)
    data = np.frombuffer(python2_pickle({"x": VALUES["float"], "y": ("chumpy", VALUES["float"])}), np.uint8)
    refused = 0
    for _ in range(400):
        copy = data[: rng.integers(1, len(data) + 1)].copy()
        copy[rng.integers(0, len(copy), 3)] = rng.integers(0, 256, 3)
        try:
            for key, value in unpickling.read(copy.tobytes()).items():
                pickled.array(value, str(key))
        except (PortingError, AttributeError):  # the top need not be a dict
            refused += 1
    assert refused > 300


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": 1}, "must be an array. Received: dict"),
        (np.array(["text"]), "plain numbers. Received: type 'U4'"),
        (np.array([{}], dtype=object), "plain numbers. Received: type 'O8'"),
        (np.array([(1,)], dtype=[("a", "f8")]), "plain numbers. Received: type 'V8'"),
    ],
)
def test_other_arrays_are_refused(value, message):
    with pytest.raises(PortingError, match=message):
        pickled.array(unpickling.read(pickle.dumps(value)), "x")


def test_bytes_must_fit_the_shape():
    data = python2_pickle({"x": np.zeros((2, 3))}).replace(b"J\x03\x00\x00\x00", b"J\x04\x00\x00\x00")
    with pytest.raises(PortingError, match=r"x of shape \(2, 4\) and float64 does not fit. Received: 48 bytes"):
        pickled.array(unpickling.read(data)["x"], "x")


def test_a_chumpy_array_within_itself_is_an_error():
    with pytest.raises(PortingError, match="x is not a readable array"):
        pickled.array(unpickling.read(b"\x80\x02cchumpy.ch\nCh\n)\x81q\x00}U\x01xh\x00sb."), "x")


def test_object_in_npy(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, {"x": VALUES["float"]}, allow_pickle=True)
    found = pickled.npy_object(path.read_bytes(), "a.npy")
    np.testing.assert_array_equal(pickled.array(found["x"], "x"), VALUES["float"])
    np.save(path, np.array([Payload(os.system, "true")], dtype=object), allow_pickle=True)
    with pytest.raises(PortingError, match="system"):
        pickled.npy_object(path.read_bytes(), "a.npy")
