"""Views are torchvision's pixels; random crops are functions of key and position; boxes are where they should be."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from studies.benchmarks.boxes import crop_boxes
from studies.benchmarks.draws import Draws
from studies.benchmarks.images import Crops, FileImages, View
from studies.benchmarks.pictures import ImageError
from studies.reading import Reading, readers_for
from tests.studies.benchmarks.trees import write_picture

SIZES = [(40, 30), (30, 40), (33, 33), (200, 50), (51, 77)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number, size in enumerate(SIZES):
        write_picture(folder / f"{number}.png", number, size)
    return folder


@pytest.fixture
def images(folder) -> FileImages:
    return FileImages(folder, [f"{number}.png" for number in range(len(SIZES))], View(24, 20))


@pytest.mark.parametrize(("resize", "crop"), [(24, 24), (24, 20), (25, 20), (64, 33)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "lanczos"])
def test_view_is_torchvisions(resize, crop, interpolation, folder):
    mode = transforms.InterpolationMode(interpolation)
    theirs = transforms.Compose([transforms.Resize(resize, mode), transforms.CenterCrop(crop)])
    for number in range(len(SIZES)):
        with Image.open(folder / f"{number}.png") as image:
            expected = np.asarray(theirs(image))
            np.testing.assert_array_equal(View(resize, crop, interpolation).cut(image), expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resize": 10, "crop": 11}, "crop must lie between 1 and resize, got crop 11 and resize 10"),
        ({"crop": 0}, "crop must lie between 1"),
        ({"interpolation": "nearest"}, "interpolation must be one of bicubic, bilinear, lanczos, got 'nearest'"),
    ],
)
def test_impossible_view_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        View(**settings)


def test_slices_and_positions_choose_the_same_images(images):
    everything = images[:]
    assert everything.shape == images.shape == (5, 20, 20, 3)
    np.testing.assert_array_equal(images[1:4], everything[1:4])
    np.testing.assert_array_equal(images[np.array([4, 0, 4, -1])], everything[[4, 0, 4, -1]])
    assert images[3:3].shape == (0, 20, 20, 3)
    for wrong in (2, np.array(2), np.array([True] * 5), np.array([0.5])):
        with pytest.raises(TypeError, match="a slice or by integers"):
            images[wrong]
    with pytest.raises(IndexError):
        images[np.array([5])]


def test_threads_and_views_change_nothing_else(images, folder):
    alone = FileImages(folder, images.names, images.view, reading=Reading(1))
    np.testing.assert_array_equal(alone[:], images[:])
    wide = images.with_view(View(32, 32))
    assert wide[:].shape == (5, 32, 32, 3)
    assert images.view == View(24, 20)


def test_border_is_cut_off_first(folder):
    whole = FileImages(folder, ["2.png"], View(29, 29), border=2)[:]
    with Image.open(folder / "2.png") as image:
        np.testing.assert_array_equal(whole[0], np.asarray(image)[2:-2, 2:-2])
    with pytest.raises(ImageError, match=r"0\.png is too small to cut a border of 15"):
        FileImages(folder, ["0.png"], border=15)[:]


def test_unreadable_image_is_named_from_any_thread(folder, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"nothing")
    write_picture(tmp_path / "good.png", 0)
    for threads in (1, 3):
        with pytest.raises(ImageError, match=r"bad\.png"):
            FileImages(tmp_path, ["good.png", "bad.png", "good.png"], reading=Reading(threads))[:]


def test_files_of_every_kind_make_one_batch(folder, tmp_path):
    modes = ("L", "P", "CMYK", "RGBA", "RGB")
    with Image.open(folder / "0.png") as image:
        for mode in modes:
            image.convert(mode).save(tmp_path / f"{mode}.tif")
    images = FileImages(tmp_path, [f"{mode}.tif" for mode in modes], View(24, 20))
    assert images[:].shape == (5, 20, 20, 3)
    np.testing.assert_array_equal(images[3:4], images[4:5])


def crops_of(images, positions, crops):
    out = np.empty((len(positions), 20, 20, 3), np.uint8)
    images.fill(out, np.array(positions), crops)
    return out


def test_random_crops_are_functions_of_key_and_position(images):
    crops = Crops(("crop", 0, 7), 0.3)
    together = crops_of(images, range(5), crops)
    for position in (4, 1):
        np.testing.assert_array_equal(crops_of(images, [position], crops)[0], together[position])
    assert (crops_of(images, range(5), Crops(("crop", 0, 8), 0.3)) != together).any()
    with pytest.raises(ValueError, match=r"scale must lie in \(0, 1\], got 0"):
        Crops(("crop",), 0)


def test_crop_is_torchvisions_resized_crop(images, folder):
    for number in range(len(SIZES)):
        draws = Draws("one", 0, number)
        with Image.open(folder / f"{number}.png") as image:
            top, left, height, width = (int(part[0]) for part in crop_boxes(1, image.height, image.width, 0.2, draws))
            mode = transforms.InterpolationMode.BICUBIC
            expected = transforms.functional.resized_crop(image, top, left, height, width, [20, 20], mode)
        got = crops_of(images, [number], Crops(("one", 0), 0.2))
        np.testing.assert_array_equal(got[0], np.asarray(expected))


def test_readers_share_the_cores():
    assert Reading(readers_for(1)).readers >= readers_for(2) >= 1
    assert readers_for(10**6) == 1
    with pytest.raises(ValueError, match="must be at least 1, got 0 and 2"):
        Reading(0)


@pytest.mark.parametrize("size", [(375, 500), (500, 333), (20, 400)])
def test_boxes_are_distributed_as_torchvisions(size):
    height, width = size
    tops, lefts, heights, widths = crop_boxes(4000, height, width, 0.3, Draws("boxes", height))
    assert (tops >= 0).all()
    assert (tops + heights <= height).all()
    assert (lefts >= 0).all()
    assert (lefts + widths <= width).all()
    torch.manual_seed(0)
    blank = torch.zeros(1, height, width)
    theirs = np.array([transforms.RandomResizedCrop.get_params(blank, [0.3, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)])
    for mine, other in zip((tops, lefts, heights, widths), theirs.T):
        spread = max(other.std(), 1)
        assert abs(mine.mean() - other.mean()) < 4 * spread * (2 / 4000) ** 0.5
        assert mine.std() == pytest.approx(other.std(), rel=0.08, abs=1)
