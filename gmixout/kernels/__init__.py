"""The method's arithmetic in Triton. Every kernel has a twin in plain torch elsewhere, which is the law.

Until a tensor can use a kernel only `launch` and `geometry` are imported, which work where Triton is missing.
"""
