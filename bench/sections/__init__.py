"""The sections of a run, one file each: what they start, what they measure, what is to be reached."""
