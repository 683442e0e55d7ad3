"""Topics of part 9, for practice.py."""

from practice_room.topics import Topic

TOPICS: list[Topic] = []
