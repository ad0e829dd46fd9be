"""Miniatures of the field's data sets, written in their publishers' formats, with what is known of each."""

import dataclasses
import json
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from studies.benchmarks import BENCHMARKS, FACTS, Benchmark, Facts
from studies.benchmarks.cifar.corrupted import KINDS
from studies.benchmarks.facts import TOGETHER

SPECIES = ("empty", "white-lipped peccary", "ocelot", "agouti")
IWILDCAM = {"train": 16, "val": 4, "test": 8, "id_val": 4, "id_test": 8}

THINGS = ("airplane", "ambulance", "t-shirt")
DOMAINS = ("clipart", "infograph", "painting", "quickdraw", "real", "sketch")
TRAIN_EACH, TEST_EACH = 10, 2

WNIDS = tuple(f"n{number:08d}" for number in range(1440764, 1440776))
NAMES = (
    "tench",
    "goldfish",
    "crane",
    "analog clock",
    "crane",
    "digital clock",
    "banana",
    "hen",
    "jay",
    "ox",
    "eel",
    "kite",
)
OBJECTS = {"alarm_clock": "Alarm clock", "banana": "Banana", "air_freshener": "Air freshener"}
SHARED = {"Banana": "banana, yellow", "Alarm clock": "analog clock; digital clock"}


def facts(name: str, classes: int, **changes) -> Facts:
    """What is known of a benchmark, with the numbers of its miniature."""
    return dataclasses.replace(FACTS[name], classes=classes, **changes)


@dataclasses.dataclass(frozen=True)
class Trees:
    """All miniatures in one data folder.

    Attributes:
        data: The data folder.
        facts: What is known of each benchmark's miniature.
    """

    data: Path
    facts: dict[str, Facts]

    def benchmark(self, name: str, data: Path | None = None, **options) -> Benchmark:
        """A benchmark on its miniature, or on a copy of it."""
        return BENCHMARKS[name](data=data or self.data, facts=self.facts[name], **OPTIONS.get(name, {}) | options)


OPTIONS = {
    "imagenet": {"id_validation": 1},
    "cifar100": {"id_validation": 5, "md5": {}},
    "cifar100c": {"id_validation": 5, "md5": {}},
    "cifar100-lt": {"id_validation": 5, "md5": {}, "imbalance": 5.0},
}
"""What the miniatures need: they have fewer images than the whole, and are not the publisher's."""


def write_all(data: Path) -> Trees:
    """Writes every miniature."""
    known = {"iwildcam": write_iwildcam(data), "imagenet": write_imagenet(data)}
    known["imagenet-lt"] = known["imagenet-lt-oltr"] = write_imagenet_lt(data)
    write_domainnet(data)
    write_released_domainnet(data)
    known |= {name: domainnet_facts(name) for name in BENCHMARKS if name.startswith("domainnet")}
    known["cifar100c"] = known["cifar100"] = write_cifar(data)
    known["cifar100-lt"] = dataclasses.replace(known["cifar100"], images={"train": 123, "id_val": 50, "id_test": 40})
    return Trees(data, known)


def write_picture(path: Path, seed: int, size: tuple[int, int] = (28, 20)) -> None:
    """A coloured pattern of its own for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(path)


def write_iwildcam(data: Path) -> Facts:
    folder = data / "iwildcam_v2.0"
    rows = ["split,location_remapped,location,sequence_remapped,seq_id,y,category_id,datetime,filename,image_id"]
    for number, split in enumerate(part for part, count in IWILDCAM.items() for _ in range(count)):
        name, place = f"{number:04x}-21bc.jpg", 1 if split in ("val", "test") else 0
        moment = f"2013-06-05 05:{number % 60:02d}:19.000"
        rows.append(
            f"{split},{place},{place + 7},{number},s{number},{number % 4},{number % 4 + 300},{moment},{name},{number}"
        )
        write_picture(folder / "train" / name, number)
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
    (folder / "RELEASE_v2.0.txt").write_text("")
    species = [f"{label + 300},{name},{label}" for label, name in enumerate(SPECIES)]
    (folder / "categories.csv").write_text("\n".join(["category_id,name,y", *species, "9,motorcycle,99999"]) + "\n")
    return facts("iwildcam", 4, images={"train": 16, "id_val": 4, "id_test": 8, "ood/test": 8})


def write_domainnet(data: Path) -> Path:
    """The 345-class lists with three classes, and SENTRY's with two of them."""
    folder = data / "domainnet"
    (folder / "SENTRY_splits").mkdir(parents=True)
    seed = 0
    for domain in DOMAINS:
        for part, count in (("train", TRAIN_EACH), ("test", TEST_EACH)):
            lines, few = [], []
            for label, thing in enumerate(THINGS):
                for _ in range(count):
                    seed += 1
                    name = f"{domain}/{thing}/{domain}_{label:03d}_{seed:06d}.jpg"
                    write_picture(folder / name, seed)
                    lines.append(f"{name} {label}")
                    if label > 0:
                        few.append(f"{name} {label - 1}")
            (folder / f"{domain}_{part}.txt").write_text("\n".join(lines) + "\n")
            if domain not in ("infograph", "quickdraw"):
                (folder / "SENTRY_splits" / f"{domain}_{part}_mini.txt").write_text("\n".join(few) + "\n")
    duplicates = [line.split()[0] for line in (folder / "real_test.txt").read_text().splitlines()[:1]]
    (folder / "domain_net_duplicates.txt").write_text("\n".join(duplicates) + "\n")
    return folder


