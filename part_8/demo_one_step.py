"""What flows where in one step of PPO, and in one of DPO?

    python part_8/demo_one_step.py

See   The functions of rl/ppo_plain.py on a rollout of the toy, the shape of every tensor as it was,
      and one reply token by token: its KL, reward, value, advantage and return. Two models are asked
      what they think of a reply, one is only asked; the update moves the policy alone. DPO has no
      rollout, no scores and no values.
"""

from run.runtime import make_parser, out_folder, print_table, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import copy

import torch
from gpt.model import GPT
from rl import ppo_plain as plain
from rl.dpo import dpo_loss
from run import plotting
from run.diagram import arrow, box, finish
from torch import nn

SETTINGS = plain.PlainSettings(steps=25)  # so many before the step that is drawn
ROWS, LONGEST = 8, 6


def parse_args(argv=None):
    return make_parser(__doc__, runs_model=False).parse_args(argv)


def trained_a_little(seed: int):
    """A policy on its way, its value head and its reference, as rl/ppo_plain.py trains them."""
    torch.manual_seed(seed)
    model, value_head = GPT(plain.CONFIG).eval(), nn.Linear(plain.CONFIG.n_embd, 1)
    nn.init.zeros_(value_head.weight)
    nn.init.zeros_(value_head.bias)
    reference = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW([*model.parameters(), *value_head.parameters()],
                                  lr=SETTINGS.rate, weight_decay=0.0)
    for _ in range(SETTINGS.steps):
        ids, is_response = plain.sample(model, prompts(SETTINGS.rows), LONGEST, end=plain.END,
                                        pad=plain.PAD)
        plain.learn(model, value_head, reference, optimizer, ids, is_response, plain.score(ids),
                    SETTINGS)
    return model, value_head, reference


def prompts(n: int) -> torch.Tensor:
    return torch.stack([torch.full((n,), plain.BEGIN), torch.randint(8, (n,))], dim=1)


