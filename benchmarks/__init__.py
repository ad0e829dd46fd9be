"""What does the method cost? One script per question, one CSV per device; everything drawn comes from those.

python -m benchmarks --device cpu       # all of them, in order
python benchmarks/step_time.py --quick  # one of them
"""
