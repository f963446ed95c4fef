"""Scores the skills with their embedded checkpoints on scenes that nothing was trained or chosen on.

`command` runs it, `scorers/NAME.py` says what is asked of a skill and what counts as right, `targets` which figures are
wanted, `report` writes `docs/embedded.md`. Everything but the latencies comes out the same every time.
"""
