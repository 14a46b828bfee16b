"""Metadata tables beside pictures: what they say is used, noted or refused, and never half of it in silence."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import contents, made

from crvae.data.sources.table import Table, read_metadata
from crvae.errors import UserError
from fuzzing import many

PATHS = {f"{i}.png": f"{i}.png" for i in range(4)}


def lines(column: str, *values: object) -> bytes:
    return "\n".join(json.dumps({"file_name": f"{i}.png", column: value}) for i, value in enumerate(values)).encode()


def read(**files: bytes) -> Table:
    found = read_metadata({f"metadata.{ending}": content for ending, content in files.items()}, PATHS)
    assert found is not None
    return found


def values(table: Table, column: str) -> list[str | None]:
    codes = [table.labels(name)[column] for name in PATHS]
    return [table.columns[column][code] if code >= 0 else None for code in codes]


def test_whole_numbers_with_a_point_are_labels_as_pandas_writes_them():
    assert values(read(jsonl=lines("label", 0.0, 1.0, None, float("nan"))), "label") == ["0", "1", None, None]
    assert values(read(jsonl=lines("x", 0, 1.0, 2, "2")), "x") == ["0", "1", "2", "2"]


def test_a_measure_is_no_label_though_some_of_it_are_whole():
    for column in ("score", "label"):
        table = read(jsonl=lines(column, 0.0, 1.0, 0.5, 1.0))
        assert table.columns == {}
        assert table.notes == (f"metadata column {column} is not used: it has 0 values, and an attribute has 2 to 255",)


def test_labels_without_a_value_leave_the_class_folders(fill, tmp_path):
    for seed, name in enumerate(("ant", "bee")):
        fill(tmp_path / "in" / name, 3, 10 * seed)
    rows = [{"file_name": f"{name}/000.png", "label": 0.5} for name in ("ant", "bee")]
    (tmp_path / "in" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = made(tmp_path / "in", tmp_path / "out")
    assert data.card.columns == {"label": ("ant", "bee")}
    assert any(note.startswith("metadata column label is not used") for note in data.card.notes)
    assert all(key.startswith(label) for rows in contents(data).values() for key, label in rows)


def test_contradictions_are_refused_by_file_and_line():
    table = b"file_name,label,text\n0.png,cat,a\n1.png,dog,b\n"
    with pytest.raises(
        UserError,
        match=r"metadata\.csv line 2 \(cat\) and metadata\.csv line 5 \(dog\) give 0\.png different values of label: ",
    ):
        read(csv=table + b"\n0.png,dog,a\n")
    with pytest.raises(UserError, match=r"metadata\.csv line 3 \(dog\) and metadata\.jsonl line 2 \(fox\) give 1\.png"):
        read(csv=table, jsonl=lines("label", "cat", "fox"))
    alike = read(csv=table + b"0.png,cat,a\n0.png,,\n", jsonl=lines("more", 1, 2))
    assert values(alike, "label") == ["cat", "dog", None, None]
    assert values(alike, "more") == ["1", "2", None, None]


def test_several_captions_of_an_image_are_no_contradiction_where_they_are_not_used():
    rows = "".join(f"{i % 2}.png,{i % 2},caption {i}\n" for i in range(600))
    names = {f"{i}.png": f"{i}.png" for i in range(300)} | PATHS
    rows += "".join(f"{i}.png,{i % 2},caption {i}\n" for i in range(2, 300))
    table = read_metadata({"metadata.csv": f"file_name,kind,text\n{rows}".encode()}, names)
    assert table is not None
    assert set(table.columns) == {"kind"}


def test_halves_of_a_pair_and_names_that_are_not_utf8_can_be_stored(fill, tmp_path):
    folder = fill(tmp_path / "in", 4)
    (folder / "metadata.jsonl").write_text(
        "\n".join(f'{{"file_name": "00{i}.png", "kind": "{("x", chr(92) + "ud800x")[i % 2]}"}}' for i in range(4))
    )
    data = made(folder, tmp_path / "out")
    assert data.card.columns == {"kind": ("?x", "x")}
    table = read_metadata({"caf\udce9/metadata.csv": b"\xff"}, PATHS)
    assert table is not None
    assert table.notes[0].startswith("caf\\xe9/metadata.csv cannot be read (line 1 is not UTF-8: save it as CSV UTF-8)")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"file_name;label\n0.png;cat\n", "its cells are between semicolons: save it with commas"),
        ("file_name,label\n0.png,cat\n".encode("utf-16"), "it is UTF-16: save it as CSV UTF-8"),
        (b'file_name,label\n0.png,"cat\n1.png,dog\n', 'line 2: a quote (") is not closed'),
        (b"name,label\n0.png,cat\n", "its header has no file_name"),
    ],
)
def test_a_table_that_cannot_be_read_says_why(content, says):
    (note,) = read(csv=content).notes
    assert note.startswith(f"metadata.csv cannot be read ({says}")
    assert note.endswith("): its labels are not used")


def test_lines_of_json_that_are_none_say_which():
    for content in (b'{"file_name": "0.png"}\n{', b'{"file_name": "0.png"}\n' + b"[" * 100_000):
        assert "cannot be read (" in read(jsonl=content).notes[0]
    assert "line 2 is not JSON" in read(jsonl=b'{"file_name": "0.png"}\n{').notes[0]
    assert values(read(jsonl=lines("kind", "a\u2028b", "c").replace(rb"\u2028", "\u2028".encode())), "kind")[1] == "c"


def test_reserved_names_and_a_split_have_notes():
    table = read(csv=b"file_name,key,a b,split\n0.png,1,x,train\n1.png,2,y,test\n")
    assert set(table.columns) == {"split"}
    assert "metadata column 'key' is not used: it has a name of the prepared format's own" in table.notes[0]
    assert "metadata column 'a b' is not used: it has no name for a label" in table.notes[1]
    assert table.notes[2].startswith("column split is an attribute and decides no split")


CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.lists(st.none(), max_size=1)
)


@many(60)
@given(cells=st.lists(CELLS, min_size=1, max_size=4), more=st.binary(max_size=8))
def test_any_values_are_read_or_noted(cells, more):
    text = "\n".join(json.dumps({"file_name": f"{i}.png", "kind": cell}) for i, cell in enumerate(cells))
    table = read(jsonl=text.encode() + b"\n" + more)
    json.dumps(table.columns, ensure_ascii=False).encode()
    assert table.notes or "kind" in table.columns
