"""The diagram of routing follows the router's own rules."""

import demo_token_routing
import torch


def test_no_expert_keeps_more_than_its_capacity_and_what_is_kept_was_chosen():
    found = demo_token_routing.route(seed=0)
    kept, experts = found["kept"], found["experts"]
    for expert in range(demo_token_routing.EXPERTS):
        assert (kept == expert).sum() == min(found["capacity"], int(found["load"][expert]))
    assert ((kept == experts) | (kept == demo_token_routing.DROPPED)).all()
    assert int((kept == demo_token_routing.DROPPED).sum()) > 0, "the picture should show a full expert"
    torch.testing.assert_close(found["weights"].sum(1), torch.ones(demo_token_routing.TOKENS))
