"""Which images a folder or a table lists, and what is said of a malformed one."""

import json
import os

import pytest

from small_vit.data.folder.listing import list_images
from small_vit.errors import InputError

pytestmark = pytest.mark.any_backend


def make(root, *paths):
    """Make empty files, and folders, whose paths end in "/"."""
    for path in paths:
        whole = root / path
        if path.endswith("/"):
            whole.mkdir(parents=True)
        else:
            whole.parent.mkdir(parents=True, exist_ok=True)
            whole.touch()
    return root


def found(listing):
    """Return the class and the part of each path."""
    names = listing.class_names
    return {file.path: (names[file.label], file.part) for file in listing.files}


def message(path):
    with pytest.raises(InputError) as error:
        list_images(path)
    return str(error.value)


# ------------------------------------------------------------- folders


def test_a_folder_for_each_class(tmp_path):
    make(tmp_path, "cat/b.jpg", "cat/a.png", "cat/deep/er/c", "ant/train.gif")
    listing = list_images(tmp_path)
    assert listing.root == tmp_path
    assert listing.class_names == ("ant", "cat")
    assert found(listing) == {
        "ant/train.gif": ("ant", None),
        "cat/a.png": ("cat", None),
        "cat/b.jpg": ("cat", None),
        "cat/deep/er/c": ("cat", None),
    }
    paths = [file.path for file in listing.files]
    assert paths == sorted(paths)
    assert listing.notes == ("Layout: a folder for each class.",)


@pytest.mark.parametrize("train", ["train", "Training"])
@pytest.mark.parametrize("val", ["val", "VALID", "validation", "dev", None])
@pytest.mark.parametrize("test", ["test", "Testing", None])
def test_given_parts(tmp_path, train, val, test):
    parts = {train: "training", val: "validation", test: "test"}
    parts.pop(None, None)
    make(tmp_path, *(f"{folder}/{name}/x/1.jpg" for folder in parts for name in "ab"))
    listing = list_images(tmp_path)
    assert found(listing) == {
        f"{folder}/{name}/x/1.jpg": (name, part) for folder, part in parts.items() for name in "ab"
    }
    assert f"{train}, " in listing.notes[0] or f" {train}," in listing.notes[0]


def test_the_classes_are_those_of_all_parts(tmp_path):
    make(tmp_path, "train/a/1", "train/b/1", "test/c/1")
    assert list_images(tmp_path).class_names == ("a", "b", "c")


def test_what_is_left_out_is_noted(tmp_path):
    make(tmp_path, "a/1", "b/1", "a/.hidden", "a/Thumbs.db", "b/Desktop.ini", ".git/config")
    make(tmp_path, "__MACOSX/a/1", *(f"loose{number}.txt" for number in range(7)))
    listing = list_images(tmp_path)
    assert list(found(listing)) == ["a/1", "b/1"]
    loose = "loose0.txt, loose1.txt, loose2.txt, loose3.txt, loose4.txt and 2 more"
    assert listing.notes[1:] == (
        f"Left out, as they are in no class folder: {loose}.",
        "Ignored: 5 hidden files or folders, or ones of operating systems.",
    )


def test_loose_files_of_a_part_are_noted(tmp_path):
    make(tmp_path, "train/a/1", "train/b/1", "train/names.txt", "README")
    assert "README, train/names.txt" in list_images(tmp_path).notes[1]


def test_links(tmp_path):
    make(tmp_path, "elsewhere/1", "data/a/1", "data/a/2")
    (tmp_path / "data/b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/a/broken.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "data/a/itself").symlink_to("itself")
    os.mkfifo(tmp_path / "data/a/pipe")
    assert list(found(list_images(tmp_path / "data"))) == [
        *["a/1", "a/2", "a/broken.jpg", "a/itself", "b/1"]
    ]
    (tmp_path / "data/a/up").symlink_to(tmp_path / "data")
    assert "a/up is a link to a folder that it lies in" in message(tmp_path / "data")


def test_odd_names(tmp_path):
    odd = ["a/ä ö&;'(=)+.jpg", "a/line\nbreak", "b/x,y", "b/" + os.fsdecode(b"\xe9.jpg")]
    make(tmp_path, *odd)
    listing = list_images(tmp_path)
    assert list(found(listing)) == sorted(odd)
    assert all((listing.root / file.path).is_file() for file in listing.files)


def test_a_home_folder(tmp_path, monkeypatch):
    make(tmp_path, "photos/a/1", "photos/b/1")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert list_images("~/photos").root == tmp_path / "photos"


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ([], "is empty. Put a folder of images for each class"),
        ([".hidden"], "is empty"),
        (["1.jpg", "2.jpg"], "has no class folders, but 2 loose files (1.jpg, 2.jpg)"),
        (["a/1"], "two classes or more. Received: a only."),
        (["data/a/1", "data/b/1"], "If its folders are the classes, give {root}/data."),
        (["data/train/a/1", "data/train/b/1"], "is a whole dataset, give {root}/data"),
        (["a/train/1", "a/test/1", "b/train/1"], "if it is a class, put it into train"),
        (["a/1", "b/1", "c/", "d/e/"], "the class folders c, d have no images"),
        (["a/1", "A/1"], "has the classes A and a, which differ by case only"),
        (["train/a/1", "train/b/1", "more/a/1"], "parts (train) next to other folders (more)"),
        (["a/1", "test/1"], "parts (test) next to other folders (a)"),
        (["val/a/1", "test/b/1"], "must have a folder train, next to test, val"),
        (["train/a/1", "Train/b/1"], "the folders Train and train are both for training"),
        (["train/a/1", "val/a/1", "dev/a/1"], "dev and val are both for validation"),
        (["train/a/1", "train/b/1", "test/1.jpg"], "test must have a folder for each class"),
        (["train/1.jpg", "test/2.jpg"], "test, train must have a folder for each class"),
        (["train/a/1", "train/b/1", "test/a/"], "the class folders test/a have no images"),
        (["train/a/1", "test/a/1"], "two classes or more. Received: a only."),
        (["train/Fire/1", "train/b/1", "test/fire/1"], "the classes Fire and fire, which differ"),
    ],
)
def test_a_malformed_folder(tmp_path, paths, words):
    root = make(tmp_path / "root", "./", *paths)
    said = message(root)
    assert str(root) in said
    assert words.format(root=root) in said


