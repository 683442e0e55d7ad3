"""What does attention compute? Three tokens of width four, every matrix printed. NumPy alone.

    python part_1/demo_attention_by_hand.py

See: the queries, keys and values, the scores, the scores over sqrt(4) = 2, the weights with and
without a causal mask, and the output: each row an average of the values. Then the way back: from the gradient of
the output to those of all matrices. The numbers are small enough to check with a pencil; lessons 1.2
and 1.3 do it for one row.
"""

from runtime import make_parser, out_folder, run_main

# runtime comes before torch: it says how torch's threads wait for each other
# isort: split
import numpy as np
import plotting

TOKENS = ["cold", "rain", "fell"]
X = np.array([[1., 0., 1., 0.],   # cold
              [0., 2., 0., 1.],   # rain
              [1., 1., 0., 2.]])  # fell
W_QUERY = np.array([[1., 0., 0., 1.], [0., 1., 1., 0.], [1., 0., 0., 0.], [0., 1., 0., 1.]])
W_KEY = np.array([[1., 0., 0., 0.], [0., 1., 0., 0.], [0., 0., 0., 1.], [0., 0., 1., 0.]])
W_VALUE = np.array([[1., 0., 0., 0.], [0., 1., 0., 0.], [0., 0., 2., 0.], [0., 0., 0., 3.]])


def softmax(scores: np.ndarray) -> np.ndarray:
    """Along the last axis: exp(s) over the sum of exp(s). A score of -inf gets weight 0."""
    shifted = scores - scores.max(axis=-1, keepdims=True)  # same result, and exp cannot overflow
    powers = np.exp(shifted)
    return powers / powers.sum(axis=-1, keepdims=True)


def attention_by_hand(x: np.ndarray, w_query: np.ndarray, w_key: np.ndarray,
                      w_value: np.ndarray, *, causal: bool) -> dict[str, np.ndarray]:
    """(T, C) and three (C, D) matrices -> every matrix on the way, by name, in order."""
    q, k, v = x @ w_query, x @ w_key, x @ w_value  # (T, D)
    scores = q @ k.T                               # (T, T): row = who asks, column = who is asked
    scaled = scores / np.sqrt(q.shape[-1])
    if causal:
        scaled = np.where(np.tri(len(x), dtype=bool), scaled, -np.inf)
    weights = softmax(scaled)
    return {"Q": q, "K": k, "V": v, "scores": scores, "scaled": scaled,
            "weights": weights, "output": weights @ v}


def backward_by_hand(x: np.ndarray, w_query: np.ndarray, w_key: np.ndarray, w_value: np.ndarray,
                     forward: dict, d_output: np.ndarray) -> dict[str, np.ndarray]:
    """The gradient of the output (T, D) -> those of every matrix, last to first (eq. 1.6 to 1.10).

    `forward` is what attention_by_hand gave for the same matrices.
    """
    q, k, v, weights = forward["Q"], forward["K"], forward["V"], forward["weights"]
    d_value = weights.T @ d_output    # (T, D), eq. 1.6
    d_weights = d_output @ v.T        # (T, T), eq. 1.6
    shared = (d_weights * weights).sum(axis=-1, keepdims=True)
    d_scaled = weights * (d_weights - shared)  # eq. 1.7: where a weight is 0, nothing comes back
    d_scores = d_scaled / np.sqrt(q.shape[-1])  # eq. 1.8
    d_query, d_key = d_scores @ k, d_scores.T @ q  # (T, D), eq. 1.9
    return {"dV": d_value, "d weights": d_weights, "d scaled": d_scaled, "dQ": d_query, "dK": d_key,
            "dW_Q": x.T @ d_query, "dW_K": x.T @ d_key, "dW_V": x.T @ d_value,
            "dX": d_query @ w_query.T + d_key @ w_key.T + d_value @ w_value.T}  # eq. 1.10


def show(name: str, matrix: np.ndarray, columns=("1", "2", "3", "4")) -> None:
    """Print a matrix with the tokens beside its rows, and over its columns tokens or channels."""
    print(f"\n{name}\n" + " " * 4 + "".join(f"{column:>9s}" for column in columns))
    print("----" + "  -------" * len(columns))
    for token, row in zip(TOKENS, matrix):
        print(f"{token:4s}" + "".join(f"{value:9.3f}" for value in row))


def draw(free: dict, causal: dict, folder) -> None:
    share = causal["weights"][2, 1]
    fig, axes = plotting.figure(
        f"Attention by hand: 'fell' takes {share:.0%} of its value from 'rain'; "
        "the mask hides what comes later",
        "3 tokens, width 4, one head; row = the token that asks, column = the token asked",
        3, size=(8.4, 3.6))
    everything = np.ones((3, 3), dtype=bool)
    past = np.tri(3, dtype=bool)
    panels = [("1. scores Q K^T / 2", free["scaled"], everything, free["scaled"].max()),
              ("2. weights: softmax of each row", free["weights"], everything, 1.0),
              ("3. weights with the causal mask", causal["weights"], past, 1.0)]
    for ax, (name, matrix, is_visible, top) in zip(axes, panels):
        plotting.heat_map(ax, matrix, rows=TOKENS, columns=TOKENS, vmax=top,
                          is_visible=is_visible, colorbar=False)
        ax.set_title(name, loc="left")
    plotting.save(fig, folder / "attention_by_hand.png")


def parse_args(argv=None):
    return make_parser(__doc__, runs_model=False).parse_args(argv)


def main(argv=None) -> None:
    args = parse_args(argv)
    folder = out_folder(__file__, args.out)
    free = attention_by_hand(X, W_QUERY, W_KEY, W_VALUE, causal=False)
    causal = attention_by_hand(X, W_QUERY, W_KEY, W_VALUE, causal=True)
    show("X: what the three tokens are (3, 4)", X)
    show("Q = X W_Q: what each token looks for", free["Q"])
    show("K = X W_K: what each token answers to", free["K"])
    show("V = X W_V: what each token hands over", free["V"])
    show("scores = Q K^T: row asks, column is asked", free["scores"], TOKENS)
    show("scores / sqrt(4)", free["scaled"], TOKENS)
    show("weights = softmax of each row: each row sums to 1", free["weights"], TOKENS)
    show("output = weights V", free["output"])
    show("with the causal mask: scores, later tokens at -inf", causal["scaled"], TOKENS)
    show("with the causal mask: weights", causal["weights"], TOKENS)
    show("with the causal mask: output (row 1 is just V's row 1)", causal["output"])
    d_output = np.zeros((3, 4))
    d_output[2, 0] = 1.0  # as if the loss were the first channel of what 'fell' gets
    back = backward_by_hand(X, W_QUERY, W_KEY, W_VALUE, free, d_output)
    show("the way back: d weights, when the loss is the first channel of 'fell'", back["d weights"], TOKENS)
    show("d scaled = weights (d weights - their mean): the row sums to 0", back["d scaled"], TOKENS)
    show("dQ", back["dQ"])
    show("dK", back["dK"])
    show("dV", back["dV"])
    show("dX: to all three tokens, through queries, keys and values", back["dX"])
    draw(free, causal, folder)


if __name__ == "__main__":
    run_main(main)
