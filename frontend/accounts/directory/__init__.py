"""Changes of accounts, by their rules: what the admin API and the commands both call.

Every change is one transaction: the rows, an event for reviewers, and the number that makes other
processes read again. Nobody can give rights that they do not have.
"""
