"""What holds across the parts: the top level, the copies, the pins, the links, the commands."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = sorted(path.name for path in ROOT.glob("part_[0-9]"))
MAIN = 'if __name__ == "__main__":'
ROOMS = {path.parent.name for path in ROOT.glob("part_[0-9]/*/__init__.py")}
LESSONS = [ROOT / "README.md", *sorted(ROOT.glob("part_[0-9]/README.md"))]
SOURCES = [path for path in sorted(ROOT.glob("**/*.py"))
           if not {"out", ".venv"} & set(path.relative_to(ROOT).parts)]
PYTHON_FILES = [path for path in SOURCES if "tests" not in path.relative_to(ROOT).parts]


@pytest.fixture
def whats_new(modules_of):
    return modules_of("part_0", "whats_new").whats_new


@pytest.mark.parametrize("part", PARTS)
def test_a_part_differs_from_its_ancestors_only_where_it_says_so(part, whats_new):
    assert whats_new.compare(int(part[-1])).violations == []


def test_the_top_level_holds_nothing_else():
    allowed = {"README.md", "requirements.txt", "generate_screenshots.py", "screenshots", "tests",
               "pyproject.toml", ".ci", "LICENSE", ".gitignore", *PARTS}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True,
                             check=False).stdout.splitlines()
    if not tracked:
        pytest.skip("not a git checkout")
    assert {name.split("/")[0] for name in tracked} <= allowed


def test_exactly_the_seven_packages_are_pinned():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").split()
    assert all(re.fullmatch(r"[a-z]+==[\d.]+", line) for line in lines)
    assert {line.split("==")[0] for line in lines} == {
        "torch", "numpy", "matplotlib", "tiktoken", "tensorboard", "tqdm", "pytest"}
    assert "torch==2.13.0" in lines


def imported_names(path: Path) -> set[str]:
    """Top-level names of all modules that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


