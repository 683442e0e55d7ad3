"""Topics of part 5, for practice.py."""

from practice_room.topics import Topic

TOPICS: list[Topic] = []
