"""The reader of Torch7 files: values, shared storages, cycles; and files made to hurt."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crvae.errors import UserError
from crvae.torch7.reader import Instance, read_torch7


@pytest.fixture
def read(tmp_path):
    def run(content: bytes):
        path = tmp_path / "file.t7"
        path.write_bytes(content)
        return read_torch7(path)

    return run


def test_values(lua, read):
    value = {1: "a", 2: 0.5, "deep": {"yes": True, "no": False, "none": None}, "text": "\xe9", 3: -7}
    assert read(lua.dump(value)) == value


def test_tensors_share_a_storage(lua, read):
    storage = np.arange(24, dtype=np.float32)
    views = lua.table(lua.View(storage, (2, 3), 0), lua.View(storage, (4,), 20), lua.View(storage, (1, 2, 2), 6))
    found = read(lua.dump(views))
    np.testing.assert_array_equal(found[1], storage[:6].reshape(2, 3))
    np.testing.assert_array_equal(found[2], storage[20:])
    np.testing.assert_array_equal(found[3], storage[6:10].reshape(1, 2, 2))


def test_transposed_tensor(lua, read):
    view = lua.View(np.arange(6, dtype=np.float32), (3, 2), 0)
    content = bytearray(lua.dump(view))
    content = content.replace(struct.pack("<4q", 3, 2, 2, 1), struct.pack("<4q", 3, 2, 1, 3))
    np.testing.assert_array_equal(read(bytes(content)), np.arange(6).reshape(2, 3).T)


@pytest.mark.parametrize(
    ("kind", "dtype"), [("Byte", "u1"), ("Long", "i8"), ("Double", "f8"), ("Half", "f2"), ("CudaHalf", "f2")]
)
def test_element_types(lua, read, kind, dtype):
    values = np.arange(5).astype(dtype)
    found = read(lua.dump(lua.View(values, (5,), 0, kind)))
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, values)


def test_same_object_twice_and_a_cycle(lua, read):
    one = lua.Lua("nn.Linear", {"n": 1})
    loop: dict = {"one": one, "again": one}
    loop["self"] = loop
    found = read(lua.dump(loop))
    assert found["one"] is found["again"]
    assert found["self"] is found
    assert found["one"] == Instance("nn.Linear", {"n": 1})


def test_functions_are_passed_over(lua, read):
    writer = lua.Writer()
    writer.indices = {-1: 1, -2: 2}  # those of the table and the function below
    writer.int(3)
    writer.int(1)
    writer.int(2)
    writer.value("f")
    writer.int(8)  # a function: index, byte code, upvalues
    writer.int(2)
    writer.text("\x1bLJ os.execute")
    writer.value({"name": "x"})
    writer.value("after")
    writer.value(5)
    assert read(bytes(writer.out)) == {"f": None, "after": 5}


def test_old_class_without_version(lua, read):
    writer = lua.Writer()
    writer.indices = {-1: 1}
    writer.int(4)
    writer.int(1)
    writer.text("nn.Tanh")
    writer.value({"n": 1})
    assert read(bytes(writer.out)) == Instance("nn.Tanh", {"n": 1})


def header(name: str) -> bytes:
    return struct.pack("<iii", 4, 1, 3) + b"V 1" + struct.pack("<i", len(name)) + name.encode()


def tensor(sizes, strides, offset, storage=b"") -> bytes:
    return (
        header("torch.FloatTensor")
        + struct.pack(f"<i{2 * len(sizes) + 1}q", len(sizes), *sizes, *strides, offset)
        + storage
    )


STORAGE = (
    struct.pack("<iii", 4, 2, 3)
    + b"V 1"
    + struct.pack("<i", 18)
    + b"torch.FloatStorage"
    + struct.pack("<q4f", 4, 1, 2, 3, 4)
)

HOSTILE = {
    "text longer than the file": (struct.pack("<ii", 2, 2**31 - 1), "ends too early"),
    "text of negative length": (struct.pack("<ii", 2, -1), "ends too early"),
    "table longer than the file": (struct.pack("<iii", 3, 1, 2**31 - 1), "ends too early"),
    "storage larger than the file": (header("torch.FloatStorage") + struct.pack("<q", 2**60), "ends too early"),
    "storage of negative size": (header("torch.FloatStorage") + struct.pack("<q", -1), "negative size"),
    "tensor beyond its storage": (tensor([5], [1], 1, STORAGE), "beyond its storage"),
    "tensor whose last value is beyond its storage": (tensor([4], [1], 2, STORAGE), "beyond its storage"),
    "tensor that repeats one value": (tensor([2**40], [0], 1, STORAGE), "beyond its storage"),
    "tensor before its storage": (tensor([2], [1], 0, STORAGE), "negative"),
    "tensor with a negative stride": (tensor([2], [-1], 4, STORAGE), "negative"),
    "tensor of too many dimensions": (header("torch.FloatTensor") + struct.pack("<i", 10**6), "dimensions"),
    "tensor on text": (tensor([1], [1], 1, struct.pack("<ii", 2, 0)), "another type"),
    "deep nesting": (
        b"".join(struct.pack("<iii", 3, i, 1) + struct.pack("<id", 1, 1) for i in range(1, 5000)),
        "deeper",
    ),
    "deep functions": (struct.pack("<ii", 6, 0) * 5000, "deeper"),
    "unknown kind": (struct.pack("<i", 99), "kind 99"),
    "text mode": (b"4\n1\n3\nV 1\n", "kind"),
    "a class with its own format": (header("tds.Hash") + struct.pack("<id", 1, 1), "tds.Hash"),
    "a table as a key": (struct.pack("<iii", 3, 1, 1) + struct.pack("<iii", 3, 2, 0) + struct.pack("<i", 0), "key"),
    "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(100), "kind"),
    "empty": (b"", "empty"),
}


@pytest.mark.parametrize(("content", "says"), HOSTILE.values(), ids=HOSTILE)
def test_hostile(read, content, says):
    with pytest.raises(UserError, match=says) as caught:
        read(content)
    assert "\n" not in str(caught.value)


def test_many_values_stay_bounded(read):
    content = struct.pack("<iii", 3, 1, 60_000) + struct.pack("<idid", 1, 1, 1, 1) * 60_000
    with pytest.raises(UserError, match="values"):
        read(content)


def test_huge_claims_take_no_memory(read):
    tracemalloc.start()
    with pytest.raises(UserError):
        read(header("torch.FloatStorage") + struct.pack("<q", 2**40))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_missing(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        read_torch7(tmp_path / "none.t7")


def test_every_truncation_is_refused(lua, tmp_path):
    content = lua.dump(lua.table(lua.Lua("nn.Linear", {"weight": np.ones((2, 2), np.float32)}), "end"))
    path = tmp_path / "cut.t7"
    for length in range(1, len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(UserError, match="ends too early"):
            read_torch7(path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.integers(0, 8))
def test_random_bytes_never_crash(tmp_path, content, kind):
    path = tmp_path / "random.t7"
    path.write_bytes(struct.pack("<ii", kind, 1) + content)
    try:
        read_torch7(path)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017 - a file may also be valid


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**50), 2**50)
    | st.floats(allow_nan=False)
    | st.text(st.characters(max_codepoint=255)),
    lambda inner: st.dictionaries(
        st.text(st.characters(max_codepoint=255), max_size=5) | st.integers(1, 99), inner, max_size=5
    ),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values)
def test_round_trip(lua, tmp_path, value):
    path = tmp_path / "value.t7"
    path.write_bytes(lua.dump(value))
    assert read_torch7(path) == value
