"""Small changes to a topic's functions, one at a time, each of a kind: what would come of them?

The practice compares what an attempt gives with what each of these gives (fingerprints.json), so that
a mistake that nobody has listed still shows its kind: "this is what comes of a term left out".
Used   fingerprints.py
"""

import ast
import copy
import random
import re

from practice_room.diagnosis import CHANGES  # code -> (kind, words)

MASKS = re.compile(r"visible|causal|pad|real|mask|future|is_response|counted|ignore|IGNORED|label")
SWAPS = {"maximum": "minimum", "minimum": "maximum", "max": "min", "min": "max", "argmax": "argmin",
         "argmin": "argmax", "amax": "amin", "sin": "cos", "cos": "sin", "tril": "triu",
         "triu": "tril", "all": "any", "any": "all", "sum": "mean", "mean": "sum", "ceil": "floor",
         "gather": "scatter", "repeat_interleave": "repeat"}
SCALING = {"sqrt", "rsqrt", "exp", "exp_", "log", "square", "abs", "sigmoid", "logsigmoid", "softplus",
           "tanh", "erf", "reciprocal", "log_softmax", "logsumexp", "std", "var"}
MOVING = {"transpose", "permute", "flip", "T", "mT", "flatten", "swapaxes", "reversed", "sorted"}
EDGES = {"clamp", "max", "min", "round", "strip", "removesuffix"}
COMPARED = {ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.GtE), ast.Gt: (ast.GtE, ast.Lt),
            ast.GtE: (ast.Gt, ast.LtE), ast.Eq: (None, ast.NotEq), ast.NotEq: (None, ast.Eq)}


def name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def of_arithmetic(node: ast.BinOp) -> list:
    left, right, op = node.left, node.right, type(node.op)
    turned = ast.BinOp(right, node.op, left)
    return {ast.Add: [("term", left), ("term", right), ("sign", ast.BinOp(left, ast.Sub(), right))],
            ast.Sub: [("turned", turned), ("sign", ast.BinOp(left, ast.Add(), right)), ("term", left)],
            ast.Mult: [("factor", left), ("factor", right)],
            ast.Div: [("divisor", left), ("upside", ast.BinOp(left, ast.Mult(), right))],
            ast.Pow: [("power", left)],
            ast.FloorDiv: [("rounding", ast.UnaryOp(ast.USub(), ast.BinOp(
                ast.UnaryOp(ast.USub(), left), ast.FloorDiv(), right)))],
            ast.Mod: [("wrapped", left)],
            ast.MatMult: [("turned", ast.BinOp(left, ast.MatMult(), ast.Attribute(
                right, "mT", ast.Load())))],
            ast.BitAnd: [("allowed", left), ("allowed", right),
                         ("allowed", ast.BinOp(left, ast.BitOr(), right))],
            ast.BitOr: [("allowed", left), ("allowed", right),
                        ("allowed", ast.BinOp(left, ast.BitAnd(), right))]}.get(op, [])


def of_call(node: ast.Call) -> list:
    """Another function, no function at all, other or fewer arguments."""
    name, found = name_of(node), []
    is_method = isinstance(node.func, ast.Attribute)
    if name in SWAPS:
        other = copy.deepcopy(node)
        if is_method:
            other.func.attr = SWAPS[name]
        else:
            other.func.id = SWAPS[name]
        code = {"sum": "mean", "mean": "mean", "tril": "allowed", "triu": "allowed", "all": "one",
                "any": "every", "ceil": "rounding", "gather": "place",
                "repeat_interleave": "place"}.get(name, "smallest")
        found.append((code, other))
    module = is_method and isinstance(node.func.value, ast.Name) and node.func.value.id in (
        "torch", "F", "math", "np", "nn", "random", "re", "json")
    inner = node.func.value if is_method and not module else node.args[0] if node.args else None
    if inner is not None and not (is_method and isinstance(inner, ast.Name) and inner.id == "self"):
        code = ("shape" if name in MOVING else "scaling" if name in SCALING else
                "limit" if name in EDGES else "counts" if name == "masked_fill" else "step")
        if name == "where" and len(node.args) == 3:
            found += [("counts", node.args[1]), ("counts", node.args[2])]
        else:
            found.append((code, inner))
    for i, argument in enumerate(node.args):
        if isinstance(argument, ast.Constant) and type(argument.value) is int or (
                isinstance(argument, ast.UnaryOp) and isinstance(argument.operand, ast.Constant)):
            value = ast.literal_eval(argument) if isinstance(argument, (ast.UnaryOp, ast.Constant)) \
                else 0
            if isinstance(value, int):
                for step in (1, -1):
                    other = copy.deepcopy(node)
                    other.args[i] = ast.Constant(value + step)
                    found.append(("allowed" if name in ("tril", "triu") else "axis", other))
    if len(node.args) >= 2 and name not in ("range", "zip", "isinstance"):
        other = copy.deepcopy(node)
        other.args[0], other.args[1] = other.args[1], other.args[0]
        found.append(("swapped", other))
    for i, keyword in enumerate(node.keywords):
        other = copy.deepcopy(node)
        del other.keywords[i]
        code = "allowed" if MASKS.search(keyword.arg or "") else "limit" if keyword.arg in (
            "min", "max") else "axis" if keyword.arg == "dim" else "setting"
        found.append((code, other))
    return found


