"""Image files decoded into a memory-mapped array: what is read, refused and kept for later."""

import io
import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import loky
import numpy as np
import pytest
from PIL import Image

from small_vit.data.folder import decoded, examine, workers
from small_vit.data.folder.decoded import read_images
from small_vit.data.folder.duplicates import perceptual_hashes
from small_vit.data.image_files import read_image
from small_vit.errors import InputError

pytestmark = pytest.mark.any_backend

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (40, 30, 3), np.uint8)
NO_TEXT = os.fsdecode(b"caf\xe9.png")


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture
def read(root, tmp_path):
    """Read all files below root, or those that are named."""

    def call(*paths, size=(8, 8), fit="crop", **options):
        paths = paths or sorted(os.listdir(root))
        listing = SimpleNamespace(root=root, files=[SimpleNamespace(path=path) for path in paths])
        return read_images(listing, size, fit, tmp_path / "cache", **options)

    return call


@pytest.fixture
def decodes(monkeypatch):
    """The number of pictures decoded so far, as a list with an entry for each."""
    made = []

    def counted(*arguments):
        made.append(arguments)
        return real(*arguments)

    real = examine.decode_image
    monkeypatch.setattr(examine, "decode_image", counted)
    return made


def save_noise(path, **options):
    pixels = RNG.integers(0, 256, (12, 10, 3), np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return pixels


# ---------------------------------------------------------------------------------- what is read


def make_readable(folder):
    rgb = Image.fromarray(NOISE)
    rgb.save(folder / "a b & ; ' ( ) = +.png")
    rgb.save(folder / NO_TEXT)
    rgb.save(folder / "wrong extension.png", "JPEG")
    rgb.save(folder / "text.txt", "PNG")
    rgb.convert("CMYK").save(folder / "cmyk.jpg")
    rgb.quantize(8).save(folder / "palette.png", transparency=0)
    rgb.convert("LA").save(folder / "la.png")
    rgb.convert("1").save(folder / "bits.png")
    Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257).save(folder / "sixteen.tif")
    rgb.save(folder / "frames.gif", save_all=True, append_images=[Image.new("RGB", (30, 40))])
    rgb.save(folder / "frames.mpo", save_all=True, append_images=[Image.new("RGB", (30, 40))])
    rgb.save(folder / "photo.webp")
    rgb.save(folder / "photo.tif")
    exif = Image.Exif()
    exif[0x0112] = 6
    rgb.resize((400, 300)).save(folder / "turned.jpg", exif=exif)


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
def test_all_formats_give_the_pixels_that_predict_gives(fit, root, read):
    make_readable(root)
    result = read(fit=fit)
    paths = sorted(os.listdir(root))
    assert result.rows.tolist() == list(range(len(paths)))
    assert isinstance(result.images, np.memmap) and result.images.mode == "r"
    assert (result.images.shape, result.images.dtype) == ((len(paths), 8, 8, 3), np.uint8)
    assert (result.hashes.dtype, result.skipped, result.notes) == (np.uint64, (), ())
    for path, image in zip(paths, result.images, strict=True):
        np.testing.assert_array_equal(image, read_image(root / path, (8, 8), fit=fit), path)


def test_the_three_ways_to_fit_a_wide_picture(root):
    """Black, a white square in the middle, black; padded, it lies between black borders."""
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 255
    Image.fromarray(pixels).save(root / "wide.png")
    levels = {fit: read_image(root / "wide.png", (30, 30), fit=fit) for fit in ("squash", "pad")}
    assert (read_image(root / "wide.png", (30, 30)) == 255)[:, 2:-2].all()
    assert (levels["squash"][:, 12:18] == 255).all() and (levels["squash"][:, :8] == 0).all()
    np.testing.assert_array_equal(levels["pad"][10:20], pixels)
    assert not levels["pad"][:10].any() and not levels["pad"][20:].any()


def test_a_large_jpeg_read_at_reduced_size_looks_the_same(root):
    y, x = np.mgrid[:512, :640] / 100
    smooth = 127 + 60 * np.sin([x * 3 + y, x - 2 * y, y * 4]) + RNG.normal(0, 20, (3, 512, 640))
    image = Image.fromarray(smooth.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))
    image.save(root / "a.jpg", quality=95)
    image.save(root / "a.png")
    jpeg, png = (read_image(root / name, (32, 32)).astype(int) for name in ("a.jpg", "a.png"))
    assert np.abs(jpeg - png).mean() < 2


