"""Topics of part 4, for practice.py."""

from practice_room.topics import Topic

TOPICS: list[Topic] = []
