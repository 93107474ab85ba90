"""A night in virtual time: a whole fleet is due at the same minute.

The real planner ticks every minute, the real state machine and the real functions back the fleet
up, and EC2, Step Functions and Lambda hold their documented limits. What comes of it is measured
from the world's truth.
"""
