"""What flows where in one step of GRPO? One group of replies, and what each is told.

    python part_9/demo_one_group.py

See   The functions of reasoning/grpo_plain.py on a rollout of the toy, the shape of every tensor as
      it was, and one group: eight replies to the same question, their rewards, and the advantages,
      which sum to 0. Beside part 8's drawing the value head and GAE are gone.
"""

from run.runtime import make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import copy

import torch
from gpt.model import GPT
from reasoning import grpo_plain as plain
from run import plotting
from run.diagram import arrow, box, finish

SETTINGS = plain.PlainSettings(steps=25)  # so many before the step that is drawn
GROUPS, LONGEST = 2, 4


def parse_args(argv=None):
    return make_parser(__doc__, runs_model=False).parse_args(argv)


def questions(n: int, copies: int) -> torch.Tensor:
    """n questions, each `copies` times, side by side."""
    asked = torch.randint(8, (n, 3))
    asked[:, 2] = plain.ASK
    return asked.repeat_interleave(copies, 0)


def trained_a_little(seed: int):
    """A policy on its way, and its reference, as reasoning/grpo_plain.py trains them."""
    torch.manual_seed(seed)
    s, model = SETTINGS, GPT(plain.CONFIG).eval()
    reference = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=s.rate, weight_decay=0.0)
    for _ in range(s.steps):
        ids, is_response = plain.sample(model, questions(s.prompts, s.group), LONGEST,
                                        end=plain.END, pad=plain.PAD)
        plain.learn(model, reference, optimizer, ids, is_response,
                    plain.score(ids, is_response), s)
    return model, reference


def one_step(model, reference) -> dict[str, torch.Tensor]:
    """All tensors of a step, by name, up to the gradients of its loss."""
    s, asked = SETTINGS, questions(GROUPS, SETTINGS.group)
    ids, is_response = plain.sample(model, asked, LONGEST, end=plain.END, pad=plain.PAD)
    rewards = plain.score(ids, is_response)
    advantages = plain.group_advantages(rewards, s.group)
    with torch.no_grad():
        old_logp, ref_logp = plain.logp_of(model, ids), plain.logp_of(reference, ids)
    loss = plain.grpo_loss(plain.logp_of(model, ids), old_logp, ref_logp, advantages, is_response,
                           s)
    loss.backward()
    return {"prompts": asked, "ids": ids, "is_response": is_response, "rewards": rewards,
            "advantages": advantages, "old_logp": old_logp, "ref_logp": ref_logp,
            "loss": loss.detach()}


def shape(step: dict, name: str) -> str:
    return str(tuple(step[name].shape))


def said(step: dict, row: int) -> str:
    """A reply's tokens, as words."""
    names = {plain.END: "END", plain.ASK: "ASK"}
    tokens = step["ids"][row, 1:][step["is_response"][row]].tolist()
    return " ".join(names.get(token, str(token)) for token in tokens)


def draw(path, step: dict, setup: str) -> None:
    fig, (left, right) = plotting.figure(
        "One step of GRPO: siblings are the baseline, and their advantages sum to 0", setup, 2,
        size=(7, 4), widths=[1.55, 1])
    green, orange, yellow = plotting.GREEN, plotting.ORANGE, plotting.YELLOW
    box(left, 0, 4, f"prompts × {SETTINGS.group}\n{shape(step, 'prompts')}", plotting.SKY, 2.9)
    box(left, 4.1, 4, f"1 policy\nids {shape(step, 'ids')}", yellow, 2.6)
    box(left, 7.9, 4, f"2 rewards r\n{shape(step, 'rewards')}", orange, 2.6)
    box(left, 7.9, 2.6, f"3 group: A\n{shape(step, 'advantages')}", green, 2.6)
    box(left, 4.1, 2.6, f"3 log π_ref\n{shape(step, 'ref_logp')}", plotting.GREY, 2.8)
    box(left, 0.2, 2.6, f"3 log π_old\n{shape(step, 'old_logp')}", yellow, 2.6)
    box(left, 4.1, 0.9, "4 loss: L_π + β k3\nover "
        f"{int(step['is_response'].sum())} reply tokens", green, 4.2, 0.8)
    arrow(left, (1.5, 4), (2.8, 4))
    arrow(left, (5.5, 4), (6.5, 4))
    arrow(left, (7.9, 3.6), (7.9, 3.0))
    arrow(left, (4.1, 3.6), (4.1, 3.0))
    arrow(left, (3.6, 3.6), (1.2, 3.0))
    for x in (0.6, 4.1, 7.5):
        arrow(left, (x, 2.2), (4.1 + (x - 4.1) * 0.4, 1.35))
    left.text(4.1, 0.25, "5 gradient: the policy alone is moved", ha="center", fontsize=8,
              color=plotting.RED)
    finish(left, (-1.6, 9.3), (0, 4.5))
    few = range(SETTINGS.group)
    values = [float(step["advantages"][i]) for i in few]
    right.barh([-i for i in few], values, color=[plotting.BLUE if v >= 0 else plotting.RED
                                                 for v in values])
    right.set_yticks([-i for i in few], [f"{said(step, i)}: {float(step['rewards'][i]):.1f}"
                                         for i in few])
    a, b = step["ids"][0, :2].tolist()
    right.set_xlabel(f"A of the replies to “{a} {b} ASK”,\nbehind each its reward")
    right.axvline(0, color=plotting.GREY, linewidth=0.8)
    plotting.save(fig, path)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    step = one_step(*trained_a_little(args.seed))
    print_table(["tensor", "shape"], [[name, shape(step, name)] for name in step],
                f"one step of GRPO on {GROUPS} groups of {SETTINGS.group}, after {SETTINGS.steps} "
                "steps")
    few = slice(0, SETTINGS.group)
    print_table(["reply", "reward", "advantage"],
                [[said(step, i), float(step["rewards"][i]), float(step["advantages"][i])]
                 for i in range(SETTINGS.group)],
                f"the first group, asked for the larger of {step['ids'][0, :2].tolist()}; the "
                f"advantages sum to {abs(float(step['advantages'][few].sum())):.0e}")
    draw(out / "diagram_grpo_step.png", step, f"{GROUPS} groups of {SETTINGS.group} replies of the "
         f"toy of reasoning/grpo_plain.py, shapes as they were, seed {args.seed}")


if __name__ == "__main__":
    run_main(main)
