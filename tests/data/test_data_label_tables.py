"""A table of labels that is nearly right: read as it was meant where that is clear, else refused by file and line."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crvae.data.sources.table import Table, read_table
from crvae.errors import UserError
from fuzzing import many

PATHS = {f"00{i}.png": f"00{i}.png" for i in range(4)}
ROWS = [f"00{i}.png,{'cat' if i % 2 else 'dog'}" for i in range(4)]
WANTED = {f"00{i}.png": "cat" if i % 2 else "dog" for i in range(4)}


@pytest.fixture
def read(tmp_path):
    def read(*lines: str, root: str | None = None, encoding: str = "utf-8") -> Table:
        path = tmp_path / "labels.csv"
        path.write_bytes("\n".join(lines).encode(encoding))
        return read_table(path, PATHS, root)

    return read


def values(table: Table, column: str = "label") -> dict[str, str]:
    return {name: table.columns[column][row[list(table.columns).index(column)]] for name, row in table.rows.items()}


def refusal(read, *lines: str, **options: str) -> str:
    with pytest.raises(UserError) as error:
        read(*lines, **options)
    assert "labels.csv" in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_table_without_a_header_is_refused(read):
    assert "line 1 names a picture ('000.png'): the table needs a header, file,COLUMN…" in refusal(read, *ROWS)
    assert "line 1 names a picture" in refusal(read, "elsewhere.PNG,cat", *ROWS)
    assert values(read("file,label", *ROWS)) == WANTED
    assert values(read("png,label", *ROWS)) == WANTED


def test_a_stray_quote_swallows_nothing(read):
    rows = list(ROWS)
    rows[1] = '001.png,"cat'
    assert 'line 3: a quote (") is not closed' in refusal(read, "file,label", *rows)
    rows[3] = '003.png,cat"'
    assert "line 3: a cell goes on in line 5" in refusal(read, "file,label", *rows)
    rows[1:] = ['001.png,"cat"s', *ROWS[2:]]
    assert "line 3: " in refusal(read, "file,label", *rows)
    rows[1:] = ['001.png,"cat"', *ROWS[2:]]
    assert values(read("file,label", *rows)) == WANTED


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ("file,image_type", "column 'image_type' has a name of the prepared format's own (key, content, image…)"),
        ("file,key", "column 'key' has a name of the prepared format's own"),
        ("file,hair color", "column 'hair color' has no name for a label: letters, digits"),
        ("file,_x", "a letter or a digit first"),
        ("file,label,label", "has two columns 'label': keep one"),
        ("file;label", "has its cells between semicolons: save the table with commas"),
        ("file\tlabel", "has its cells between tabs: save the table with commas"),
        ("file,label,", "ends with a comma"),
        ("file", "line 1 must be a header, file,COLUMN…"),
    ],
)
def test_a_header_is_refused_by_the_rule_that_it_breaks(head, says, read):
    assert says in refusal(read, head, *ROWS)


@pytest.mark.parametrize(
    ("encoding", "says"), [("utf-16", "it is UTF-16"), ("utf-16-le", ""), ("cp1252", "line 2 is not UTF-8")]
)
def test_another_alphabet_is_named(encoding, says, read):
    words = "file,label", "000.png,löwe", *ROWS[1:]
    assert says in (found := refusal(read, *words, encoding=encoding))
    assert "save it as CSV UTF-8" in found or not says
    assert values(read(*words))["000.png"] == values(read(*words, encoding="utf-8-sig"))["000.png"] == "löwe"


def test_a_column_without_values_is_refused(read):
    for head, rows in (("file,label", ()), ("file,label", ("000.png, ",)), ("file,x,label", ("000.png,1,",))):
        assert "has no value in column 'label'" in refusal(read, head, *rows)


def test_blank_lines_and_blanks_around_cells_mean_nothing(read):
    rows = [" ".join(row.partition(",")) + " " for row in ROWS]
    assert values(read("file, label", "", ",", *rows, " , ", ",")) == WANTED
    assert "line 5 " in refusal(read, "file,label", "", ",", ROWS[0], "none.png,cat")  # as an editor counts


def test_an_image_that_is_not_there_has_a_hint(read):
    for name, meant in (
        ("000", "000.png"),
        ("002.PNG", "002.png"),
        ("pics/003.png", "003.png"),
        ("0O1.png", "001.png"),
    ):
        assert f"names {name!r}, which is not an image of SOURCE (did you mean {meant!r}?)" in refusal(
            read, "file,label", f"{name},cat"
        )
    assert refusal(read, "file,label", "elephant.gif,cat").endswith("which is not an image of SOURCE")


def test_a_path_may_begin_with_the_folder_that_is_the_source(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "data" / "pics"
    for start in ("pics/", "pics\\", "data/pics/", "./data/pics/", f"{root}/"):
        assert values(read("file,label", *(start + row for row in ROWS), root="data/pics")) == WANTED
    for start in ("other/", f"{tmp_path}/other/", "xpics/"):
        assert "(did you mean '000.png'?)" in refusal(read, "file,label", start + ROWS[0], root=str(root))


def test_a_column_named_split_has_a_note(read):
    note = "column split is an attribute and decides no split: the folders train, validation and test would"
    assert note in read("file,split", *ROWS).notes
    assert read("file,label", *ROWS).notes == ()


def test_a_name_that_is_not_utf8_is_noted_as_it_can_be_stored(tmp_path):
    path = Path(str(tmp_path / "t\udce9.csv"))
    path.write_text("file,label\n000.png,cat\n")
    assert read_table(path, PATHS).notes == ("3 images have no line in t\\xe9.csv",)


CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@many(60)
@given(rows=st.lists(st.lists(CELLS, min_size=1, max_size=3), max_size=4), quoting=st.sampled_from([0, 1, 3]))
def test_any_table_is_read_or_refused_in_one_sentence(rows, quoting, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "labels.csv"
    text = io.StringIO()
    writer = csv.writer(text, quoting=quoting, escapechar="\\")
    rows = [row for row in rows if row != [""] or quoting != csv.QUOTE_NONE]  # the writer itself refuses it
    writer.writerows([["file", "x"], ["000.png", "1"], *rows])
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    try:
        table = read_table(path, PATHS)
    except UserError as error:
        said = str(error)
    else:
        said = f"--labels {path}"
        assert values(table, "x")["000.png"] == "1"
    assert said.startswith(f"--labels {path}")
