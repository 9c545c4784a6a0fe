"""What ``make bench`` measures: our parts and their peers, in one run on one machine."""