def one_ppo_step(model, value_head, reference) -> dict[str, torch.Tensor]:
    """All tensors of a step, by name, up to the gradients of its loss."""
    s, asked = SETTINGS, prompts(ROWS // 2).repeat_interleave(2, 0)  # two replies to each
    ids, is_response = plain.sample(model, asked, LONGEST, end=plain.END, pad=plain.PAD)
    scores = plain.score(ids)
    with torch.no_grad():
        old_logp, old_values = plain.logp_and_values(model, value_head, ids)
        ref_logp, _ = plain.logp_and_values(reference, value_head, ids)
        rewards = plain.token_rewards(scores, old_logp, ref_logp, is_response, s.beta)
        advantages, returns = plain.gae(rewards, old_values, is_response, s.gamma, s.lam)
        whitened = plain.whiten(advantages, is_response)
    logp, values = plain.logp_and_values(model, value_head, ids)
    loss = plain.ppo_loss(logp, values, old_logp, old_values, whitened, returns, is_response, s)
    loss.backward()
    return {"prompts": asked, "ids": ids, "is_response": is_response, "scores": scores,
            "old_logp": old_logp, "values": old_values, "ref_logp": ref_logp, "rewards": rewards,
            "advantages": advantages, "returns": returns, "loss": loss.detach()}


@torch.no_grad()
def one_dpo_step(model, reference, ids, is_response, scores) -> dict[str, torch.Tensor]:
    """The same replies as pairs: the better of two replies to a prompt is the chosen one."""
    best = scores.view(-1, 2).argmax(1) + 2 * torch.arange(len(scores) // 2)
    other = best + 1 - 2 * (best % 2)

    def reply_logp(of, rows):
        logp = of.head(of.features(ids[rows, :-1])).log_softmax(-1)
        logp = logp.gather(2, ids[rows, 1:, None]).squeeze(2)
        return torch.where(is_response[rows], logp, 0.0).sum(1)

    tensors = {"chosen": ids[best], "logp_chosen": reply_logp(model, best),
               "logp_rejected": reply_logp(model, other),
               "ref_chosen": reply_logp(reference, best),
               "ref_rejected": reply_logp(reference, other)}
    loss = dpo_loss(tensors["logp_chosen"], tensors["logp_rejected"], tensors["ref_chosen"],
                    tensors["ref_rejected"], beta=0.1).loss
    return {**tensors, "loss": loss}


def shape(tensors: dict, name: str) -> str:
    return str(tuple(tensors[name].shape))


def draw_ppo(path, step: dict, setup: str) -> None:
    fig, ax = plotting.figure("One step of PPO: what is measured stays fixed, and only policy and "
                              "value head are moved", setup, size=(7, 4.6))
    yellow, orange, green = plotting.YELLOW, plotting.ORANGE, plotting.GREEN
    box(ax, 0, 4, f"prompts\n{shape(step, 'prompts')}", plotting.SKY, 1.9)
    box(ax, 3.3, 4, f"1 policy writes\nids {shape(step, 'ids')}", yellow)
    box(ax, 7.2, 5.2, f"2 reward: scores\n{shape(step, 'scores')}", orange)
    box(ax, 7.2, 4, f"3 reference: log π_ref\n{shape(step, 'ref_logp')}", plotting.GREY, 2.7)
    box(ax, 7.2, 2.8, f"3 policy: log π_old\n{shape(step, 'old_logp')}", yellow, 2.7)
    box(ax, 7.2, 1.6, f"3 value head: V\n{shape(step, 'values')}", yellow, 2.7)
    box(ax, 11.2, 4, f"rewards r_t\n{shape(step, 'rewards')}", orange)
    box(ax, 11.2, 1.6, f"GAE: A_t and R_t\n{shape(step, 'advantages')}", green)
    box(ax, 7.2, 0.2, "4 loss: L_π + c L_V, a mean over the "
        f"{int(step['is_response'].sum())} reply tokens", green, 7.0)
    arrow(ax, (1.0, 4), (2.05, 4))
    for y in (5.2, 4, 2.8, 1.6):
        arrow(ax, (4.55, 4), (5.8, y))
    arrow(ax, (8.5, 5.2), (10.5, 4.45), "at the last token", shift=(0.75, 0.22))
    arrow(ax, (8.65, 4), (9.95, 4), "−β KL", shift=(0, 0.2))
    arrow(ax, (8.65, 2.8), (10.5, 3.6))
    arrow(ax, (11.2, 3.6), (11.2, 2.05))
    arrow(ax, (8.65, 1.6), (9.9, 1.6))
    arrow(ax, (11.2, 1.2), (10.2, 0.6))
    arrow(ax, (3.65, 0.3), (3.0, 3.55), "5 gradient, some\npasses over\nthe same ids",
          color=plotting.RED, shift=(-1.35, -0.1))
    finish(ax, (-1.2, 12.6), (-0.3, 5.7))
    plotting.save(fig, path)


def draw_dpo(path, step: dict, setup: str) -> None:
    fig, ax = plotting.figure("One step of DPO: two replies that are there already, two models, "
                              "one difference", setup, size=(7, 3.4))
    for y, name, title in ((2.6, "chosen", "chosen"), (0.6, "rejected", "rejected")):
        box(ax, 0.2, y, f"{title} replies\nids {shape(step, 'chosen')}", plotting.SKY, 2.6)
        box(ax, 4.2, y + 0.5, f"policy: log π {shape(step, 'logp_' + name)}", plotting.YELLOW, 3.4,
            0.55)
        box(ax, 4.2, y - 0.35, f"reference: log π_ref {shape(step, 'ref_' + name)}", plotting.GREY,
            3.4, 0.55)
        arrow(ax, (1.55, y), (2.4, y + 0.5))
        arrow(ax, (1.55, y), (2.4, y - 0.35))
        box(ax, 8.2, y, f"r̂ = β (log π − log π_ref)\n{shape(step, 'ref_' + name)}", plotting.ORANGE,
            3.2)
        arrow(ax, (5.95, y + 0.5), (6.55, y + 0.1))
        arrow(ax, (5.95, y - 0.35), (6.55, y - 0.1))
        arrow(ax, (9.85, y), (10.9, 1.6 + (0.4 if y > 1.6 else -0.4)))
    box(ax, 11.3, 1.6, f"−log σ(difference)\n{float(step['loss']):.2f}", plotting.GREEN, 2.5)
    finish(ax, (-1.3, 12.8), (-0.2, 3.6))
    plotting.save(fig, path)


def main(argv=None):
    args = parse_args(argv)
    out = out_folder(__file__, args.out)
    model, value_head, reference = trained_a_little(args.seed)
    step = one_ppo_step(model, value_head, reference)
    print_table(["tensor", "shape"], [[name, shape(step, name)] for name in step],
                f"one step of PPO on {ROWS} replies, after {SETTINGS.steps} steps of "
                f"{SETTINGS.rows}")
    row, columns = 0, step["is_response"][0].nonzero().squeeze(1).tolist()
    names = {plain.END: "END", plain.PAD: "PAD", plain.BEGIN: "BEGIN"}
    print_table(["token", "log π", "log π_ref", "KL", "reward", "value", "advantage", "return"],
                [[names.get(token := int(step["ids"][row, t + 1]), str(token)),
                  *(float(step[name][row, t]) for name in ("old_logp", "ref_logp")),
                  float(step["old_logp"][row, t] - step["ref_logp"][row, t]),
                  *(float(step[name][row, t]) for name in ("rewards", "values", "advantages",
                                                          "returns"))] for t in columns],
                f"the first reply, to {int(step['ids'][0, 1])}; its score is "
                f"{float(step['scores'][0]):.2f}, β = {SETTINGS.beta}")
    pairs = one_dpo_step(model, reference, step["ids"], step["is_response"], step["scores"])
    setup = f"{ROWS} replies of the toy of rl/ppo_plain.py, shapes as they were, seed {args.seed}"
    draw_ppo(out / "diagram_ppo_step.png", step, f"{setup}; columns: prompt and reply, less one")
    draw_dpo(out / "diagram_dpo_step.png", pairs, f"{setup}, as {ROWS // 2} pairs; β = 0.1")


if __name__ == "__main__":
    run_main(main)
