"""All topics, by name.

Used   practice.py, tests/fingerprints.py
"""

from functools import cache

from practice_room import part_1, part_2, part_3, part_4, part_5, part_6, part_7, part_8, part_9
from practice_room.topics import Topic

PARTS = (part_1, part_2, part_3, part_4, part_5, part_6, part_7, part_8, part_9)


@cache
def all_topics() -> dict[str, Topic]:
    """Name -> topic, in the order of the lessons."""
    return {topic.name: topic for part in PARTS for topic in part.TOPICS}


def topic_of(name: str) -> Topic:
    """Raises ValueError with the nearest names where there is no such topic."""
    topics = all_topics()
    if name not in topics:
        near = [other for other in topics if other[:1] == name[:1]] or list(topics)
        raise ValueError(f"there is no topic {name!r}; there are {', '.join(near)} "
                         "(practice.py list shows all)")
    return topics[name]
