"""GRPO, rewards that a program can check, and replies that think before they answer.

Explained   part 9
Read        grpo_plain.py (one step on a page); grpo.py, rewards.py, grpo_loop.py; then tasks.py and
            task_families.py (what is asked), answers.py (what a reply says), sampling.py (thinking
            longer), evaluation.py, tools.py, tool_use.py. grpo_settings.py, grpo_report.py,
            toy_largest.py, tiny_chat.py serve the scripts
"""
