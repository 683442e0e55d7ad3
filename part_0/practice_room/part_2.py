"""Topics of part 2, for practice.py."""

from practice_room.topics import Topic

TOPICS: list[Topic] = []
