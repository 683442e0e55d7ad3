"""Instruction tuning: conversations, what is learnt from them, and how replies are judged.

Explained   part 6
Read        chat_format.py, data.py, evaluation.py; then manners.py (in which people answer), skills.py
            and skill_form.py, with the skills themselves in skills_numbers.py, skills_words.py,
            skills_stories.py. Beside them, where a part needs them: curriculum.py,
            lora.py, settings.py, report.py, small_base.py
"""
