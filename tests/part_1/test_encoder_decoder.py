"""The encoder-decoder against PyTorch's layers, its two masks, generation, and the task's data."""

import pytest
import torch
from encoder_decoder import DecoderLayer, EncoderDecoder, EncoderDecoderConfig, EncoderLayer
from reversing import (
    BEGIN,
    END,
    PAD,
    VOCAB_SIZE,
    is_held_out,
    make_sources,
    make_targets,
    random_sources,
    to_text,
)
from torch import nn

SOURCE = torch.tensor([[5, 6, 7, 8, 0, 0], [9, 10, 11, 12, 13, 14]])
TARGET = torch.tensor([[1, 8, 7, 6, 5, 0, 0], [1, 14, 13, 12, 11, 10, 9]])


def small_model(norm_first=True) -> EncoderDecoder:
    torch.manual_seed(0)
    config = EncoderDecoderConfig(vocab_size=20, block_size=8, n_embd=16, n_head=2,
                                  norm_first=norm_first)
    return EncoderDecoder(config).eval()


def copy_attention(theirs: nn.MultiheadAttention, ours) -> None:
    parts = (ours.query, ours.key, ours.value)
    theirs.in_proj_weight.data = torch.cat([p.weight.data for p in parts])
    theirs.in_proj_bias.data = torch.cat([p.bias.data for p in parts])
    theirs.out_proj.load_state_dict(ours.project.state_dict())


def copy_mlp_and_norms(theirs, ours, norms: int) -> None:
    theirs.linear1.load_state_dict(ours.mlp.widen.state_dict())
    theirs.linear2.load_state_dict(ours.mlp.project.state_dict())
    for i in range(1, norms + 1):
        getattr(ours, f"norm_{i}").weight.data.normal_(1, 0.3)
        getattr(ours, f"norm_{i}").bias.data.normal_(0, 0.3)
        getattr(theirs, f"norm{i}").load_state_dict(getattr(ours, f"norm_{i}").state_dict())


@pytest.mark.parametrize("norm_first", [True, False])
def test_encoder_layer_equals_pytorchs(norm_first):
    config = EncoderDecoderConfig(n_embd=16, n_head=2, norm_first=norm_first)
    ours = EncoderLayer(config).double()
    theirs = nn.TransformerEncoderLayer(16, 2, 64, 0.0, "gelu", batch_first=True,
                                        norm_first=norm_first).double()
    copy_attention(theirs.self_attn, ours.attention)
    copy_mlp_and_norms(theirs, ours, 2)
    x, is_real = torch.randn(2, 6, 16).double(), SOURCE != PAD
    wanted = theirs(x, src_key_padding_mask=~is_real)  # there True means hidden
    torch.testing.assert_close(ours(x, is_real[:, None, None])[is_real], wanted[is_real],
                               rtol=0, atol=1e-9)


