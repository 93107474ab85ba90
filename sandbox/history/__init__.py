"""The life of recovery points over years: made, copied, kept and expired, and a judge over it.

A story says what an owner and his cloud do over the days. The real functions keep and delete, and
an oracle, written from the documentation alone, says what they should have.
"""
