"""The rules, one file for each subject; `toolkit.verifier.table` lists them."""
