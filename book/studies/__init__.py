"""What takes longer than a chapter may: each study makes a table that `kept` keeps.

`python -m studies`, in book/, makes those again whose code has changed.
"""