def domainnet_facts(name: str) -> Facts:
    things = 2 if "sentry" in name else 3
    counts = {split: things * TEST_EACH for split in FACTS[name].images if split not in (f"train{TOGETHER}id_val",)}
    if name == "domainnet-deduplicated":
        counts["ood/real"] -= 1
    return facts(name, things, images={f"train{TOGETHER}id_val": things * TRAIN_EACH, **counts})


def write_released_domainnet(data: Path) -> Path:
    """WILDS' tables of the same; the SENTRY one with two classes."""
    folder = data / "domainnet_v1.0"
    header = '"image_path","domain","split","category","y"'
    rows, few = [header], [header]
    seed = 1000
    for domain in ("sketch", "real", "clipart"):
        for part, count in (("train", TRAIN_EACH), ("test", TEST_EACH)):
            for label, thing in enumerate(THINGS):
                for _ in range(count):
                    seed += 1
                    name = f"{domain}/{thing}/{domain}_{label:03d}_{seed:06d}.jpg"
                    write_picture(folder / name, seed)
                    rows.append(f'"{name}","{domain}","{part}","{thing}",{label}')
                    if label > 0:
                        few.append(f'"{name}","{domain}","{part}","{thing}",{label - 1}')
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
    (folder / "sentry_metadata.csv").write_text("\n".join(few) + "\n")
    (folder / "RELEASE_v1.0.txt").write_text("")
    return folder


def write_imagenet(data: Path) -> Facts:
    """Twelve classes with six training and two validation images each, all five shifts within the folder."""
    folder = data / "imagenet"
    (folder / "LOC_synset_mapping.txt").parent.mkdir(parents=True)
    mapping = [f"{wnid} {name}, of some kind" for wnid, name in zip(WNIDS, NAMES)]
    (folder / "LOC_synset_mapping.txt").write_text("\n".join(mapping) + "\n")
    seed = 5000
    trees = {
        "train": (WNIDS, 6, "{folder}_{seed}.JPEG"),
        "val": (WNIDS, 2, "ILSVRC2012_val_0000{seed}.JPEG"),
        "imagenetv2-matched-frequency-format-val": (tuple(map(str, range(12))), 1, "{seed:x}.jpeg"),
        "imagenet-r": ((WNIDS[10], WNIDS[2], WNIDS[5]), 2, "art_{seed}.jpg"),
        "imagenet-a": ((WNIDS[7], WNIDS[1]), 2, "0.00_{seed}.jpg"),
        "sketch": (WNIDS, 1, "sketch_{seed}.JPEG"),
        "objectnet-1.0/images": (tuple(OBJECTS), 2, "{seed:x}.png"),
    }
    for tree, (names, count, pattern) in trees.items():
        for name in names:
            for _ in range(count):
                seed += 1
                write_picture(folder / tree / name / pattern.format(folder=name, seed=seed), seed)
    (folder / "imagenet-r" / "README.txt").write_text("not an image")
    mappings = folder / "objectnet-1.0" / "mappings"
    mappings.mkdir()
    # The publisher's order of the names is not that of the identifiers.
    order = list(reversed(range(12)))
    lines = [f"{NAMES[number]}, yellow" if NAMES[number] == "banana" else NAMES[number] for number in order]
    (mappings / "imagenet_to_label_2012_v2").write_text("\n".join(lines) + "\n")
    positions = {str(number): order.index(number) for number in range(12)}
    (mappings / "pytorch_to_imagenet_2012_id.json").write_text(json.dumps(positions))
    (mappings / "folder_to_objectnet_label.json").write_text(json.dumps(OBJECTS))
    (mappings / "objectnet_to_imagenet_1k.json").write_text(json.dumps(SHARED))
    counts = {"train": 60, "id_val": 12, "id_test": 24, "ood/v2": 12, "ood/r": 6, "ood/a": 4}
    return facts(
        "imagenet",
        12,
        images={**counts, "ood/sketch": 12, "ood/objectnet": 4},
        subsets={"ood/r": 3, "ood/a": 2, "ood/objectnet": 2},
    )


