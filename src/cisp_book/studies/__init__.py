"""What takes longer than a chapter may: each study makes a table that `kept` keeps.

`make studies` makes those anew whose code has changed, `make refresh` all but the long ones.
"""