def test_no_such_folder(tmp_path):
    assert f"There is no {tmp_path}/nowhere. Give a folder" in message(tmp_path / "nowhere")


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    make(tmp_path, "a/1", "b/1")
    read = os.listdir

    def refuse(path):
        if str(path).rstrip("/").endswith("b"):
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(os, "listdir", refuse)
    said = message(tmp_path)
    assert f"The folder {tmp_path}/b" in said
    assert "cannot be read: Permission denied. Change its permissions" in said


# -------------------------------------------------------------- tables


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("path_column", ["path", "File", "FILENAME", "image"])
@pytest.mark.parametrize("label_column", ["label", "Class", " category "])
def test_a_csv_file(tmp_path, delimiter, path_column, label_column):
    table = tmp_path / "labels.csv"
    rows = [("id", label_column, path_column), ("1", "dog", "x/1.jpg"), ("2", " cat", "2.jpg")]
    text = "\r\n".join(delimiter.join(row) for row in rows) + "\r\n\r\n"
    table.write_text(text, encoding="utf-8-sig")
    listing = list_images(table)
    assert listing.root == tmp_path
    assert listing.class_names == ("cat", "dog")
    assert found(listing) == {"x/1.jpg": ("dog", None), "2.jpg": ("cat", None)}
    assert listing.notes == ("Layout: the table labels.csv.",)


