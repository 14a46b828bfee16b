"""Attributes: categorical columns beside the class label, from every kind of source, by name."""

from __future__ import annotations

import json

import pytest
import torch

from crvae.data import open_data
from crvae.errors import UserError


def values(path) -> dict[str, dict[str, str | None]]:
    """Key -> column -> value, None where unknown."""
    data, found = open_data(path), {}
    for name in data.card.splits:
        split = data.split(name)
        every = range(len(split))
        for column, names in data.card.columns.items():
            codes = split.labels(every, column).tolist()
            for key, code in zip(split.keys(every), codes, strict=True):
                found.setdefault(key, {})[column] = names[code] if code >= 0 else None
    return found


@pytest.fixture
def table(images, tmp_path):
    """A CSV table of the 12 images; the function writes what it is given."""

    def write(*lines: str, encoding: str = "utf-8") -> object:
        path = tmp_path / "labels.csv"
        path.write_bytes("\n".join(lines).encode(encoding))
        return path

    return write


def files(images) -> list[str]:
    return sorted(path.relative_to(images).as_posix() for path in images.rglob("*.png"))


def test_the_card_lists_values_counts_and_the_rarest(images, table, crvae, tmp_path):
    lines = ["file,hair,glasses,person,planet,label"]
    for i, name in enumerate(files(images)):
        lines.append(f"{name},{('red', 'grey', 'grey')[i % 3]},{'none' if i else 'round'},{i},earth,{i % 2}")
    assert crvae("prepare", images, tmp_path / "out", "--size", 8, "--labels", table(*lines))[0] == 0
    data = open_data(tmp_path / "out")
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert set(card["columns"]) == {"hair", "glasses", "person", "planet", "label"}
    # one value tells nothing; `label` is the class
    assert list(card["attributes"]) == ["hair", "glasses", "person"]
    assert card["attributes"]["hair"] == {"values": {"grey": 8, "red": 4}, "rarest": "red", "unknown": 0}
    assert card["attributes"]["glasses"] == {"values": {"none": 11, "round": 1}, "rarest": "round", "unknown": 0}
    split = data.split("train")
    assert split.attributes["hair"] == ("grey", "red")
    codes = split.attribute_values(range(len(split)))
    assert codes.shape == (len(split), 3)
    for column, name in enumerate(split.attributes):
        assert torch.equal(codes[:, column], split.labels(range(len(split)), name))
    assert split.attribute_values([1, 0], ["person", "hair"]).shape == (2, 2)
    assert split.attribute_values([0, 1], []).shape == (2, 0)
    with pytest.raises(UserError, match="no attribute 'planet', only hair, glasses, person"):
        split.attribute_values([0], ["planet"])


def test_data_without_attributes_say_so(prepared):
    split = open_data(prepared).split("train")
    assert split.attributes == {}
    assert split.attribute_values([0, 1]).shape == (2, 0)
    with pytest.raises(UserError, match="none at all"):
        split.attribute_values([0], ["hair"])


