"""Networks that other people made: a module a format, with a function `cases()`; `case` says what a case is."""
