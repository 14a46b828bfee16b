"""What strangers feed `prepare`: what a source is, where its splits and its images are."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import contents, made

from crvae.data import open_data
from crvae.data.sources.splits import WORDS, in_folders, split_in
from fuzzing import many


def test_prepared_data_are_prepared_again_in_another_size(prepared, tmp_path, crvae):
    assert crvae("prepare", "--inspect", prepared)[0] == 0  # leaves its contact sheet in the folder
    before, after = open_data(prepared), made(prepared, tmp_path / "again", pair=12)
    assert after.card.sizes == (8, 12)
    assert contents(after) == contents(before)
    for name in before.card.splits:
        rows = range(before.card.splits[name].count)
        order = {key: i for i, key in enumerate(before.split(name).keys(rows))}
        same = [order[key] for key in after.split(name).keys(rows)]
        large = before.split(name).images(same, size=16).permute(0, 2, 3, 1).numpy()
        from PIL import Image

        small = np.stack([np.asarray(Image.fromarray(x).resize((12, 12), Image.Resampling.BICUBIC)) for x in large])
        assert np.array_equal(after.split(name).images(rows, size=12).permute(0, 2, 3, 1).numpy(), small)
    assert made(prepared, tmp_path / "sheet", take="pictures").card.files.used == 1


def test_options_that_do_not_apply_are_refused(prepared, fill, tmp_path, refused):
    for option, value in (("--labels", "none"), ("--labels", "nowhere.csv"), ("--image-column", "image")):
        said = refused("prepare", prepared, tmp_path / "out", option, value)
        assert f"{option} does not apply to {prepared}, which is prepared data: leave it out" in said
    fill(tmp_path / "pictures", 3)
    said = refused("prepare", tmp_path / "pictures", tmp_path / "out", "--take", "tables")
    assert "--take tables does not apply" in said
    assert made(tmp_path / "pictures", tmp_path / "out", take="pictures").card.files.used == 3


def test_a_card_of_a_game_does_not_make_prepared_data(fill, tmp_path):
    root = fill(tmp_path / "cards", 3)
    (root / "card.json").write_text('{"name": "Pikachu"}')
    card = made(root, tmp_path / "out").card
    assert card.source["kind"] == "folder"
    assert [(kind.reason, kind.first) for kind in card.not_looked_at] == [("ending .json", ("card.json",))]


def test_tables_and_pictures_in_one_folder_ask_which(fill, tmp_path, refused):
    import datasets
    from PIL import Image

    root = fill(tmp_path / "clone [v2]", 1, names="preview.png")
    (root / "README.md").write_text("![](preview.png)")
    rows = {"image": [Image.new("RGB", (9, 9), (i, 0, 0)) for i in range(12)]}
    features = datasets.Features({"image": datasets.Image()})
    for name in ("a_train", "a_test"):
        datasets.Dataset.from_dict(rows, features=features).to_parquet(root / f"{name}.parquet")
        rows = {"image": [Image.new("RGB", (9, 9), (i, 9, 0)) for i in range(6)]}
    sentence = refused("prepare", root, tmp_path / "out")
    assert all(word in sentence for word in ("a_test.parquet", "preview.png", "--take tables", "--take pictures"))
    data = made(root, tmp_path / "tables", take="tables")
    assert data.card.splits["test"].count == 6
    assert data.card.files.found == 20  # 18 rows, the picture and the README
    assert {name for kind in data.card.not_looked_at for name in kind.first} == {"preview.png", "README.md"}
    assert made(root, tmp_path / "pictures", take="pictures").card.files.used == 1
    assert "--take must be" in refused("prepare", root, tmp_path / "out", "--take", "all")


def test_the_column_of_images_is_image_or_the_only_one_or_asked_for(tmp_path, refused):
    import datasets
    from PIL import Image

    def write(name: str, **columns: list) -> Path:
        kinds = {
            c: datasets.Value("binary") if isinstance(v[0], bytes) else datasets.Image() for c, v in columns.items()
        }
        path = tmp_path / f"{name}.parquet"
        datasets.Dataset.from_dict(columns, features=datasets.Features(kinds)).to_parquet(path)
        return path

    red, blue = ([Image.new("RGB", (9, 9), c)] * 4 for c in ("red", "blue"))
    buffer = io.BytesIO()
    red[0].save(buffer, "PNG")
    raw = [buffer.getvalue()] * 4

    def colour(path: Path, **options: object) -> list[int]:
        data = made(path, tmp_path / f"out-{path.stem}-{len(options)}", **options)
        assert data.card.source["image_column"] == options.get("image_column", data.card.source["image_column"])
        return data.split(next(iter(data.card.splits))).images([0])[0, :, 4, 4].tolist()

    assert colour(write("masks", annotation=blue, image=red)) == [255, 0, 0]
    assert colour(write("masks2", annotation=blue, image=red), image_column="annotation") == [0, 0, 255]
    assert colour(write("only", photo=red)) == [255, 0, 0]
    assert colour(write("bytes", content2=raw)) == [255, 0, 0]
    two = write("two", left=red, right=blue)
    assert "left, right" in refused("prepare", two, tmp_path / "no")
    assert colour(two, image_column="right") == [0, 0, 255]
    assert "'middle'" in refused("prepare", two, tmp_path / "no", "--image-column", "middle")


LAYOUTS = {
    "wrapped": ("flowers/train/daisy", "flowers/train/rose", "flowers/valid/daisy", "flowers/test/rose"),
    "two wrappers": ("a/b/training_set/daisy", "a/b/training_set/rose", "a/b/val/daisy", "a/b/test/rose"),
    "doubled": ("seg_train/seg_train/daisy", "seg_train/seg_train/rose", "seg_val/seg_val/daisy", "seg_test/rose"),
    "inside classes": ("daisy/train", "rose/train", "daisy/dev", "rose/eval"),
    "years": ("train2017/daisy", "train2017/rose", "val2017/daisy", "test2017/rose"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("packed", ["folder", "zip", "gztar"])
def test_splits_are_words_where_they_stand(layout, packed, fill, tmp_path):
    for i, folder in enumerate(LAYOUTS[layout]):
        fill(tmp_path / "set" / folder, 5 - i, 10 * i)
    source = (
        tmp_path / "set" if packed == "folder" else shutil.make_archive(str(tmp_path / "set"), packed, tmp_path / "set")
    )
    data = made(source, tmp_path / "out")
    classes = {name: [label for _, label in rows] for name, rows in contents(data).items()}
    assert classes == {"train": ["daisy"] * 5 + ["rose"] * 4, "validation": ["daisy"] * 3, "test": ["rose"] * 2}
    (note,) = data.card.notes
    assert all(f"{split} {count}" in note for split, count in (("train", 9), ("validation", 3), ("test", 2)))


@pytest.mark.parametrize(
    ("folders", "classes", "noted"),
    [
        (("beaker", "flask", "test_tube"), ("beaker", "flask", "test_tube"), "(test_tube)"),
        (("covid_test", "flu_test"), ("covid_test", "flu_test"), "(covid_test, flu_test)"),
        (("set/test/daisy", "set/test/rose"), ("daisy", "rose"), "(test)"),
        (("test/daisy", "val/daisy"), ("test/daisy", "val/daisy"), "(test, val)"),
        (("contest", "protest"), ("contest", "protest"), None),
    ],
)
def test_without_training_folders_words_for_held_out_ones_are_classes(folders, classes, noted, fill, tmp_path):
    for i, folder in enumerate(folders):
        fill(tmp_path / "images" / folder, 4, 10 * i)
    data = made(tmp_path / "images", tmp_path / "out")
    assert data.card.columns == {"label": classes}
    assert set(data.card.splits) == {"train", "validation"}
    assert all(label for rows in contents(data).values() for _, label in rows)
    assert len(data.card.notes) == bool(noted)
    assert all(f"{noted} are not taken for splits: no folder says train" in note for note in data.card.notes)


def test_held_out_words_count_where_a_folder_says_train_or_has_no_other_name(fill, tmp_path):
    for i, folder in enumerate(("flu_train", "flu_test")):
        fill(tmp_path / "with train" / folder, 4, 10 * i)
    assert {name: len(rows) for name, rows in contents(made(tmp_path / "with train", tmp_path / "a")).items()} == {
        "train": 3, "validation": 1, "test": 4,
    }  # fmt: skip
    for i, folder in enumerate(("beaker", "test_tube", "Test/beaker", "Test/test_tube")):
        fill(tmp_path / "whole" / folder, 4, 10 * i)
    data = made(tmp_path / "whole", tmp_path / "b")
    assert data.card.splits["test"].count == 8
    assert data.card.columns == {"label": ("beaker", "test_tube")}


@pytest.mark.parametrize("stray", ["picture", "folder"])
def test_what_lies_outside_of_the_split_folders_is_named_and_not_trained_on(stray, fill, tmp_path):
    for i, name in enumerate(("train", "valid", "test")):
        fill(tmp_path / "set" / name / "rose", 4, 10 * i)
    fill(tmp_path / "set" / ("" if stray == "picture" else "images to predict"), 2, 90, "p{}.png")
    data = made(tmp_path / "set", tmp_path / "out")
    assert {name: len(rows) for name, rows in contents(data).items()} == {"train": 4, "validation": 4, "test": 4}
    (kind,) = data.card.not_looked_at
    assert (kind.count, kind.reason) == (2, "outside of the split folders")


def test_file_names_say_splits_only_where_all_do(fill, tmp_path):
    fill(tmp_path / "all", 6, 0, "train_{}.png")
    fill(tmp_path / "all", 3, 50, "val-{}.png")
    assert {name: len(rows) for name, rows in contents(made(tmp_path / "all", tmp_path / "a")).items()} == {
        "train": 6,
        "validation": 3,
    }
    fill(tmp_path / "some", 6, 0, "IMG_{}.png")
    fill(tmp_path / "some", 1, 50, "my test.png")
    data = made(tmp_path / "some", tmp_path / "b")
    assert "test" not in data.card.splits
    assert "1 file names say validation or test (my test.png" in data.card.notes[0]
    fill(tmp_path / "no training", 8, 0, "test ({}).png")
    data = made(tmp_path / "no training", tmp_path / "c")
    assert set(data.card.splits) == {"train", "validation"}
    assert "8 file names say validation or test (test (0).png" in data.card.notes[0]
    assert "none says train" in data.card.notes[0]


@many(300)
@given(st.sampled_from(sorted(WORDS)), st.text("-._ 0123456789", max_size=4), st.text("-._ 0123456789", max_size=4))
def test_a_split_word_stands_between_characters_that_are_no_letters(word, before, after):
    for name in (word, word.upper(), word.title()):
        assert split_in(before + name + after) == WORDS[word]
        assert split_in(f"x{name}") is None
        assert split_in(f"{name}\u00e9") is None


@many(300)
@given(
    st.lists(
        st.lists(st.sampled_from(["train", "test", "val", "cat", "dog", "contrail", "a b"]), max_size=3).map(tuple)
    )
)
def test_held_out_folders_never_train(folders):
    """The slow way: whatever lies below a folder of a held-out word, first on its path, is found to be held out."""
    _, found = in_folders(folders)
    for path in folders:
        word = next((WORDS[part] for part in path if part in WORDS), "train")
        if word != "train":
            assert found[path] == word
        assert found.get(path, "train") == word
