"""Topics of part 6, for practice.py."""

from practice_room.topics import Topic

TOPICS: list[Topic] = []
