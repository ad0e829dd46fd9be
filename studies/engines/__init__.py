"""What carries a study's workers: processes of this machine, Ray or SLURM. Imports neither ray nor submitit."""
