"""Files that somebody else made: what is in them, what is learnt from them, what is held out.

Explained   part 6
Read        records.py (the text), shapes.py (a record), reading.py (a whole file, and what is held
            out of it). Beside them, where a part needs them: own_files.py (conversations, as they are
            tuned on), closing.py (what was trained is written before it is measured)
"""
