"""The commands of the `gmixout` command line, one file each."""
