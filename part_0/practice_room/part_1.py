"""Topics of part 1, for practice.py."""

from practice_room.topics import Topic

TOPICS: list[Topic] = []
