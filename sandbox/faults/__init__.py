"""The fault matrix: a whole backup once for each pair of a point of its cycle and a fault.

case        what one run is: its name, its faults, its seed
bases       ways through the cycle: the straight one of each fleet, and those that a fault opens
strikes     what strikes where, beside the faults that every call and every state meets
matrix      every point that those ways pass, times every fault that can strike there
walks       several faults at once, by chance, from a seed
fleets      what there is: instances, target groups, Auto Scaling groups, scripts, alarms
fleet       the instances of a run, and the state in which each has to be in the end
owner       what their owner does in mid-backup
play        one run: a day of virtual time, from the first tick to the next occurrence
invariants  what has to hold after it, whatever went wrong
around      what has to hold around the instances: service, scripts, freezes, muted alarms
together    what may not be down at the same time
told        who was told of what
workers     the processes that play, and what they answer
report      the table and build/faults/report.json
"""
