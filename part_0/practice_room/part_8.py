"""Topics of part 8, for practice.py."""

from practice_room.topics import Topic

TOPICS: list[Topic] = []
