"""What the DomainNet benchmarks agree on: domains, published counts, and how ID validation is cut from training."""

from __future__ import annotations

from studies.benchmarks.facts import TOGETHER, Facts

DOMAINS = ("clipart", "infograph", "painting", "quickdraw", "real", "sketch")

SENTRY_DOMAINS = ("clipart", "painting", "real", "sketch")
"""Of the SENTRY subset; also those that the 345-class benchmark trains and tests on unless told otherwise."""

TRAIN_IMAGES = {
    "clipart": 33_525,
    "infograph": 36_023,
    "painting": 50_416,
    "quickdraw": 120_750,
    "real": 120_906,
    "sketch": 48_212,
}
TEST_IMAGES = {
    "clipart": 14_604,
    "infograph": 15_582,
    "painting": 21_850,
    "quickdraw": 51_750,
    "real": 52_041,
    "sketch": 20_916,
}
"""Lines of the publisher's lists (the cleaned version)."""

ID_VALIDATION = 0.1
"""Part of each class of the source's training list that becomes ``id_val``; there is no official one."""

SEED = 0
"""Of that cut; the same for every run, so that all methods select on the same images."""

HOME = "http://ai.bu.edu/M3SDA/"
LICENCE = "fair use: research and education, no profit"

_SERVER = "http://csr.bu.edu/ftp/visda/2019/multi-source"
GET = (
    f"{_SERVER}/DOMAIN.zip for infograph, quickdraw, real, sketch",
    f"{_SERVER}/groundtruth/DOMAIN.zip for clipart, painting",
    f"{_SERVER}/domainnet/txt/DOMAIN_train.txt and DOMAIN_test.txt",
)
"""Where the images and the lists of the cleaned version lie; ``DOMAIN`` stands for a domain's name."""

_SIZES = ("the size of the download", "the numbers of images, which are lines of the lists")


def targets(source: str, domains: tuple[str, ...] = SENTRY_DOMAINS) -> tuple[str, ...]:
    """The domains that are OOD for a source.

    Example:
        >>> targets("sketch")
        ('clipart', 'painting', 'real')
    """
    return tuple(domain for domain in domains if domain != source)


def official_facts(source: str, domains: tuple[str, ...] = SENTRY_DOMAINS) -> Facts:
    """What is known of the 345-class benchmark with this source."""
    ood: dict[str, int | None] = {f"ood/{domain}": TEST_IMAGES[domain] for domain in targets(source, domains)}
    folders = ", ".join(sorted({source, *domains}))
    return Facts(
        title=f"345 things; trained on {source}",
        home=HOME,
        licence=LICENCE,
        gigabytes=18,
        folder="domainnet",
        layout=(f"the domains' folders {folders}", "lists <domain>_train.txt and <domain>_test.txt"),
        classes=345,
        images={f"train{TOGETHER}id_val": TRAIN_IMAGES[source], "id_test": TEST_IMAGES[source], **ood},
        get=GET,
        from_memory=_SIZES,
    )


def deduplicated_facts(source: str) -> Facts:
    """What is known of the same without the duplicates that DomainBed lists: how many of them, its list says."""
    whole = official_facts(source)
    return Facts(
        title=f"{whole.title}, without DomainBed's duplicates",
        home=whole.home,
        licence=whole.licence,
        gigabytes=whole.gigabytes,
        folder=whole.folder,
        layout=(*whole.layout, "domain_net_duplicates.txt from github.com/facebookresearch/DomainBed"),
        classes=whole.classes,
        images=dict.fromkeys(whole.images),
        get=(
            *whole.get,
            "https://github.com/facebookresearch/DomainBed, domainbed/misc/domain_net_duplicates.txt",
        ),
        from_memory=_SIZES[:1],
    )


def sentry_facts(source: str) -> Facts:
    """What is known of the 40-class SENTRY subset with this source; its sizes are what its lists say."""
    return Facts(
        title=f"40 things (the SENTRY subset); trained on {source}",
        home=HOME,
        licence=LICENCE,
        gigabytes=18,
        folder="domainnet",
        layout=(
            f"the domains' folders {', '.join(SENTRY_DOMAINS)}",
            "SENTRY_splits/<domain>_train_mini.txt and _test_mini.txt from github.com/virajprabhu/SENTRY",
        ),
        classes=40,
        images={
            f"train{TOGETHER}id_val": None,
            "id_test": None,
            **{f"ood/{domain}": None for domain in targets(source)},
        },
        get=(
            *GET[:2],
            "https://github.com/virajprabhu/SENTRY, data/DomainNet/txt/DOMAIN_train_mini.txt and _test_mini.txt",
        ),
        from_memory=_SIZES[:1],
    )


def released_facts(is_sentry: bool) -> Facts:
    """What is known of DomainNet as WILDS 2.0 releases it: sketch to real."""
    counts: dict[str, int | None] = {
        f"train{TOGETHER}id_val": TRAIN_IMAGES["sketch"],
        "id_test": TEST_IMAGES["sketch"],
        "ood/real": TEST_IMAGES["real"],
    }
    return Facts(
        title=f"{40 if is_sentry else 345} things as in WILDS 2.0; sketch to real",
        home="https://wilds.stanford.edu/datasets/#domainnet",
        licence=LICENCE,
        gigabytes=19.3,
        folder="domainnet_v1.0",
        layout=(
            "sentry_metadata.csv" if is_sentry else "metadata.csv",
            "the domains' folders",
            "RELEASE_v1.0.txt",
        ),
        classes=40 if is_sentry else 345,
        images=dict.fromkeys(counts) if is_sentry else counts,
        unused={"ood_val": "WILDS' val: real training images; a choice that looked at them would have seen OOD data"},
        get=(
            "https://worksheets.codalab.org/rest/bundles/0x0b8ca76eef384b98b879d0c8c4681a32/contents/blob/ "
            "(a tar.gz of 19 255 770 459 bytes, to be extracted into domainnet_v1.0/)",
            "or, with the package wilds: "
            "python -c \"import wilds; wilds.get_dataset('domainnet', root_dir='DATA', download=True)\"",
        ),
        from_memory=() if is_sentry else _SIZES[1:],
    )
