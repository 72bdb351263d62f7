"""EMG front ends, one file each. `FRONT_ENDS` is the list the command line shows."""