def of_index(node: ast.Subscript) -> list:
    """Slices and indices that begin or end one off, or are not there."""
    found = [("cut", node.value)] if isinstance(node.slice, (ast.Slice, ast.Tuple)) else []
    for inner in ast.walk(node.slice):
        if isinstance(inner, ast.Constant) and type(inner.value) is int:
            for step in (1, -1):
                other = copy.deepcopy(node)
                for one, copied in zip(ast.walk(node.slice), ast.walk(other.slice)):
                    if one is inner:
                        copied.value += step
                found.append(("place", other))
    return found


def of_expression(node: ast.AST) -> list:
    """(code, what stands in the place of the node)"""
    if isinstance(node, ast.BinOp):
        return of_arithmetic(node)
    if isinstance(node, ast.UnaryOp):
        code = {ast.USub: "sign", ast.Invert: "allowed", ast.Not: "opposite"}.get(type(node.op))
        is_number = isinstance(node.operand, ast.Constant)
        return [(code, node.operand)] if code and not is_number else []
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARED:
        border, opposite = COMPARED[type(node.ops[0])]
        return [(code, ast.Compare(node.left, [op(), *node.ops[1:]], node.comparators))
                for code, op in (("border", border), ("opposite", opposite)) if op]
    if isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        return [("condition", ast.BoolOp(other, node.values)),
                *(("condition", value) for value in node.values)]
    if isinstance(node, ast.IfExp):
        return [("case", node.body), ("case", node.orelse),
                ("opposite", ast.IfExp(node.test, node.orelse, node.body))]
    if isinstance(node, ast.Call):
        return of_call(node)
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        return of_index(node)
    if isinstance(node, ast.Constant) and type(node.value) is float:
        return [("number", ast.Constant(2 * node.value + (node.value == 0)))]
    if isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Load) and len(node.elts) == 2:
        return [("swapped", ast.Tuple(node.elts[::-1], ast.Load()))]
    return []


def of_statement(node: ast.stmt) -> list:
    """(code, statements in its place)"""
    if isinstance(node, (ast.Expr, ast.AugAssign)) and not isinstance(
            getattr(node, "value", None), ast.Constant):
        turned = []
        if isinstance(node, ast.AugAssign):
            turned = [("kept", [ast.Assign([node.target], node.value)])]
        return [("step", [ast.Pass()]), *turned]
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        used = {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
        return [("step", [ast.Pass()])] if node.targets[0].id in used else []
    if isinstance(node, ast.If):
        if isinstance(node.body[-1], ast.Raise):
            return [("refused", node.orelse or [ast.Pass()])]
        return [("special", node.orelse or [ast.Pass()]), ("special", node.body)]
    if isinstance(node, (ast.Break, ast.Continue)):
        return [("early", [ast.Pass()])]
    return []


def of_names(function: ast.FunctionDef) -> list:
    """(code, node, other node): one argument read in the place of another, one part of self too."""
    names = [a.arg for a in [*function.args.args, *function.args.kwonlyargs] if a.arg != "self"]
    parts = sorted({n.attr for n in ast.walk(function) if isinstance(n, ast.Attribute)
                    and isinstance(n.value, ast.Name) and n.value.id == "self"})
    found = []
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in names:
            found += [("other", node, ast.Name(other, ast.Load())) for other in names
                      if other != node.id]
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and isinstance(
                node.value, ast.Name) and node.value.id == "self":
            found += [("other", node, ast.Attribute(node.value, other, ast.Load()))
                      for other in parts if other != node.attr]
    return found


def changes_of(function: ast.FunctionDef) -> list:
    """(code, node, what stands in its place) for all of a function's body."""
    found = of_names(function)
    inside = [node for statement in function.body for node in ast.walk(statement)]
    for node in inside:
        for code, other in of_expression(node):
            found.append(("counts" if code in ("step", "case", "factor") and MASKS.search(
                ast.unparse(node)) and not MASKS.search(ast.unparse(other)) else code, node, other))
        if isinstance(node, ast.stmt):
            found += [(code, node, other) for code, other in of_statement(node)]
    return found


class Put(ast.NodeTransformer):
    """Puts something in the place of one node."""

    def __init__(self, node, other):
        self.node, self.other = node, other

    def visit(self, node):
        return copy.deepcopy(self.other) if node is self.node else self.generic_visit(node)


def changed(source: str, functions: list[str], most: int, seed: int = 0) -> list[tuple[str, str]]:
    """(code, the file with one change in one of the functions), at most `most`, of all codes."""
    tree = ast.parse(source)
    nodes = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            nodes[node.name] = node
        elif isinstance(node, ast.ClassDef):
            nodes |= {f"{node.name}.{n.name}": n for n in node.body if isinstance(n, ast.FunctionDef)}
    found = [change for name in functions for change in changes_of(nodes[name])]
    by_code = {}
    for change in random.Random(seed).sample(found, len(found)):
        by_code.setdefault(change[0], []).append(change)
    in_turn = [changes[i] for i in range(len(found)) for changes in by_code.values()
               if i < len(changes)]
    plain, texts = ast.unparse(tree), {}
    for code, node, other in in_turn:
        assert code in CHANGES, code
        text = ast.unparse(ast.fix_missing_locations(Put(node, other).visit(copy_with(tree, node))))
        if text != plain:
            texts.setdefault(text, code)
        if len(texts) == most:
            break
    return [(code, text) for text, code in texts.items()]


def copy_with(tree: ast.Module, node: ast.AST) -> ast.Module:
    """A copy of the tree that shares the one node, so that it can be found again."""
    return copy.deepcopy(tree, {id(node): node})
