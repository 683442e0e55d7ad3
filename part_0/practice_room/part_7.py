"""Topics of part 7, for practice.py."""

from practice_room.topics import Topic

TOPICS: list[Topic] = []
