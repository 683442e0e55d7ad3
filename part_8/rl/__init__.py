"""Learning from a reward: PPO, and DPO, which does without one.

Explained   part 8
Read        policy.py, rollout.py, ppo.py, ppo_loop.py; then scoring.py, quality_report.py,
            ppo_settings.py, dpo.py, toy_task.py, as far as a part needs them
"""
