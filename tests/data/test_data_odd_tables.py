"""Tables of any shape: prepared, with every row accounted for, or refused in one sentence. `make fuzz` tries more."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st
from making import made
from PIL import Image

from crvae.errors import UserError
from fuzzing import many


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 8, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


PICTURES = [png(seed) for seed in range(4)]
NAMES = st.sampled_from(
    [
        "image",
        "img",
        "annotation",
        "label",
        "file_name",
        "split",
        "a b",
        "é",
        "e\u0301",
        "[x]",
        "key",
        "content",
        "",
        "image:bytes",
    ]
)
CONTENT = st.sampled_from([*PICTURES, PICTURES[0][:40], b"", b"text", None])
STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})
KINDS = {
    pa.binary(): CONTENT,
    pa.large_binary(): CONTENT,
    STRUCT: st.none() | st.fixed_dictionaries({"bytes": CONTENT, "path": st.none() | st.just("/etc/passwd")}),
    pa.string(): st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    pa.int64(): st.none() | st.integers(-3, 300),
    pa.float64(): st.none() | st.floats(),
    pa.bool_(): st.booleans(),
    pa.list_(pa.binary()): st.lists(CONTENT, max_size=2),
    pa.dictionary(pa.int32(), pa.string()): st.sampled_from(["cat", "dog", None]),
    pa.null(): st.none(),
    pa.timestamp("s"): st.none() | st.integers(0, 10**9),
}
"""Type of a column -> values."""


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(0, 7))
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    kinds = [draw(st.sampled_from(list(KINDS))) for _ in names]
    columns = [pa.array(draw(st.lists(KINDS[kind], min_size=rows, max_size=rows)), kind) for kind in kinds]
    return pa.table(columns, names=names)


@many(60)
@given(table=tables(), split=st.sampled_from(["", "-train", "-test"]), labels=st.sampled_from([None, "none", "label"]))
def test_a_table_of_any_shape_is_accounted_for_or_refused_in_words(table, split, labels, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    pq.write_table(table, folder / f"some{split}.parquet")
    try:
        data = made(folder / f"some{split}.parquet", folder / "out", labels=labels)
    except UserError:
        assert not (folder / "out").exists()
        return
    assert data.card.files.found == table.num_rows
    for name in data.card.splits:
        assert len(data.split(name).images(range(len(data.split(name))))) == len(data.split(name))
