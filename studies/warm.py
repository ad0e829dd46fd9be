"""Imported once by the server that workers are forked from, so that each starts with all of this done."""

import atexit
import gc
from contextlib import suppress
from importlib import import_module

NEEDED = (
    "studies.cell",
    "studies.__main__",
    "timm.models.vision_transformer",
    # Torch's optimisers import it when the first of them is made.
    "torch._dynamo",
)

# Whatever is wrong with a library here shows again in the worker that needs it, whose log keeps it.
with suppress(Exception):
    for name in NEEDED:
        import_module(name)

# What is never collected is never written to either: the copies go on sharing its memory.
gc.collect()
gc.freeze()
# Only copies stay frozen: at its end the server would find libtriton's objects alive, and would say so at length.
atexit.register(gc.unfreeze)