@pytest.mark.parametrize("norm_first", [True, False])
def test_decoder_layer_equals_pytorchs(norm_first):
    config = EncoderDecoderConfig(n_embd=16, n_head=2, norm_first=norm_first)
    ours = DecoderLayer(config).double()
    theirs = nn.TransformerDecoderLayer(16, 2, 64, 0.0, "gelu", batch_first=True,
                                        norm_first=norm_first).double()
    copy_attention(theirs.self_attn, ours.attention)
    copy_attention(theirs.multihead_attn, ours.cross_attention)
    copy_mlp_and_norms(theirs, ours, 3)
    x, memory = torch.randn(2, 7, 16).double(), torch.randn(2, 6, 16).double()
    is_real = SOURCE != PAD
    wanted = theirs(x, memory, tgt_mask=torch.ones(7, 7, dtype=torch.bool).triu(1),
                    memory_key_padding_mask=~is_real)
    torch.testing.assert_close(ours(x, memory, is_real[:, None, None]), wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("norm_first", [True, False])
def test_padding_the_source_does_not_change_the_logits(norm_first):
    model = small_model(norm_first)
    short, _ = model(SOURCE[:1, :4], TARGET[:1])
    padded, _ = model(SOURCE[:1], TARGET[:1])
    torch.testing.assert_close(padded, short, rtol=0, atol=1e-5)


def test_real_source_tokens_all_matter_at_every_step_of_the_target():
    model = small_model()
    before = model(SOURCE[1:], TARGET[1:])[0]
    for s in range(6):
        changed = SOURCE[1:].clone()
        changed[0, s] = 3
        assert (model(changed, TARGET[1:])[0] - before).abs().amax(-1).min() > 1e-5


def test_the_decoder_does_not_look_ahead_but_the_encoder_does():
    model = small_model()
    before = model(SOURCE, TARGET)[0]
    for t in range(1, 7):
        changed = TARGET.clone()
        changed[1, t] = 4
        after = model(SOURCE, changed)[0]
        torch.testing.assert_close(after[1, :t], before[1, :t], rtol=0, atol=1e-5)
        assert (after[1, t] - before[1, t]).abs().max() > 1e-4
    changed = SOURCE.clone()
    changed[1, 5] = 4
    is_real = model.source_is_real(SOURCE)
    difference = model.encoder(changed, is_real) - model.encoder(SOURCE, is_real)
    assert difference[1, 0].abs().max() > 1e-4 and difference[0].abs().max() == 0


def test_cross_attention_maps_see_real_tokens_only_and_sum_to_one():
    maps = small_model().cross_attention_maps(SOURCE, TARGET)
    assert maps.shape == (2, 2, 2, 7, 6)
    torch.testing.assert_close(maps.sum(-1), torch.ones(2, 2, 2, 7))
    assert maps[0, ..., 4:].eq(0).all() and maps[0, ..., :4].gt(0).all()


@pytest.mark.parametrize("norm_first", [True, False])
def test_cross_attention_maps_are_those_the_forward_pass_uses(norm_first, monkeypatch):
    model, seen = small_model(norm_first), []
    for layer in model.decoder.layers:
        plain = layer.cross_attention.forward

        def spy(x, context, is_visible, plain=plain, layer=layer):
            seen.append(layer.cross_attention.weights(x, context, is_visible))
            return plain(x, context, is_visible)
        monkeypatch.setattr(layer.cross_attention, "forward", spy)
    model(SOURCE, TARGET)
    maps = model.cross_attention_maps(SOURCE, TARGET)
    torch.testing.assert_close(maps, torch.stack(seen[:2], dim=1), rtol=0, atol=1e-6)


def test_every_parameter_gets_a_gradient_but_the_biases_of_the_keys():
    model = small_model().double()
    model(SOURCE, TARGET, TARGET.roll(-1, 1))[1].backward()
    without = [n for n, p in model.named_parameters()
               if p.grad is None or p.grad.abs().max() < 1e-12]
    assert len(without) == 6 and all(name.endswith("key.bias") for name in without)


def test_padding_of_the_target_does_not_count_in_the_loss():
    model = small_model()
    target_out = torch.tensor([[8, 7, 6, 5, END, PAD, PAD]])
    logits, loss = model(SOURCE[:1], TARGET[:1], target_out)
    log_p = logits.log_softmax(-1)[0]
    wanted = -sum(log_p[t, target_out[0, t]] for t in range(5)) / 5
    torch.testing.assert_close(loss, wanted)


def test_token_vectors_and_position_vectors_are_of_like_size():
    model = EncoderDecoder(EncoderDecoderConfig(n_embd=256))
    embed = model.encoder.embed
    tokens = embed(torch.arange(3, 29)[None], "source") - embed.positions(26)
    assert tokens.std().item() == pytest.approx(1.0, rel=0.1)
    assert embed.positions(26).square().mean().item() == pytest.approx(0.5, rel=0.01)


def test_generation_row_by_row_equals_generation_in_a_batch_and_stops_after_the_end_token():
    model = small_model()
    with torch.no_grad():  # so that rows end at different steps
        model.decoder.head.weight[END] *= 3
    torch.manual_seed(5)
    source = torch.randint(3, 20, (30, 6))
    source[::2, 4:] = PAD
    together = model.generate(source, max_new=7)
    lengths = set()
    for row, wanted in zip(source, together):
        alone = model.generate(row[row != PAD][None], max_new=7)[0]
        assert alone.tolist() == wanted[:len(alone)].tolist()
        assert wanted[len(alone):].eq(PAD).all()
        lengths.add(len(alone))
    assert len(lengths) > 1


def test_generation_starts_from_the_begin_token_and_follows_the_likeliest():
    model = small_model()
    target = torch.tensor([[BEGIN]])
    for token in model.generate(SOURCE[1:], max_new=5)[0]:
        assert model(SOURCE[1:], target)[0][0, -1].argmax() == token
        target = torch.cat([target, token.view(1, 1)], dim=1)


def test_it_memorises_one_batch():
    model = small_model().train()
    source = torch.randint(3, 20, (4, 5))
    inputs, outputs = make_targets(source)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(50):
        loss = model(source, inputs, outputs)[1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    assert model.generate(source).tolist() == outputs.tolist()


@pytest.mark.parametrize(("changes", "message"), [
    ({"n_embd": 10, "n_head": 4}, "n_embd=10 must be a multiple of n_head=4"),
    ({"n_layer": 0}, "n_layer=0 must be at least 1"),
    ({"end_id": 0}, "three different tokens"),
    ({"vocab_size": 2}, "vocab_size=2"),
])
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        EncoderDecoderConfig(**changes)


@pytest.mark.parametrize(("source", "target", "message"), [
    (torch.full((1, 9), 3), TARGET[:1], r"9 tokens do not fit in block_size=8"),
    (torch.tensor([[20]]), TARGET[:1], r"source holds the token 20"),
    (torch.tensor([[3]]), torch.tensor([[-1]]), r"target holds the token -1"),
    (torch.tensor([[3, 4], [0, 0]]), TARGET, r"row 1 of the source is nothing but padding"),
])
def test_input_that_does_not_fit_is_refused(source, target, message):
    with pytest.raises(ValueError, match=message):
        small_model()(source, target)


def test_targets_are_the_source_backwards_shifted_by_the_begin_token():
    inputs, outputs = make_targets(torch.tensor([[8, 3, 6, 7, PAD, PAD], [3, 4, 5, 6, 7, 8]]))
    assert inputs.tolist() == [[BEGIN, 7, 6, 3, 8, PAD, PAD], [BEGIN, 8, 7, 6, 5, 4, 3]]
    assert outputs.tolist() == [[7, 6, 3, 8, END, PAD, PAD], [8, 7, 6, 5, 4, 3, END]]
    assert to_text(outputs[0]) == "edaf"


def test_no_held_out_sequence_is_ever_drawn_for_training():
    generator = torch.Generator().manual_seed(0)
    training = make_sources(4000, 2, 3, generator, held_out=False)  # short: many would coincide
    held_out = make_sources(400, 2, 3, generator, held_out=True)
    assert not is_held_out(training).any() and is_held_out(held_out).all()
    assert not set(map(tuple, training.tolist())) & set(map(tuple, held_out.tolist()))
    share = is_held_out(random_sources(20_000, 4, 12, generator)).float().mean().item()
    assert share == pytest.approx(0.1, abs=0.02)


def test_held_out_does_not_depend_on_padding():
    source = random_sources(200, 3, 5, torch.Generator().manual_seed(1))
    assert torch.equal(is_held_out(source), is_held_out(nn.functional.pad(source, (0, 4))))


def test_sources_have_all_lengths_and_letters_and_padding_only_at_the_end():
    source = random_sources(3000, 3, 6, torch.Generator().manual_seed(0))
    is_letter = source >= 3
    lengths = is_letter.sum(1)
    assert set(lengths.tolist()) == {3, 4, 5, 6}
    assert torch.equal(is_letter, torch.arange(6) < lengths[:, None])
    assert set(source.flatten().tolist()) == {PAD, *range(3, VOCAB_SIZE)}
    with pytest.raises(ValueError, match="1 <= shortest <= longest"):
        random_sources(1, 5, 4, torch.Generator())