def test_quoted_entries(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text('path,label\n"a, b.jpg",x\n"say ""hi"".jpg","y; z"\n')
    assert found(list_images(table)) == {
        "a, b.jpg": ("x", None),
        'say "hi".jpg': ("y; z", None),
    }


def test_json_lines(tmp_path):
    table = tmp_path / "labels.jsonl"
    records = [
        {"file_name": "1.jpg", "label": 3, "split": "train"},
        {"file_name": "2\u2028.jpg", "label": "b", "split": "VAL", "width": 5},
        {"file_name": "3.jpg", "label": "b", "split": "test"},
    ]
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    table.write_text("\n\n".join(lines), encoding="utf-8")
    assert found(list_images(table)) == {
        "1.jpg": ("3", "training"),
        "2\u2028.jpg": ("b", "validation"),
        "3.jpg": ("b", "test"),
    }


def test_paths_of_a_table_are_told_apart_by_where_they_lead(tmp_path, monkeypatch):
    table = tmp_path / "data" / "labels.csv"
    table.parent.mkdir()
    lines = ["path,label", "./a//1.jpg,x", "a/b/../1.jpg,x", f"{tmp_path}/data/2.jpg,y"]
    table.write_text("\n".join([*lines, "2.jpg,y", "../3.jpg,y"]))
    expected = {"a/1.jpg": ("x", None), "2.jpg": ("y", None), f"{tmp_path}/3.jpg": ("y", None)}
    assert found(list_images(table)) == expected
    monkeypatch.chdir(table.parent)
    assert found(list_images("labels.csv")) == expected


CSV = "path,label\n1.jpg,a\n"
JSON = '{"path": "1.jpg", "label": "a"}\n'


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.csv", "", "must name a path (path, file, filename, file_name, image). Received: []"),
        ("t.csv", "1.jpg,a\n2.jpg,b\n", "must name a path"),
        ("t.csv", "path,name\n1.jpg,a\n", "must name a label (label, class, category)"),
        ("t.csv", "path,label\n", "lists no images"),
        ("t.csv", CSV, "two classes or more. Received: a only"),
        ("t.csv", CSV + "2.jpg\n", "line 3, must have 2 entries"),
        ("t.csv", CSV + "2.jpg,b,c\n", "line 3, must have 2 entries"),
        ("t.csv", CSV + "2.jpg,\n", "line 3, has no label. Fill it in, or remove the line."),
        ("t.csv", CSV + " ,b\n", "line 3, has no path"),
        ("t.csv", CSV + '"2.jpg,b\n', "is no CSV: unexpected end of data"),
        ("t.csv", CSV + "2.jpg,b\n./1.jpg,b\n", "lists 1.jpg twice: as 'a' in line 2, as 'b' in"),
        ("t.csv", "path,label,split\n1,a,\n", "line 2, has no split. Fill it in, or remove the c"),
        ("t.csv", "path,label,split\n1,a,later\n", "split must be one of train, training, val"),
        ("t.csv", "path,label,split\n1,a,test\n2,b,dev\n", "must have images for training"),
        (
            *("t.csv", "path,label,split\n1,a,train\n1,a,test\n"),
            "lists 1 twice: as 'a' in training in line 2, as 'a' in test in line 3. Keep",
        ),
        ("t.csv", "path,label\n1,Cat\n2,cat\n", "the classes Cat and cat, which differ by case"),
        ("t.jsonl", JSON + "{'path': 1}\n", "line 2, is no JSON"),
        ("t.jsonl", JSON + '["2.jpg", "b"]\n', "line 2, must be a JSON object"),
        ("t.ndjson", JSON + '{"path": "2.jpg"}\n', "line 2, must name a label"),
        ("t.jsonl", '{"path": 1, "label": "a"}\n', "line 1: path must be text. Received: 1."),
        ("t.jsonl", '{"path": "1", "label": null}\n', "label must be text. Received: None."),
        (
            *("t.jsonl", JSON + '{"path": "2", "label": "b", "split": "test"}\n'),
            "every line must have a split, or none. Line 2 differs from line 1",
        ),
        ("t.zip", "PK", "must be a folder of images, or a table of them that ends in .csv"),
    ],
)
def test_a_malformed_table(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    said = message(tmp_path / name)
    assert str(tmp_path / name) in said
    assert words in said


def test_a_table_in_another_encoding(tmp_path):
    (tmp_path / "t.csv").write_bytes("path,label\né.jpg,a\n".encode("latin-1"))
    assert "must be text in UTF-8: save it so" in message(tmp_path / "t.csv")


# -------------------------------------------------------- Tiny-ImageNet


def tiny_imagenet(root):
    """Make the files of Tiny-ImageNet for four classes."""
    ids = ["n4", "n3", "n2", "n1"]
    make(root, *(f"train/{wnid}/images/{wnid}_0.JPEG" for wnid in ids))
    make(root, *(f"train/{wnid}/{wnid}_boxes.txt" for wnid in ids))
    make(root, "val/images/val_0.JPEG", "val/images/val_1.JPEG", "test/images/test_0.JPEG")
    (root / "wnids.txt").write_text("\n".join(ids))
    (root / "words.txt").write_text("n1\tcrane, bird\nn2\tcrane\nn3\tgoldfish, Carassius\nn9\tx\n")
    annotations = "val_0.JPEG\tn3\t0\t32\t44\t62\nval_1.JPEG\tn1\t1\t2\t3\t4\n"
    (root / "val/val_annotations.txt").write_text(annotations)
    return root


def test_tiny_imagenet(tmp_path):
    listing = list_images(tiny_imagenet(tmp_path))
    assert listing.class_names == ("goldfish", "n1", "n2", "n4")
    assert found(listing) == {
        "train/n1/images/n1_0.JPEG": ("n1", "training"),
        "train/n2/images/n2_0.JPEG": ("n2", "training"),
        "train/n3/images/n3_0.JPEG": ("goldfish", "training"),
        "train/n4/images/n4_0.JPEG": ("n4", "training"),
        "val/images/val_0.JPEG": ("goldfish", "validation"),
        "val/images/val_1.JPEG": ("n1", "validation"),
    }
    assert listing.notes == (
        "Layout: Tiny-ImageNet as published, without its test images: they have no label.",
    )
    (tmp_path / "words.txt").unlink()
    assert list_images(tmp_path).class_names == ("n1", "n2", "n3", "n4")


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        (
            "val/val_annotations.txt",
            "val_0.JPEG\tn7\t0\n",
            "val_0.JPEG must be of a class in",
        ),
        ("val/val_annotations.txt", "val_0.JPEG n1\n", "a line must have 2 fields"),
        ("wnids.txt", "n4\nn\xe9", "cannot be read"),
    ],
)
def test_a_damaged_tiny_imagenet(tmp_path, file, text, words):
    (tiny_imagenet(tmp_path) / file).write_text(text, encoding="latin-1")
    said = message(tmp_path)
    assert str(tmp_path / file) in said
    assert words in said
