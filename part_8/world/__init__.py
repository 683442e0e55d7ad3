"""The little world: stories, facts and sums with known probabilities, and what is true in them.

Explained   part 4: the little world
Read        world.py, engine.py, stories.py; then judge.py (does a story hold together?) and
            questions.py. words.py, facts.py, events.py, deeds.py, scenes.py, topics.py are what is told
"""
