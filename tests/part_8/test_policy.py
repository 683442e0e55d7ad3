"""The policy: log-probabilities of the reply alone, values before each token, frozen reference."""

from dataclasses import replace

import pytest
import torch
from rl.policy import Policy, Rows, frozen_copy, response_logp, spread
from rl.rollout import as_rollout

END, PAD = 10, 11
PROMPTS = [[1, 2, 3], [4], [5, 6]]
REPLIES = [[7, END], [8, 9, 1, END], [2]]


def rows_of(prompts=PROMPTS, replies=REPLIES) -> Rows:
    return as_rollout(prompts, replies, [[0.0] * len(r) for r in replies], END, PAD).rows


def test_log_probabilities_are_those_of_the_reply_given_all_before(tiny):
    found = response_logp(tiny, rows_of())
    for i, (prompt, reply) in enumerate(zip(PROMPTS, REPLIES)):
        total = 0.0
        for j, token in enumerate(reply):
            logits, _ = tiny(torch.tensor([[*prompt, *reply[:j]]]))
            total += logits[0, -1].log_softmax(-1)[token].item()
        assert found[i].sum().item() == pytest.approx(total, abs=1e-5)
    assert (found[~rows_of().is_response] == 0).all()


def test_entropies_are_those_of_the_distribution_each_token_was_drawn_from(tiny):
    _, entropy, _ = Policy(tiny)(rows_of())
    logits, _ = tiny(torch.tensor([[4, 8]]))
    expected = torch.distributions.Categorical(logits=logits[0]).entropy()
    torch.testing.assert_close(entropy[1, :2], expected)


def test_values_are_zero_at_the_start_and_read_the_column_before_each_token(tiny):
    policy = Policy(tiny)
    assert (policy(rows_of())[2] == 0).all()
    with torch.no_grad():
        policy.value_head.weight.normal_()
        policy.value_head.bias.fill_(0.5)
    values = policy(rows_of())[2]
    features = tiny.features(torch.tensor([[4, 8, 9, 1]]))
    torch.testing.assert_close(values[1], policy.value_head(features)[0, :, 0])
    assert (values[2, 1:] == 0).all(), "padding has no value"


def test_a_value_does_not_see_the_token_it_stands_before(tiny):
    policy = Policy(tiny)
    torch.nn.init.normal_(policy.value_head.weight)
    one, other = (policy(rows_of([[1, 2]], [[token, END]]))[2] for token in (3, 4))
    assert one[0, 0] == other[0, 0] and one[0, 1] != other[0, 1]


def test_padding_changes_nothing(tiny):
    alone = response_logp(tiny, rows_of([[4]], [[8, END]]))
    beside = response_logp(tiny, rows_of([[4], [1, 2, 3, 4, 5]], [[8, END], [1, 2, 3, END]]))
    torch.testing.assert_close(beside[0, :2], alone[0])
    rows = rows_of()
    dirty = torch.where(rows.ids == PAD, 3, rows.ids)
    torch.testing.assert_close(response_logp(tiny, Rows(dirty, rows.first, rows.is_response)),
                               response_logp(tiny, rows))


@pytest.mark.parametrize("window", [None, 3])
def test_replies_to_one_prompt_are_read_together_and_give_the_same(tiny, window):
    tiny.config = replace(tiny.config, window=window)
    prompts = [[1, 2, 3]] * 3 + [[4]] * 3
    replies = [[7, END], [8, 9, 1, END], [2], [END], [5, 5, 5], [6, END]]
    apart = rows_of(prompts, replies)
    rows = replace(apart, prompt=torch.tensor([0, 0, 0, 1, 1, 1]))
    apart = replace(apart, prompt=None)
    read, inner = [], tiny.features
    tiny.features = lambda ids, plan=None: (read.append(ids.shape[0]), inner(ids, plan=plan))[1]
    policy = Policy(tiny)
    torch.nn.init.normal_(policy.value_head.weight)
    found, gradients = [], []
    for some in (apart, rows):
        policy.zero_grad()
        logp, entropy, values = policy(some)
        (logp.square().sum() + entropy.sum() + values.square().sum()).backward()
        found.append(torch.stack([logp, entropy, values]))
        gradients.append(torch.cat([p.grad.flatten() for p in policy.parameters()]))
    assert read == [6, 2]
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-5)
    few = rows.pick(torch.tensor([5, 0, 3]))  # neighbours with one prompt share, others do not
    torch.testing.assert_close(response_logp(tiny, few), found[0][0][[5, 0, 3], :2], rtol=1e-5,
                               atol=1e-5)


def test_picked_rows_are_cut_to_what_they_need(tiny):
    rows = rows_of()
    few = rows.pick(torch.tensor([2, 0]))
    assert few.ids.tolist() == [[5, 6, 2, PAD, PAD], [1, 2, 3, 7, END]]
    assert few.is_response.shape == (2, 2)
    torch.testing.assert_close(response_logp(tiny, few), response_logp(tiny, rows)[[2, 0], :2])


def test_temperature_divides_the_logits(tiny):
    logits, _ = tiny(torch.tensor([[4]]))
    found = response_logp(tiny, rows_of([[4]], [[8]]), temperature=2.0)
    torch.testing.assert_close(found[0, 0], (logits[0, 0] / 2).log_softmax(-1)[8])


def test_every_parameter_gets_a_gradient(tiny):
    policy = Policy(tiny)
    torch.nn.init.normal_(policy.value_head.weight)
    logp, entropy, values = policy(rows_of())
    (logp.sum() + entropy.sum() + values.square().sum()).backward()
    without = [name for name, p in policy.named_parameters() if p.grad is None
               or not p.grad.abs().sum() > 0]
    assert without == []


def test_the_reference_is_a_copy_that_is_never_trained(tiny):
    tiny.train()
    reference = frozen_copy(tiny)
    with torch.no_grad():
        tiny.head.weight.add_(1.0)
    assert not reference.training and not any(p.requires_grad for p in reference.parameters())
    assert not torch.equal(reference.head.weight, tiny.head.weight)


def test_flat_values_go_back_to_their_rows():
    is_response = torch.tensor([[True, False], [True, True]])
    assert spread(torch.tensor([1.0, 2.0, 3.0]), is_response).tolist() == [[1, 0], [2, 3]]