def write_imagenet_lt(data: Path) -> Facts:
    """Lists over an ImageNet that is there already: class k trains on as many images as 4 - k // 3, at least 1."""
    folder = data / "imagenet-lt"
    folder.mkdir()
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for label, wnid in enumerate(WNIDS):
        training = sorted((data / "imagenet" / "train" / wnid).iterdir())
        tests = sorted((data / "imagenet" / "val" / wnid).iterdir())
        lists["train"] += [f"train/{wnid}/{file.name} {label}" for file in training[: 4 - label // 3]]
        lists["val"] += [f"train/{wnid}/{file.name} {label}" for file in training[5:6]]
        lists["test"] += [f"val/{wnid}/{file.name} {label}" for file in tests]
    for part, lines in lists.items():
        (folder / f"ImageNet_LT_{part}.txt").write_text("\n".join(lines) + "\n")
    return facts("imagenet-lt", 12, images={"train": 30, "id_val": 12, "id_test": 24})


def write_cifar(data: Path, classes: int = 10, train_each: int = 30, test_each: int = 4) -> Facts:
    """CIFAR-100's three files as Python 2 pickled them, and four kinds of corruption with their labels."""
    folder, corrupted = data / "cifar-100-python", data / "CIFAR-100-C"
    folder.mkdir(parents=True)
    corrupted.mkdir()
    rng = np.random.default_rng(0)
    for file, each in (("train", train_each), ("test", test_each)):
        labels = np.tile(np.arange(classes), each)
        pixels = rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
        names = [f"thing_{number}.png".encode() for number in range(len(labels))]
        table = {
            b"filenames": names,
            b"batch_label": f"{file}ing batch 1 of 1".encode(),
            b"fine_labels": labels.tolist(),
            b"coarse_labels": (labels // 5).tolist(),
            b"data": pixels,
        }
        (folder / file).write_bytes(pickled_by_python_2(table))
    meta = {b"fine_label_names": [f"class_{k}".encode() for k in range(classes)], b"coarse_label_names": [b"all"]}
    (folder / "meta").write_bytes(pickled_by_python_2(meta))
    for kind in KINDS:
        np.save(corrupted / f"{kind}.npy", rng.integers(0, 256, (5 * len(labels), 32, 32, 3), dtype=np.uint8))
    np.save(corrupted / "labels.npy", np.tile(labels, 5))
    counts = {"train": classes * (train_each - 5), "id_val": classes * 5, "id_test": classes * test_each}
    return facts("cifar100c", classes, images=counts)


def pickled_by_python_2(value) -> bytes:
    """Protocol 2 as Python 2 wrote it, where text is bytes and NumPy is ``numpy.core``."""
    return b"\x80\x02" + _opcodes(value) + b"."


def _opcodes(value) -> bytes:
    if isinstance(value, dict):
        return b"}(" + b"".join(_opcodes(part) for pair in value.items() for part in pair) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(_opcodes, value)) + b"e"
    if isinstance(value, bytes):
        return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<i", len(value)) + value
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    assert isinstance(value, np.ndarray)
    rows, columns = value.shape
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + _opcodes(b"b") + b"\x87R"
    kind = b"cnumpy\ndtype\n" + _opcodes(b"u1") + b"K\x00K\x01\x87R(K\x03" + _opcodes(b"|")
    kind += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = _opcodes(rows) + _opcodes(columns) + b"\x86"
    return made + b"(K\x01" + shape + kind + b"\x89" + _opcodes(value.tobytes()) + b"tb"
