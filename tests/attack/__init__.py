"""What strangers and single users may try, with a second caller beside who must not notice."""
