"""What is known of CIFAR-100 without having it, in its three forms."""

from __future__ import annotations

from studies.benchmarks.facts import Facts

ARCHIVE = "cifar-100-python"

MD5 = {
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    "meta": "7973b15100ade9c7d40fb424638fde48",
}
"""Of the publisher's files, as torchvision has them."""

_ARCHIVE_AT = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
_FROM_MEMORY = ("the size of the download",)

FACTS = Facts(
    title="100 classes of 32 x 32 photographs",
    home="https://www.cs.toronto.edu/~kriz/cifar.html",
    licence="none stated",
    gigabytes=0.17,
    folder=ARCHIVE,
    layout=("train", "test", "meta (the Python version)"),
    classes=100,
    images={"train": 48_000, "id_val": 2_000, "id_test": 10_000},
    get=(_ARCHIVE_AT,),
    from_memory=_FROM_MEMORY,
)
CORRUPTED_FACTS = Facts(
    title="CIFAR-100 with CIFAR-100-C's fifteen corruptions",
    home=f"{FACTS.home} and https://zenodo.org/records/3555552",
    licence="none stated; the corruptions CC BY 4.0",
    gigabytes=3.1,
    folder=ARCHIVE,
    layout=(*FACTS.layout, "beside it CIFAR-100-C/ with labels.npy and <corruption>.npy"),
    classes=100,
    images=FACTS.images,
    corruptions=15,
    get=(_ARCHIVE_AT, "https://zenodo.org/record/3555552/files/CIFAR-100-C.tar"),
    from_memory=(*_FROM_MEMORY, "the licence of the corruptions"),
)
LONG_TAIL_FACTS = Facts(
    title="CIFAR-100 with a long tail: 480 to 4 training images a class",
    home=FACTS.home,
    licence=FACTS.licence,
    gigabytes=FACTS.gigabytes,
    folder=ARCHIVE,
    layout=FACTS.layout,
    classes=100,
    images={"train": 10_410, "id_val": 2_000, "id_test": 10_000},
    get=FACTS.get,
    from_memory=_FROM_MEMORY,
)
