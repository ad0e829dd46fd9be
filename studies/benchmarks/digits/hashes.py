"""SHA-256 (hex) of the rendered data: drawn splits, and the five severities of each corruption together.

Written by rendering recipe version 1; ``Digits.check`` compares. They change with ``RECIPE_VERSION`` only.
"""

HASHES: dict[str, dict[str, str]] = {
    "digits": {
        "train": "8799b28ea826734003ecc18225da032085cff9455b32ab655dd266aae751c23d",
        "id_val": "6104e384ec4f6b2cd02bddc15c1dda6fe84ca29e21e554a7307b5aa5ecd55adf",
        "id_test": "7019992e938ed1dbc82a405be02762f20f6fa2c8f52cd7f61027c20a831fc62b",
        "ood/real": "cb0686767ad4667a5b6e578582b8b64ed0b892f6771b09cec1c0ae6737e6c085",
        "ood/painting": "be2bd80d2a9f40d33118faca99460ca93bc9c5251003610346251591639ffe82",
        "ood/clipart": "ec80b0cd3bfe6be5201b1d0d0c52bad809d432e1e165b66edf81cbb3b4ac81dd",
        "ood/infograph": "e36209012381bff764a5c60bcabcab50889a322f1f0190f3f34e6d8259f546d0",
        "ood/quickdraw": "d49bd01963cc9442c8c67e808ebd22fd02b93acfe9398612b6407179f1d4947c",
        "corruption/gaussian_noise": "2011f0cb3b00f95ff50161fa49d435829369a2473c5c07859b4086d23ceae444",
        "corruption/shot_noise": "ce7a8ba4bb169395f81648e3e1a2600f2f30cf194e3ba626953410d2ca4678e3",
        "corruption/impulse_noise": "894858ad395e019dab9adad93aaf00a7baad4152babbd85825c67692a7c5d4bd",
        "corruption/defocus_blur": "e4118589b931326d54704e800b6f0b841a0c315a1828f4115e8fbde512d138df",
        "corruption/glass_blur": "8d1074a1f040a744f7715a403e371d8a510c94acbfa8be9bba999b51aa4d13bf",
        "corruption/motion_blur": "0f9240a304e216a7fa53e44bd2c68b2be1c97a58165fc1134fff66adaa78e1f3",
        "corruption/zoom_blur": "981123da24eb18f1ad40dad272d5079f3db057910e70ad6557e641a756b68226",
        "corruption/snow": "94f88279fcedaf1c59282f495c9846eb8de3b4e47e32138b8c88b4c87c74b0ea",
        "corruption/frost": "7310d6b8e7945dd124cfe52e285311ee947e326b588974d364f742d0c3aae64e",
        "corruption/fog": "0490dd320950a244ec34410584ca99f4236625009ce3b5a4f9037f8f420dfeeb",
        "corruption/brightness": "9d75e5bf6131b5d65e0dda5d947348aa38db59ec86522f3f391acd1715216f10",
        "corruption/contrast": "0436b0a390ba4920d452d38e7a72752f7d7eefbbdc993c168e279889a8cdc5a9",
        "corruption/elastic_transform": "b6a8d2a9cfe75c02365ffc51b9b448b0bae80a242f8edb632bbf7e6521dc23f7",
        "corruption/pixelate": "97fbeee81a7e6817f1a1a87128a64c17c78ae798f006f55c458f82c045fbc4c5",
        "corruption/jpeg_compression": "65751e701101304504a8779186c224aacba7765758789e2bdebe996b72aa33a3",
    },
    "digits-longtail": {
        "train": "5caa5687cf0767860433f4385ae4de3b770c439291d5589a8123b578094616a6",
    },
}
