"""What drives a chip: data, devices, runs, reports, and the command line."""