def test_grey_folders_have_one_channel_and_a_note(root, read):
    for name, mode in (("a.png", "L"), ("b.png", "LA"), ("c.png", "1"), ("d.png", "I;16")):
        Image.new(mode, (9, 9)).save(root / name)
    (root / "e.png").write_text("no image")
    result = read(skip_unreadable=True)
    assert result.images.shape == (4, 8, 8, 1)
    assert result.notes == ("All images are grey: 1 channel.",)
    save_noise(root / "f.png")
    assert read(skip_unreadable=True).images.shape == (5, 8, 8, 3)


def test_digests_are_of_pixels_and_hashes_of_looks(root, read):
    image = Image.fromarray(NOISE).resize((300, 400), Image.Resampling.BICUBIC)
    image.save(root / "a.png")
    image.save(root / "b.png", dpi=(72, 72), compress_level=1)
    image.save(root / "c.jpg", quality=80)
    image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / "d.png")
    result = read()
    assert result.digests[0] == result.digests[1] and len(set(result.digests)) == 3
    different = [(int(result.hashes[0]) ^ int(other)).bit_count() for other in result.hashes]
    assert different[:2] == [0, 0] and different[2] <= 2 and different[3] > 10


def test_the_hashes_are_those_of_imagehash():
    import imagehash

    y, x = np.mgrid[:32, :32]
    pictures = [RNG.integers(0, 256, (32, 32)) for _ in range(20)]
    pictures += [y * 0, y * 0 + 255, y * 8, x * 8, (y // 4 % 2) * 255, ((x + y) // 8 % 2) * 200]
    pictures = np.array(pictures, np.uint8)
    expected = [str(imagehash.phash(Image.fromarray(picture))) for picture in pictures]
    assert [f"{number:016x}" for number in perceptual_hashes(pictures)] == expected
    assert perceptual_hashes([]).shape == (0,)


def test_pictures_with_equal_centres_are_not_equal(root, read):
    """A crop keeps the centre only."""
    for name, border in (("a.png", "black"), ("b.png", "white"), ("c.png", "black")):
        image = Image.new("RGB", (60, 20), border)
        image.paste(Image.fromarray(NOISE[:20]), (15, 0))
        image.save(root / name)
    result = read()
    np.testing.assert_array_equal(result.images[0], result.images[1])
    assert result.digests[0] == result.digests[2] != result.digests[1]


# ---------------------------------------------------------------------------------- what is refused


def make_unreadable(folder):
    noise = Image.frombytes("RGB", (200, 200), RNG.bytes(3 * 200 * 200))
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("no image")
    (folder / "folder.jpg").mkdir()
    (folder / "link.png").symlink_to("absent.png")
    for name in ("cut.jpg", "cut.png"):
        noise.save(folder / name)
        (folder / name).write_bytes((folder / name).read_bytes()[:-5000])
    Image.fromarray(np.zeros((4, 4), np.float32)).save(folder / "float.tif")
    Image.new("RGB", (1000, 1000)).save(folder / "bomb.png")


REASONS = {
    "bomb.png": "more than 200,000 pixels",
    "cut.jpg": "truncated",
    "cut.png": "truncated",
    "empty.png": "empty",
    "float.tif": "floating-point",
    "folder.jpg": "directory",
    "link.png": "a link to a file that does not exist",
    "text.jpg": "it is no image",
}


def test_unreadable_files_are_all_named_or_skipped_when_asked(root, read, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)
    make_unreadable(root)
    save_noise(root / "good.png")
    with pytest.raises(InputError, match=f"{len(REASONS)} of 9 files cannot be read") as refusal:
        read()
    lines = str(refusal.value).splitlines()
    for line, (path, reason) in zip(lines[1:-1], REASONS.items(), strict=True):
        assert line.startswith(f"  {path}: ") and reason in line
    assert "Repair or remove them" in lines[-1] and "--skip-unreadable" in lines[-1]
    result = read(skip_unreadable=True)
    assert [path for path, _ in result.skipped] == list(REASONS)
    assert result.rows.tolist() == [sorted(os.listdir(root)).index("good.png")]
    np.testing.assert_array_equal(result.images[0], read_image(root / "good.png", (8, 8)))


def test_all_names_are_shown_with_their_count(root, read):
    for index in range(23):
        (root / f"{index:02}.png").touch()
    with pytest.raises(InputError, match="None of the files"):
        read(skip_unreadable=True)
    save_noise(root / "good.png")
    with pytest.raises(InputError, match="23 of 24 files") as refusal:
        read()
    assert all(f"{index:02}.png" in str(refusal.value) for index in range(23))


def test_a_name_that_is_no_text_can_be_printed(root, read):
    (root / NO_TEXT).touch()
    save_noise(root / "good.png")
    with pytest.raises(InputError) as refusal:
        read()
    assert "caf\N{REPLACEMENT CHARACTER}.png" in str(refusal.value).encode().decode()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_a_file_without_permission_is_named_and_read_later(root, read):
    save_noise(root / "a.png")
    save_noise(root / "b.png")
    (root / "a.png").chmod(0)
    with pytest.raises(InputError, match=r"a\.png: Permission denied"):
        read()
    (root / "a.png").chmod(0o600)
    assert len(read().images) == 2


def test_a_full_disk_is_told_before_the_start(root, read, decodes, monkeypatch):
    save_noise(root / "a.png")
    usage = shutil.disk_usage(root)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"need 3 MB in .*, where 1 MB are free.*--cache-dir"):
        read(size=(1000, 1000))
    assert not decodes


def test_a_cache_that_cannot_be_written_is_told(root, tmp_path, read):
    save_noise(root / "a.png")
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(InputError, match="--cache-dir"):
        read()


# ---------------------------------------------------------------------------------- what is kept


def test_later_runs_decode_nothing_and_say_nothing(root, read, decodes, capsys):
    for index in range(5):
        save_noise(root / f"{index}.png")
    first = read()
    assert "Decoding 5 images to 8 x 8 x 3: 0.00096 MB in" in capsys.readouterr().err
    again = read()
    assert len(decodes) == 5 and capsys.readouterr() == ("", "")
    np.testing.assert_array_equal(first.images, again.images)
    assert first.digests == again.digests
    read(size=(4, 4))
    read(fit="pad")
    assert len(decodes) == 15


def test_only_new_and_changed_files_are_decoded_again(root, read, decodes):
    for index in range(5):
        save_noise(root / f"{index}.png")
    before = read()
    kept = np.array(before.images)
    save_noise(root / "2.png")
    save_noise(root / "25.png")
    (root / "4.png").unlink()
    os.utime(root / "3.png", (1, 1))  # the same content
    after = read()
    assert len(decodes) == 5 + 2
    for row, name in enumerate(sorted(os.listdir(root))):
        np.testing.assert_array_equal(after.images[row], read_image(root / name, (8, 8)))
    np.testing.assert_array_equal(before.images, kept)  # still open
    read()
    assert len(decodes) == 7


def test_a_file_that_was_repaired_is_read(root, read):
    save_noise(root / "a.png")
    (root / "b.png").touch()
    assert len(read(skip_unreadable=True).images) == 1
    save_noise(root / "b.png")
    assert len(read().images) == 2


@pytest.mark.parametrize("damage", ["nothing", "pixels", "log", "file"])
def test_a_killed_pass_goes_on_where_it_was(damage, root, read, decodes, tmp_path, monkeypatch):
    monkeypatch.setattr(decoded, "CHUNK_FILES", 2)
    for index in range(12):
        save_noise(root / f"{index:02}.png")
    counted = examine.decode_image

    def killed(*arguments):
        if len(decodes) == 9:
            raise KeyboardInterrupt
        return counted(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(examine, "decode_image", killed)
        with pytest.raises(KeyboardInterrupt):
            read()
    (cache,) = (tmp_path / "cache").iterdir()
    assert not (cache / "facts.json").exists()
    done = [json.loads(line) for line in (cache / "partial-facts.jsonl").open()][1:]
    assert len(done) == 4
    expected = 12 - 2 * len(done)
    if damage == "pixels":  # lost when the power failed
        (cache / "partial-images").write_bytes(bytes(10_000))
        expected = 12
    if damage == "log":
        with (cache / "partial-facts.jsonl").open("a") as log:
            log.write('{"crc": 1, "fac')
    if damage == "file":
        save_noise(root / "00.png")
        expected = 12
    decodes.clear()
    result = read()
    assert len(decodes) == expected
    for row, name in enumerate(sorted(os.listdir(root))):
        np.testing.assert_array_equal(result.images[row], read_image(root / name, (8, 8)))
    assert sorted(path.name.split("-")[0] for path in cache.iterdir()) == [
        "facts.json",
        "images",
        "lock",
    ]


def test_a_damaged_cache_is_made_again(root, read, tmp_path):
    save_noise(root / "a.png")
    kept = np.array(read().images)
    (cache,) = (tmp_path / "cache").iterdir()
    for damaged in (next(cache.glob("images-*")), cache / "facts.json"):
        damaged.write_bytes(b"x")
        np.testing.assert_array_equal(read().images, kept)


def test_passes_at_once_wait_for_each_other(root, read, decodes, capsys):
    for index in range(30):
        save_noise(root / f"{index:02}.png")
    results = []
    threads = [threading.Thread(target=lambda: results.append(read())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(decodes) == 30
    assert capsys.readouterr().err.count("Decoding") == 1
    for result in results:
        np.testing.assert_array_equal(result.images, results[0].images)


# ---------------------------------------------------------------------------------- worker process


@pytest.fixture
def with_workers(monkeypatch):
    """Start worker processes for any number of files."""
    monkeypatch.setattr(decoded, "CHUNK_FILES", 2)
    monkeypatch.setattr(workers, "SECONDS_WORTH_WORKERS", -1)


def test_worker_processes_give_the_same(root, read, tmp_path, monkeypatch, request):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)
    make_readable(root)
    make_unreadable(root)
    for index in range(30):
        save_noise(root / f"{index}.png")
    expected = read(skip_unreadable=True)
    pixels = np.array(expected.images)
    shutil.rmtree(tmp_path / "cache")
    request.getfixturevalue("with_workers")
    result = read(skip_unreadable=True)
    np.testing.assert_array_equal(result.images, pixels)
    np.testing.assert_array_equal(result.rows, expected.rows)
    np.testing.assert_array_equal(result.hashes, expected.hashes)
    assert (result.digests, result.skipped) == (expected.digests, expected.skipped)


def test_formats_that_the_caller_added_to_pillow_are_read(root, read, monkeypatch, with_workers):
    """Worker processes know Pillow's own formats only."""
    pixels = [save_noise(root / f"{index:02}.png") for index in range(20)]
    for path in root.iterdir():
        path.write_bytes(b"ADDED" + path.read_bytes())

    def open_added(file, name):
        return Image.open(io.BytesIO(file.read().removeprefix(b"ADDED")))

    monkeypatch.setattr(Image, "ID", [*Image.ID, "ADDED"])
    added = {"ADDED": (open_added, lambda prefix: prefix.startswith(b"ADDED"))}
    monkeypatch.setattr(Image, "OPEN", Image.OPEN | added)
    np.testing.assert_array_equal(read(size=(12, 10)).images, pixels)


def test_few_chunks_wait_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "CHUNKS_IN_MEMORY", 2)
    folder, readable = str(tmp_path), SimpleNamespace(reason=None)

    def decode(chunk):
        Path(folder, chunk).touch()
        return [(readable, chunk)]

    names = [f"{index:03}" for index in range(60)]
    results = workers._with_workers(decode, names)
    (first,) = next(results)
    time.sleep(0.5)
    processes = max(2, loky.cpu_count())
    assert 1 <= len(list(tmp_path.iterdir())) <= 2 * processes + 1
    assert [first[1], *(name for ((_, name),) in results)] == names


@pytest.mark.parametrize("reason", ["daemonic process", "no semaphores"])
def test_without_worker_processes_this_one_decodes(reason, monkeypatch):
    if reason == "no semaphores":
        monkeypatch.setattr(loky.ProcessPoolExecutor, "__init__", Mock(side_effect=OSError(38)))
    else:
        daemonic = SimpleNamespace(daemon=True)
        monkeypatch.setattr(multiprocessing, "current_process", lambda: daemonic)
    assert list(workers._with_workers(str.upper, ["a", "b"])) == ["A", "B"]


def test_workers_end_with_a_pass_that_fails(root, read, monkeypatch, with_workers):
    """Also where something keeps the traceback, as Jupyter does."""
    for index in range(40):
        save_noise(root / f"{index}.png")
    ended = Mock(wraps=loky.ProcessPoolExecutor.shutdown)
    monkeypatch.setattr(
        loky.ProcessPoolExecutor, "shutdown", lambda pool, **options: ended(pool, **options)
    )
    monkeypatch.setattr(decoded.Partial, "add", Mock(side_effect=[None, OSError(28, "full")]))
    with pytest.raises(InputError, match="full") as kept:
        read()
    assert kept.tb is not None and ended.call_count == 1


def test_a_worker_that_is_killed_is_told():
    here = os.getpid()

    def decode(chunk):
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.1)
        return [(SimpleNamespace(reason=None), chunk)]

    with pytest.raises(InputError, match="A process that decodes images was killed"):
        list(workers._with_workers(decode, list(range(1000))))
