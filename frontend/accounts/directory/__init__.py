"""Changes accounts by their rules, for the admin API and the commands.

Every change is one transaction: the rows, an event for reviewers, and the number of changes, which
makes other processes read again. Callers cannot give rights that they do not have.
"""
