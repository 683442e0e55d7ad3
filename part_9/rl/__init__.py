"""Learning from a reward: PPO, and DPO, which does without one.

Explained   part 8
Read        ppo_plain.py (one step on a page); then policy.py, rollout.py, ppo.py, steps.py,
            ppo_loop.py, and scoring.py, quality_report.py, ppo_settings.py, ppo_report.py, dpo.py,
            dpo_pairs.py, toy_task.py, own_files.py (prompts and pairs of one's own), as far as a
            part needs them
"""
