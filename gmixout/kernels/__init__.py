"""The method's arithmetic in Triton. Every kernel has a twin in plain torch elsewhere, which is the law.

Nothing here is imported until a tensor can use it, so the package works where Triton is missing.
"""