def test_a_column_of_more_than_255_values_is_a_label_and_no_attribute(crvae, tmp_path, picture):
    source = tmp_path / "many"
    source.mkdir()
    lines = ["file,few,many"]
    for i in range(300):
        picture(i, 9, 8).save(source / f"{i}.png")
        lines.append(f"{i}.png,{i % 255},{i}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    assert crvae("prepare", source, tmp_path / "out", "--size", 8, "--labels", tmp_path / "labels.csv")[0] == 0
    card = open_data(tmp_path / "out").card
    assert list(card.attributes) == ["few"]
    assert len(card.columns["many"]) == 300


def test_a_table_of_another_system_and_of_odd_spellings_finds_its_files(crvae, tmp_path, picture):
    source = tmp_path / "images"
    (source / "zoo").mkdir(parents=True)
    names = ("Lo\u0308we", "Ba\u0308r", "Maus [old]", "B\u00e4r 2")  # two decomposed, as a Mac writes
    for i, name in enumerate(names):
        picture(i).save(source / "zoo" / f"{name}.png")
    picture(9).save(source / "loose.png")
    lines = (
        "\ufefffile,kind\r\nzoo\\L\u00f6we.png,wild\r\n./zoo/B\u00e4r.png,wi\u0308ld\r\nzoo/Maus [old].png,[tame]\r\n"
    )
    (tmp_path / "labels.csv").write_bytes(lines.encode())
    code, _, err = crvae("prepare", source, tmp_path / "out", "--size", 8, "--labels", tmp_path / "labels.csv")
    assert code == 0
    assert "2 images have no line in labels.csv" in err
    found = {key: row["kind"] for key, row in values(tmp_path / "out").items()}
    assert sorted(filter(None, found.values())) == ["[tame]", "wild", "w\u00efld"]
    assert found["loose.png"] is None
    code, out, _ = crvae("prepare", "--inspect", tmp_path / "out")
    assert "[tame]" in out


def test_mistakes_in_a_table_are_one_sentence(images, table, refused, tmp_path):
    a, b = files(images)[:2]
    for lines, words in (
        ((f"file,x\n{a},1\n{b},2\n{a},1",), (a, "line 2", "line 4")),
        ((f"file,x\n{a},1\n./{a},1",), (a, "line 2", "line 3")),
        (("file,x\nnowhere.png,1",), ("line 2", "nowhere.png")),
        (("file,x,x\n",), ("line 1",)),
        (("file,a b\n",), ("line 1",)),
        (("file,image_1\n",), ("line 1",)),
        (("",), ("line 1",)),
        ((f"file,x\n{a},1,2",), ("line 2", "3 cells")),
    ):
        sentence = refused("prepare", images, tmp_path / "out", "--labels", table(*lines))
        assert all(word in sentence for word in words), sentence
    assert "UTF-8" in refused(
        "prepare", images, tmp_path / "out", "--labels", table("file,x", "ä.png,1", encoding="utf-16")
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("archived", [False, True])
def test_metadata_beside_pictures_are_read(kind, archived, images, crvae, tmp_path):
    """The convention of image folders: a column file_name, relative to the table."""
    import shutil

    rows = [
        {"file_name": path.name, "hair": ("red", "grey")[i % 2], "text": f"caption {i}", "one": 1, "hair color": "x"}
        for i, path in enumerate(sorted((images / "cat").glob("*.png")))
    ]
    rows.append({"file_name": "gone.png", "hair": "blue", "text": "", "one": 1, "hair color": "x"})
    if kind == "csv":
        text = "\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)])
    else:
        text = "\n".join(json.dumps(row | {"score": 0.5, "seen": i % 2 == 0}) for i, row in enumerate(rows))
    (images / "cat" / f"metadata.{kind}").write_text(text)
    source = images
    if archived:
        source = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "images")
    code, _, err = crvae("prepare", source, tmp_path / "out", "--size", 8)
    assert code == 0
    card = open_data(tmp_path / "out").card
    # text has 6 values, so it is an attribute of these few pictures; `one` has one, and `hair color` a space
    assert set(card.columns) == {"label", "hair", "text", *(["seen"] if kind == "jsonl" else [])}
    assert card.attributes["hair"].values == {"red": 3, "grey": 3}
    assert card.attributes["hair"].unknown == 6
    assert "metadata column one is not used: it has 1 value" in err
    assert "'hair color' is not used" in err
    assert "1 lines of metadata name no image" in err
    assert sum(kind.count for kind in card.not_looked_at if "table of labels" in kind.reason) == 1
    assert {row["label"] for row in values(tmp_path / "out").values()} == {"cat", "dog"}
    assert crvae("prepare", source, tmp_path / "none", "--size", 8, "--labels", "none")[0] == 0
    assert open_data(tmp_path / "none").card.columns == {}


def test_metadata_that_cannot_be_read_are_named(images, crvae, tmp_path):
    for i, content in enumerate(
        (b"\xff\xfe\x00", b'{"file_name": 3}', b"[1]", b"{", b"a,b\n1,2\n", b'{"hair": "red"}')
    ):
        path = images / ("metadata.csv" if b"," in content else "metadata.jsonl")
        path.write_bytes(content)
        code, _, err = crvae("prepare", images, tmp_path / f"out-{i}", "--size", 8)
        assert code == 0
        assert f"{path.name} cannot be read" in err
        assert set(open_data(tmp_path / f"out-{i}").card.columns) == {"label"}
        path.unlink()


@pytest.mark.parametrize("archived", [False, True])
def test_metadata_that_are_too_large_are_not_read(archived, images, crvae, monkeypatch, tmp_path):
    import shutil

    from crvae.data.sources import tree

    monkeypatch.setattr(tree, "METADATA_BYTES", 64)
    (images / "metadata.csv").write_text("file_name,hair\n" + "cat/0.png,red\n" * 9)
    source = shutil.make_archive(str(tmp_path / "packed"), "tar", tmp_path, "images") if archived else images
    code, _, err = crvae("prepare", source, tmp_path / "out", "--size", 8)
    assert code == 0
    assert "1 not looked at: table of labels that cannot be read (metadata.csv)" in err.replace("images/", "")
    assert set(open_data(tmp_path / "out").card.columns) == {"label"}


def test_celeba_has_forty_attributes_and_knows_where_eyes_are(celeba, crvae, tmp_path):
    assert crvae("prepare", "celeba", tmp_path / "out", "--root", celeba, "--size", 64)[0] == 0
    card = open_data(tmp_path / "out").card
    assert set(card.attributes) == {"5_o_Clock_Shadow", "identity"}  # the other two are alike in all eight faces
    assert card.attributes["5_o_Clock_Shadow"].values == {"no": 4, "yes": 4}
    for name, point in (("eyes", (111, 69)), ("eyes", (111, 108)), ("mouth", (152, 73)), ("mouth", (152, 105))):
        top, left, bottom, right = card.boxes[name]
        y, x = (point[0] - 40) / 148, (point[1] - 15) / 148
        assert top < y < bottom
        assert left < x < right
    assert card.boxes["eyes"][2] < card.boxes["mouth"][0]
    assert crvae("prepare", "celeba", tmp_path / "whole", "--root", celeba, "--size", 64, "--crop", "none")[0] == 0
    top, left, bottom, right = open_data(tmp_path / "whole").card.boxes["eyes"]
    assert top < 111 / 218 < bottom
    assert left < 69 / 178 < right


def test_data_of_before_attributes_still_open(prepared):
    """Cards without the fields that came later; all of them are worked out or empty."""
    path = prepared / "card.json"
    card = json.loads(path.read_text())
    for name in ("attributes", "boxes", "not_looked_at", "files"):
        card.pop(name)
    card["columns"] |= {"vendor": ["a", "b"]}
    for split in card["splits"].values():
        split["classes"]["vendor"] = [1, split["count"] - 1]
    path.write_text(json.dumps(card))
    data = open_data(prepared)
    assert data.card.attributes["vendor"].rarest == "a"
    assert data.card.files is None
    assert data.card.boxes == {}
