"""The fault matrix: a whole backup once for each pair of a point of its cycle and a fault.

case        what one run is: its name, its faults, its seed
bases       ways through the cycle other than the straight one, so that their points are met too
matrix      every point that those ways pass, times every fault that can strike there
walks       several faults at once, by chance, from a seed
fleet       the instances of a run, and the state in which each has to be in the end
play        one run: a day of virtual time, from the first tick to the next occurrence
invariants  what has to hold after it, whatever went wrong
workers     the processes that play, and what they answer
report      the table and build/faults/report.json
"""
