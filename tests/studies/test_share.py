"""Parts of a batch: together they are the batch, image for image and draw for draw."""

import numpy as np
import pytest
import torch
from PIL import Image

from studies.benchmarks.images import FileImages, View
from studies.feed import Feed
from studies.recipe import Additions
from studies.settings.recipe import Recipe
from studies.share import part_of

RECIPES = {
    "plain": Recipe(),
    "crop and flip": Recipe(augmentation="crop", crop_scale=0.3, flip=0.5),
    "randaugment": Recipe(augmentation="randaugment", flip=0.5),
    "mixed": Recipe(mixup_alpha=0.4, cutmix_alpha=0.4, flip=0.5, augmentation="crop"),
    "cutmix": Recipe(cutmix_alpha=1.0),
    "attacked": Recipe(adversarial_epsilon=0.1, adversarial_steps=2, mixup_alpha=0.3),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(17):
        Image.fromarray(rng.integers(0, 256, (40, 30 + number, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return FileImages(folder, [f"{number}.png" for number in range(17)], View(16, 16))


def steps(images, recipe, part):
    """What is trained on in six steps, which cross an epoch's end."""
    labels = np.arange(17)
    feed = Feed(images, labels, 5, 7, recipe=recipe, part=part)
    additions = Additions(recipe, np.ones(17, np.int64), 5, part=part)
    for step, (seen, wanted) in enumerate(feed.batches(0, 6)):
        if part is not None:
            assert len(seen) == len(part.rows), "no image is read for others"
        seen, targets = additions.batch(seen, wanted, step)
        yield additions.attack(lambda x, y: (x.sin() * (1 + y.float().sum())).sum(), seen, targets, step), targets


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("is_held", [True, False], ids=["memory", "files"])
def test_parts_together_are_the_batch(name, ranks, is_held, files):
    recipe, images = RECIPES[name], files[:] if is_held else files
    mixes = recipe.mixup_alpha > 0 or recipe.cutmix_alpha > 0
    parts = [list(steps(images, recipe, part_of(rank, ranks, 7, mixes))) for rank in range(ranks)]
    for step, (whole, targets) in enumerate(steps(images, recipe, None)):
        assert torch.equal(torch.cat([part[step][0] for part in parts]), whole)
        assert torch.equal(torch.cat([part[step][1] for part in parts]), targets)


def test_every_process_needs_an_image_and_a_number():
    with pytest.raises(ValueError, match="got 2 images for 3 processes"):
        part_of(0, 3, 2)
    with pytest.raises(ValueError, match=r"rank must lie in \[0, 2\), got 2"):
        part_of(2, 2, 8)
