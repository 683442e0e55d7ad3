"""Practice: write the missing piece yourself, and be told which mistake you made (lesson 0.3).

Used by practice.py. Read topics.py first (what a topic is), then part_1.py … part_9.py (the topics,
which a teacher can extend) and catalogue.py (all of them), attempt.py (the learner's folder, emptied
functions, hints), checking.py (runs a topic's cases and tests against an attempt), diagnosis.py
(which mistake it looks like) and screens.py (what is printed). mistakes.txt names the kind of every
planted bug, fingerprints.json holds what fails when it is there:
`python tests/planted_bugs.py --fingerprints` makes it.
"""
