"""What does the method cost? One script per question, one CSV per device; everything drawn comes from those.

python -m benchmarks --device cpu       # all of them in order, then figures and bars: make bench
python -m benchmarks --device cuda      # the same on a GPU, within 8 minutes: make bench-gpu
python benchmarks/step_time.py --quick  # one of them, on a tiny network
"""
