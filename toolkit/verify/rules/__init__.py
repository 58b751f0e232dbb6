"""The rules, one file for each subject; `toolkit.verify.table` lists them."""
