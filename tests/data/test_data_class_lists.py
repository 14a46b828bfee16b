"""Tables that name their classes each by a list of its own: a label is what its own list says."""

from __future__ import annotations

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import contents, made, picture

from crvae.errors import UserError
from fuzzing import many


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf"))


def table(names: list[str] | None, labels: list[int | str | None]) -> datasets.Dataset:
    """Rows of pictures and labels: numbers by a list of names, or text."""
    label = datasets.ClassLabel(names=names) if names else datasets.Value("string")
    features = datasets.Features({"image": datasets.Image(), "label": label})
    rows = {"image": [picture(i, 9, 8) for i in range(len(labels))], "label": labels}
    return datasets.Dataset.from_dict(rows, features=features)


TRAIN = (["ant", "bee", "cat"], [0, 1, 2, 0, 1, None])
TEST = (["bee", "cat"], [0, 1, 0, 1])


def labelled(data) -> dict[str, str | None]:
    return {key: label for rows in contents(data).values() for key, label in rows}


WANTED = {
    **{f"train/{i}": name for i, name in enumerate(["ant", "bee", "cat", "ant", "bee", None])},
    **{f"test/{i}": name for i, name in enumerate(["bee", "cat", "bee", "cat"])},
}


@pytest.mark.parametrize("kind", ["parquet", "arrow", "saved"])
def test_splits_with_lists_of_their_own_keep_their_labels(kind, tmp_path):
    folder = tmp_path / "some"
    folder.mkdir()
    parts = {"train": table(*TRAIN), "test": table(*TEST)}
    if kind == "saved":
        datasets.DatasetDict(parts).save_to_disk(folder)
    for name, part in parts.items():
        if kind == "parquet":
            part.to_parquet(folder / f"{name}.parquet")
        elif kind == "arrow":
            part.save_to_disk(tmp_path / name)
            next((tmp_path / name).glob("*.arrow")).rename(folder / f"{name}.arrow")
    data = made(folder, tmp_path / "out")
    assert sorted(data.card.columns["label"]) == ["ant", "bee", "cat"]
    assert labelled(data) == WANTED


def test_files_of_one_split_with_different_lists_are_refused_by_name(tmp_path):
    folder = tmp_path / "some"
    folder.mkdir()
    table(["cat", "dog"], [0, 1, 0]).to_parquet(folder / "a.parquet")
    table(["dog", "cat"], [0, 1]).to_parquet(folder / "b.parquet")
    with pytest.raises(UserError, match=r"a\.parquet and b\.parquet name the classes of column 'label' differently"):
        made(folder, tmp_path / "out")
    assert made(folder, tmp_path / "out", labels="none").card.columns == {}
    table(["cat", "dog"], [1, 0]).to_parquet(folder / "b.parquet")
    assert labelled(made(folder, tmp_path / "alike")) == {
        f"train/{i}": name for i, name in enumerate(["cat", "dog", "cat", "dog", "cat"])
    }


def test_text_beside_a_list_of_names_is_the_name(tmp_path):
    folder = tmp_path / "some"
    folder.mkdir()
    table(None, ["bee", "cat", "bee", "cat"]).to_parquet(folder / "test.parquet")
    table(*TRAIN).to_parquet(folder / "train.parquet")
    assert labelled(made(folder, tmp_path / "out")) == WANTED


def test_a_split_without_the_column_has_no_labels_and_one_without_pictures_is_refused(tmp_path):
    folder = tmp_path / "some"
    parts = {"train": table(*TRAIN), "test": table(*TEST).remove_columns("label")}
    datasets.DatasetDict(parts).save_to_disk(folder)
    found = labelled(made(folder, tmp_path / "out"))
    assert found == {key: None if key.startswith("test") else label for key, label in WANTED.items()}
    datasets.DatasetDict(parts | {"test": table(*TEST).remove_columns("image")}).save_to_disk(tmp_path / "other")
    with pytest.raises(UserError, match="no column 'image' in its test rows"):
        made(tmp_path / "other", tmp_path / "none")


NAMES = st.lists(st.sampled_from(["ant", "bee", "cat", "dog"]), min_size=1, max_size=4, unique=True)


@many(5)
@given(lists=st.lists(NAMES, min_size=2, max_size=3), data=st.data())
def test_any_lists_of_names_give_the_labels_that_were_written(lists, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lists")
    parts, wanted = {}, {}
    for split, names in zip(("train", "validation", "test"), lists, strict=False):
        labels = data.draw(st.lists(st.integers(0, len(names) - 1), min_size=1, max_size=4))
        parts[split] = table(names, labels)
        wanted |= {f"{split}/{i}": names[label] for i, label in enumerate(labels)}
    datasets.DatasetDict(parts).save_to_disk(folder / "saved")
    assert labelled(made(folder / "saved", folder / "out")) == wanted
