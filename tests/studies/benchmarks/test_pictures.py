"""Files of every kind become RGB, or one error that names the file."""

import io

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets.folder import pil_loader

from studies.benchmarks.pictures import ImageError, read_image, unreadable
from tests.studies.benchmarks.trees import write_picture


@pytest.fixture
def colours() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("RGB", "png"), ("L", "png"), ("1", "png"), ("P", "png"), ("P", "gif"), ("LA", "png"), ("RGBA", "png"),
        ("RGB", "jpg"), ("L", "jpeg"), ("CMYK", "jpg"), ("RGB", "webp"), ("RGB", "bmp"), ("CMYK", "tif"), ("L", "pgm"),
    ],
)  # fmt: skip
def test_every_mode_reads_as_torchvision_reads_it(mode, suffix, colours, tmp_path):
    path = tmp_path / f"image.{suffix}"
    colours.convert(mode).save(path)
    image = read_image(path)
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), np.asarray(pil_loader(path)))


def test_palette_with_transparency_warns_of_nothing(colours, tmp_path):
    colours.convert("P").save(tmp_path / "image.png", transparency=bytes(range(256)))
    np.testing.assert_array_equal(
        np.asarray(read_image(tmp_path / "image.png")), np.asarray(colours.convert("P").convert("RGB"))
    )


def test_of_sixteen_bits_the_upper_eight_are_kept(tmp_path):
    values = np.array([[0, 255, 256, 65535]], np.uint16)
    for suffix in ("png", "tif"):
        Image.fromarray(values).save(tmp_path / f"deep.{suffix}")
        assert np.asarray(read_image(tmp_path / f"deep.{suffix}"))[0, :, 0].tolist() == [0, 0, 1, 255]


def test_stored_orientation_is_kept(colours, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    colours.save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").size == colours.size


def test_contents_decide_not_the_name(colours, tmp_path):
    colours.save(tmp_path / "png.JPEG", "PNG")
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "png.JPEG")), np.asarray(colours))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"<html>not found</html>", "it is none of BMP"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is none of BMP"),
        ("cut jpg", "truncated"),
        ("cut png", "cannot read"),
        ("floats", "floating point"),
    ],
)
def test_damage_is_one_error_that_names_the_file(content, reason, colours, tmp_path):
    path = tmp_path / "image.jpg"
    if isinstance(content, str):
        buffer = io.BytesIO()
        if content == "floats":
            Image.fromarray(np.zeros((4, 4), np.float32)).save(buffer, "TIFF")
        else:
            colours.resize((200, 200)).save(buffer, "JPEG" if "jpg" in content else "PNG")
        content = buffer.getvalue() if content == "floats" else buffer.getvalue()[: len(buffer.getvalue()) // 2]
    path.write_bytes(content)
    with pytest.raises(ImageError, match=reason) as told:
        read_image(path)
    assert str(path) in str(told.value)


def test_absent_file_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"there is no image file .*gone.jpg"):
        read_image(tmp_path / "gone.jpg")


def test_all_unreadable_files_are_collected(tmp_path):
    names = [f"{number}.png" for number in range(5)]
    for number, name in enumerate(names):
        write_picture(tmp_path / name, number)
    (tmp_path / "1.png").write_bytes(b"")
    (tmp_path / "3.png").unlink()
    done: list[int] = []
    problems = unreadable(tmp_path, names, 1, done.append)
    assert ["1.png" in problems[0], "3.png" in problems[1]] == [True, True]
    assert sum(done) == 5
    assert unreadable(tmp_path, names, 2) == problems