# regex comes with tiktoken; the others are used only where the user has them
OPTIONAL = {"regex", "wandb", "safetensors", "tokenizers", "transformers"}
LATER_ROOMS = {"part_4/run/checkpoint.py": {"moe"}}  # asked for with `try`, and missed by name
PACKAGES = {"torch", "numpy", "matplotlib", "tiktoken", "tensorboard", "tqdm", "pytest"}


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_imports_only_its_own_part_the_standard_library_and_the_packages(path):
    in_a_room = path.parent.name in ROOMS
    part = path.parent.parent if in_a_room else path.parent
    siblings = {room.parent.name for room in part.glob("*/__init__.py")}
    if not in_a_room or part.name in ("part_2", "part_3"):  # rooms know rooms; flat parts know all
        siblings |= {sibling.stem for sibling in part.glob("*.py")}
    siblings |= LATER_ROOMS.get(path.relative_to(ROOT).as_posix(), set())
    foreign = imported_names(path) - siblings - set(sys.stdlib_module_names) - PACKAGES - OPTIONAL
    assert not foreign


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_neither_evaluates_text_nor_unpickles_nor_calls_a_shell(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
        assert name not in {"eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads",
                            "yaml.load", "marshal.loads"}, f"line {node.lineno}: {name}"
        assert keywords.get("shell") != "True", f"line {node.lineno}: a shell"
        if name == "torch.load":
            assert keywords.get("weights_only") == "True", f"line {node.lineno}"


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_flag_has_help_and_nothing_edits_the_import_path(path):
    source = path.read_text(encoding="utf-8")
    assert "sys.path" not in source or path.name == "whats_new.py"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("add_argument"):
            assert any(k.arg == "help" for k in node.keywords), f"line {node.lineno}: no help"


def files_of(part: str) -> list[Path]:
    """A part's own Python files, at its top and in its rooms."""
    return sorted(path for path in PYTHON_FILES if path.relative_to(ROOT).parts[0] == part)


def imported_files(path: Path, part: Path) -> set[Path]:
    """The files of its own part that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:  # of a module, or of a room
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        found |= {part / f"{name.replace('.', '/')}.py" for name in names}
    return {path for path in found if path.is_file()}


@pytest.mark.parametrize("part", PARTS)
def test_every_module_of_a_part_is_reached_from_one_of_its_scripts(part):
    files = files_of(part)
    left = [path for path in files if MAIN in path.read_text(encoding="utf-8")]
    seen = {path for path in files if path.name == "__init__.py"}
    while left:
        path = left.pop()
        if path not in seen:
            seen.add(path)
            left += imported_files(path, ROOT / part)
    assert [str(path.relative_to(ROOT)) for path in files if path not in seen] == []


@pytest.mark.parametrize("part", PARTS)
def test_the_top_of_a_part_and_each_of_its_rooms_can_be_taken_in_at_a_glance(part):
    files = files_of(part)
    top = [path for path in files if path.parent.name == part]
    assert len(top) <= (26 if part == "part_9" else 24)
    for room in {path.parent for path in files} - {ROOT / part}:
        assert len([path for path in files if path.parent == room]) <= 16, room


@pytest.mark.parametrize("part", PARTS[4:])
def test_from_part_4_on_the_top_of_a_part_holds_what_one_runs_and_rooms_hold_the_rest(part):
    for path in files_of(part):
        is_script = MAIN in path.read_text(encoding="utf-8")
        assert is_script == (path.parent.name == part), path.relative_to(ROOT)


@pytest.mark.parametrize("part", PARTS[4:])
def test_a_room_is_introduced_by_a_docstring_that_names_files_that_are_there(part):
    for face in sorted((ROOT / part).glob("*/__init__.py")):
        tree = ast.parse(face.read_text(encoding="utf-8"))
        assert len(tree.body) == 1 and ast.get_docstring(tree), face
        named = set(re.findall(r"\w+\.py", ast.get_docstring(tree)))
        ever = {path.name for path in ROOT.glob(f"part_[0-9]/{face.parent.name}/*.py")}
        assert named <= ever, f"{face}: {named - ever}"
        missing = {path.name for path in face.parent.glob("*.py")} - named - {"__init__.py"}
        assert not missing, f"{face}: does not say when to read {missing}"


EQUATION = r"\d\.\d+[a-z]?"
CITED = re.compile(rf"eqs?\. ({EQUATION}(?:(?:, | and | to |, and ){EQUATION})*)")


def equations_of(lesson: Path) -> set[str]:
    """The equations of a lesson: "(eq. 8.1)", "\\tag{4.1}", or in a table's column "equation"."""
    text = lesson.read_text(encoding="utf-8")
    found = set(re.findall(rf"\\tag{{({EQUATION})}}", text))
    for table in re.findall(r"^\|.*\| equation \|\n((?:\|.*\n)+)", text, re.MULTILINE):
        for cell in re.findall(r"\| ([^|]*) \|$", table, re.MULTILINE):
            found |= set(re.findall(EQUATION, cell))
    return found | {one for cited in CITED.findall(text) for one in re.findall(EQUATION, cited)}


@pytest.mark.parametrize("part", PARTS)
def test_every_equation_that_code_cites_stands_in_its_lesson(part):
    known = set().union(*(equations_of(ROOT / part / "README.md") for part in PARTS))
    for path in files_of(part):
        text = path.read_text(encoding="utf-8")
        cited = {one for few in CITED.findall(text) for one in re.findall(EQUATION, few)}
        assert cited <= known, f"{path.relative_to(ROOT)}: {cited - known} in no lesson"


def definitions_of(lesson: Path) -> list[str]:
    """The numbers of the lesson's equations where they are written down, in reading order.

    That is: \\tag{4.1}; "(eq. 8.1)" behind an = or ← on its line; a table's column "equation".
    """
    numbers: list[str] = []
    in_table = False
    for line in lesson.read_text(encoding="utf-8").splitlines():
        in_table = line.startswith("|") and (in_table or line.endswith("| equation |"))
        if in_table:
            numbers += re.findall(EQUATION, line.rstrip("| ").split("|")[-1])
        for match in re.finditer(rf"\\tag{{({EQUATION})}}|\(eq\. ([^)]*)\)", line):
            if match[1] or re.search("[=←]", line[: match.start()]):
                numbers += re.findall(EQUATION, match[1] or match[2])
    return numbers


@pytest.mark.parametrize("part", PARTS)
def test_the_equations_of_a_lesson_are_numbered_in_reading_order(part):
    numbers = [n for n in definitions_of(ROOT / part / "README.md") if n[0] == part[-1]]
    places = [int(n[2:]) for n in dict.fromkeys(numbers)]  # a letter behind a number is an error
    assert places == sorted(places), f"{part}: {numbers}"
    known = equations_of(ROOT / part / "README.md")
    highest = max((int(n[2:]) for n in known if n[0] == part[-1]), default=0)
    missing = {f"{part[-1]}.{k}" for k in range(1, highest + 1)} - known
    assert not missing, f"{part}: no equation {missing}"


@pytest.mark.parametrize("part", PARTS)
def test_no_two_equations_of_a_lesson_have_one_number(part):
    text = (ROOT / part / "README.md").read_text(encoding="utf-8")
    written = rf"^(?:  |- ).*\(eq\. ({EQUATION})\)\.?$|\\tag{{({EQUATION})}}"
    numbers = [a or b for a, b in re.findall(written, text, re.MULTILINE)]
    assert len(numbers) == len(set(numbers)), sorted(n for n in numbers if numbers.count(n) > 1)


CHECKING = {"assert_close", "assert_allclose", "raises", "fail", "run_script",
            "goes_on_to_the_same_bytes", "is_refused", "survives_many_kills",  # tests/stop_and_go.py
            "same_as_trl"}  # tests/field_losses.py


def functions_that_check(tree: ast.Module) -> set[str]:
    """Names of a test file's functions that can fail by themselves, or call one that can."""
    bodies = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    called = {name: {ast.unparse(call.func).split(".")[-1] for call in ast.walk(node)
                     if isinstance(call, ast.Call)} for name, node in bodies.items()}
    found = {name for name, node in bodies.items()
             if any(isinstance(inner, ast.Assert) for inner in ast.walk(node))
             or called[name] & CHECKING}
    while more := {name for name in bodies if name not in found and called[name] & found}:
        found |= more
    return found


def test_tests_assert_something():
    empty = []
    for path in sorted((ROOT / "tests").glob("**/test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        checking = functions_that_check(tree)
        empty += [f"{path.name}: {node.name}" for node in ast.walk(tree)
                  if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
                  and node.name not in checking]
    assert not empty


def test_a_test_that_asserts_nothing_is_found():
    tree = ast.parse("def same(a, b):\n    assert a == b\n"
                     "def test_one():\n    same(1, 1)\n"
                     "def test_two():\n    print('it runs')\n")
    assert functions_that_check(tree) == {"same", "test_one"}


WORK = ("load_", "print", "draw", "tune", "train", "measure", "evaluate", "answer_", "take_", "generate")


@pytest.mark.parametrize("script", [path for path in sorted(ROOT.glob("part_[0-9]/*.py"))
                                    if "out_folder(__file__" in path.read_text(encoding="utf-8")],
                         ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_script_tries_its_folder_before_it_works(script):
    """Who may not write there hears it at once, and not after a minute's tables."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    for function in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
        calls = sorted((node.lineno, node.col_offset, ast.unparse(node))
                       for node in ast.walk(function) if isinstance(node, ast.Call))
        tried = next((i for i, call in enumerate(calls)
                      if call[2] == "out_folder(__file__, args.out)"), 0)
        names = [text.partition("(")[0].rpartition(".")[2] for _, _, text in calls[:tried]]
        early = [name for name in names if name.startswith(WORK)]
        assert not early, f"{function.name} calls {early} before out_folder"


def links_of(lesson: Path) -> list[str]:
    text = re.sub(r"```.*?```", "", lesson.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]


def anchors_of(page: Path) -> set[str]:
    """The anchors that a Markdown page's headings get."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower().strip()).replace(" ", "-")
            for heading in headings}


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_of_a_lesson_leads_somewhere(lesson):
    broken = []
    for link in links_of(lesson):
        file, _, anchor = link.partition("#")
        target = (lesson.parent / file).resolve() if file else lesson
        if not target.exists() or (anchor and target.suffix == ".md"
                                   and anchor not in anchors_of(target)):
            broken.append(link)
    assert not broken


def commands_of(lesson: Path) -> list[tuple[str, list[str]]]:
    """(script, flags) of every `python part_N/…` command that a lesson names."""
    text = lesson.read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(r"python ((?:part_\d/|tests/)?\w+\.py)([^`\n]*)", text)
    commands = []
    for script, rest in found:
        if "/" not in script and lesson.parent != ROOT:
            script = f"{lesson.parent.name}/{script}"
        commands.append((script, re.findall(r"(?<!\S)(--[a-z][a-z-]*)", rest.split("#")[0])))
    return commands


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_command_of_a_lesson_names_a_script_and_flags_that_exist(lesson):
    wrong = []
    common = ("--device", "--amp", "--seed", "--out", "--preset")
    for script, flags in commands_of(lesson):
        path = ROOT / script
        if not path.is_file():
            wrong.append(script)
            continue
        known = path.read_text(encoding="utf-8")
        known += "".join(f'"{flag}"' for flag in common) if "make_parser" in known else ""
        # flags may be made in a sibling module or from the fields of a dataclass
        siblings = "".join(p.read_text(encoding="utf-8")
                           for p in [*path.parent.glob("*.py"), *path.parent.glob("*/*.py")])
        wrong += [f"{script} {flag}" for flag in flags
                  if f'"{flag}"' not in known + siblings
                  and flag.strip("-").replace("-", "_") + ":" not in siblings]
    assert not wrong


@pytest.mark.parametrize("part", PARTS)
def test_a_part_has_a_lesson_tests_and_an_isolation_test(part):
    assert (ROOT / part / "README.md").is_file()
    assert (ROOT / "tests" / part / "test_isolation.py").is_file()


def test_where_sizes_alone_are_wanted_no_weights_are_drawn():
    """On the "meta" device drawing them loads torch's compiler: a second more at every start."""
    lines = [f"{path.relative_to(ROOT)}: {line.strip()}" for path in PYTHON_FILES
             for line in path.read_text(encoding="utf-8").splitlines()
             if 'with torch.device("meta")' in line]
    assert len(lines) >= 8 and [line for line in lines if "SkipInit()" not in line] == []


def test_the_planted_bugs_still_fit_the_code(modules_of):
    import importlib.util
    spec = importlib.util.spec_from_file_location("planted_bugs", ROOT / "tests/planted_bugs.py")
    planted_bugs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(planted_bugs)
    assert planted_bugs.misplaced(planted_bugs.load_bugs("", "")) == []


def test_no_path_of_somebodys_machine_is_committed():
    home = re.compile(r"/(?:home|Users|root)/\w+|[A-Z]:\\\\Users")
    for path in [*SOURCES, *LESSONS]:
        text = path.read_text(encoding="utf-8")
        assert not home.search(text) or path.name == "test_house.py", path


def flags_of(path: Path) -> set[str]:
    """The flags that a file's functions add, by their names as written there."""
    adding = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
              if isinstance(node, ast.FunctionDef) and "add_argument" in ast.unparse(node)]
    return {node.value for function in adding for node in ast.walk(function)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
            and re.fullmatch(r"--[a-z][a-z0-9-]*", node.value)}


def words_of(path: Path) -> set[str]:
    """The words of a file's code, flags with their dashes; comments are left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return set(re.findall(r"[\w-]+", ast.unparse(tree)))


@pytest.mark.parametrize("part", PARTS)
def test_every_flag_of_a_script_is_used_in_a_test_that_names_the_script(part):
    """In one file of the part's tests. Flags made from a dataclass's fields have no name here."""
    tests = [words_of(path) for path in (ROOT / "tests" / part).glob("*.py")]
    quick = words_of(ROOT / "tests" / "test_scripts.py")  # runs every demo of every part
    unused = []
    for path in sorted([*(ROOT / part).glob("*.py"), *(ROOT / part).glob("*/*.py")]):
        if path.name in ("runtime.py", "before_torch.py") and part != "part_0":
            continue  # a copy
        is_script = 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
        names = {path.stem, path.stem.removeprefix("demo_")}
        seen = set().union(*(words for words in tests if names & words or not is_script),
                           quick if path.stem.startswith("demo_") else ())
        unused += [f"{part}/{path.name} {flag}" for flag in sorted(flags_of(path))
                   if not {flag, f"--no-{flag[2:]}"} & seen]
    assert not unused, "no test uses: " + ", ".join(unused)
